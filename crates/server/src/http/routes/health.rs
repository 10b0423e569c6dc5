//! `/healthz`, `/readyz`, `/metrics`: open, and without a word of any tenant.

use crate::http::problem::Problem;
use crate::http::respond::{bytes, json};
use crate::http::server::Server;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::health::{Health, Readiness};
use tenancy_core::Error;
use tenancy_store::Condition;

/// The process runs.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "healthz", responses((status = 200, body = Object)))]
pub async fn healthz() -> Result<Response, Problem> {
    json(&Health { status: Health::OK.to_owned() })
}

/// The server can do its work: the database answers, and the server is not stopping.
///
/// What will go wrong if nobody looks after it stands in `warnings`.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz",
    responses((status = 200, body = Object), (status = 503, body = Object)),
)]
pub async fn readyz(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    let wrong = |error: Error| Condition { wrong: vec![error.to_string()], ..Condition::default() };
    let Condition { mut wrong, warnings } = server.tenancy.store.condition().await.unwrap_or_else(wrong);
    if server.stop.is_cancelled() {
        wrong.push("the server is stopping".to_owned());
    }
    let readiness = Readiness::of(wrong, warnings);
    let mut response = json(&readiness)?;
    if !readiness.is_ready() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

/// Figures for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")),
)]
pub async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    server.metrics.commits_waiting.set(i64::try_from(server.tenancy.store.waiting()).unwrap_or(i64::MAX));
    bytes(StatusCode::OK, media_type, server.metrics.text())
}
