//! `/v1/placements`

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::{NoQuery, Query};
use crate::http::respond::{self, digested, text, versioned};
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::documents::desired::How;
use crate::operations::placements::{self, Change, Create, Remove, Written, count, find};
use crate::tenancy::Tenancy;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::document::{DecidedOn, PlacementManifest};
use tenancy_api::list::List;
use tenancy_api::placement::{Placement as PlacementView, etag};

/// Lists placements, in order of their names.
#[utoipa::path(
    get, path = "/v1/placements", tag = "placements", operation_id = "list_placements",
    params(
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
    ),
    responses((status = 200, body = List<PlacementView>)),
)]
pub async fn list(State(server): State<Arc<Server>>, mut query: Query) -> Result<Response, Problem> {
    let wanted = query.page()?;
    query.no_others()?;
    let listed = placements::list(&server.tenancy, &wanted).await?;
    respond::page(&listed, |placement| PlacementView::of(placement, None))
}

/// Creates a placement.
#[utoipa::path(
    post, path = "/v1/placements", tag = "placements", operation_id = "create_placement",
    request_body = PlacementManifest,
    responses((status = 201, body = PlacementView, headers(("ETag"), ("Location")))),
)]
pub async fn create(State(server): State<Arc<Server>>, write: WriteRequest) -> Result<Response, Problem> {
    let command = Create { document: write.document().await?, precondition: write.precondition.clone() };
    write.carry_out(&server, command, written).await
}

/// Returns a placement, with the number of environments on it.
#[utoipa::path(
    get, path = "/v1/placements/{placement}", tag = "placements", operation_id = "get_placement",
    params(("placement" = String, Path, description = "Name of the placement.")),
    responses((status = 200, body = PlacementView, headers(("ETag")))),
)]
pub async fn get(
    State(server): State<Arc<Server>>,
    Named(placement): Named<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let placement = find(&server.tenancy, &placement).await?;
    let environments = count(&server.tenancy, &placement).await?;
    versioned(&etag(&placement), &PlacementView::of(&placement, Some(environments)))
}

/// Replaces the manifest of a placement. With `If-None-Match: *`, creates the placement with this name.
#[utoipa::path(
    put, path = "/v1/placements/{placement}", tag = "placements", operation_id = "put_placement",
    params(("placement" = String, Path, description = "Name of the placement.")),
    request_body = PlacementManifest,
    responses(
        (status = 200, body = PlacementView, headers(("ETag"))),
        (status = 201, body = PlacementView, headers(("ETag"), ("Location"))),
    ),
)]
pub async fn put(
    State(server): State<Arc<Server>>,
    Named(placement): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    change(&server, placement, How::Replace, write).await
}

/// Changes the fields in a JSON Merge Patch. With `{"cordoned": true}`, the placement takes no new environments.
#[utoipa::path(
    patch, path = "/v1/placements/{placement}", tag = "placements", operation_id = "patch_placement",
    params(("placement" = String, Path, description = "Name of the placement.")),
    request_body(content = Object, content_type = "application/merge-patch+json", example = json!({"cordoned": true})),
    responses((status = 200, body = PlacementView, headers(("ETag")))),
)]
pub async fn patch(
    State(server): State<Arc<Server>>,
    Named(placement): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    change(&server, placement, How::Merge, write).await
}

/// Deletes a placement. It is refused while an environment has a place on it.
#[utoipa::path(
    delete, path = "/v1/placements/{placement}", tag = "placements", operation_id = "delete_placement",
    params(("placement" = String, Path, description = "Name of the placement.")),
    request_body(content = Option<DecidedOn>),
    responses((status = 204)),
)]
pub async fn remove(
    State(server): State<Arc<Server>>,
    Named(placement): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let read_at = write.version_said().await?;
    let command = Remove { placement, precondition: write.precondition.clone(), read_at };
    write.carry_out(&server, command, |_, _, ()| Answer { status: 204, ..Answer::default() }).await
}

async fn change(server: &Server, placement: String, how: How, write: WriteRequest) -> Result<Response, Problem> {
    let (document, precondition) = (write.document().await?, write.precondition.clone());
    write.carry_out(server, Change { placement, document, how, precondition }, written).await
}

fn written(_: &Tenancy, _: &Caller, written: &Written) -> Answer {
    let placement = &written.placement;
    let view = text(&PlacementView::of(placement, Some(written.environments)));
    Answer {
        status: if written.created { 201 } else { 200 },
        etag: Some(digested(&etag(placement), &view)),
        location: written.created.then(|| format!("/v1/placements/{}", placement.name)),
        body: view,
    }
}
