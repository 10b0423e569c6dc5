//! `/v1/event-types`: the catalogue of event types.

use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::NoQuery;
use crate::http::respond::{bytes, json};
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::LazyLock;
use tenancy_api::catalogue::{self, EventTypeDescription};
use tenancy_api::list::List;
use tenancy_core::Error;
use tenancy_core::event::EventType;

/// Lists the event types, each with a JSON Schema and an example.
///
/// A later release can add event types, and fields to payloads. It removes no field and changes no meaning: a new event
/// type takes the place of the old one.
#[utoipa::path(
    get, path = "/v1/event-types", tag = "events", operation_id = "list_event_types",
    responses((status = 200, body = List<EventTypeDescription>)),
)]
pub async fn list(_: NoQuery) -> Response {
    static TEXT: LazyLock<Vec<u8>> = LazyLock::new(|| serde_json::to_vec(&catalogue::all()).unwrap_or_default());
    bytes(StatusCode::OK, "application/json", TEXT.as_slice())
}

/// Returns an event type with its JSON Schema and an example.
#[utoipa::path(
    get, path = "/v1/event-types/{event_type}", tag = "events", operation_id = "get_event_type",
    params(("event_type" = tenancy_api::schema::EventType, Path, description = "Name of the event type.")),
    responses((status = 200, body = EventTypeDescription)),
)]
pub async fn get(Named(event_type): Named<String>, _: NoQuery) -> Result<Response, Problem> {
    let known = EventType::parse(&event_type).ok_or_else(|| Error::not_found("event type", &event_type))?;
    json(&catalogue::describe(known))
}
