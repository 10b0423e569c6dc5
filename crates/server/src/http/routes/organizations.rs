//! `/v1/organizations`

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::caller::By;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::{NoQuery, Query};
use crate::http::respond::{self, digested, text, versioned};
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::documents::desired::How;
use crate::operations::organizations::{self, Change, Close, Create, Written, find};
use crate::tenancy::Tenancy;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::document::{DecidedOn, OrganizationManifest};
use tenancy_api::list::List;
use tenancy_api::organization::{Organization as OrganizationView, etag};
use tenancy_api::written::Written as WrittenView;
use tenancy_store::page::OrganizationFilter;
use tenancy_store::read::OrganizationRecord;

/// Lists organizations, in order of their ids.
#[utoipa::path(
    get, path = "/v1/organizations", tag = "organizations", operation_id = "list_organizations",
    params(
        ("q" = Option<String>, Query,
            description = "Only organizations whose id or display name starts with this text, in any case."),
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
    ),
    responses((status = 200, body = List<OrganizationView>)),
)]
pub async fn list(State(server): State<Arc<Server>>, By(caller): By, mut query: Query) -> Result<Response, Problem> {
    let (filter, wanted) = (OrganizationFilter { q: query.text("q")? }, query.page()?);
    query.no_others()?;
    let listed = organizations::list(&server.tenancy, &caller, &filter, &wanted).await?;
    let count = listed.items.len();
    let render = move || {
        let viewpoint = caller.viewpoint(&server.tenancy);
        respond::page(&listed, |row| OrganizationView::of(viewpoint, row))
    };
    respond::listed(count, render).await
}

/// Creates an organization.
#[utoipa::path(
    post, path = "/v1/organizations", tag = "organizations", operation_id = "create_organization",
    request_body = OrganizationManifest,
    responses((status = 201, body = WrittenView<OrganizationView>, headers(("ETag"), ("Location")))),
)]
pub async fn create(State(server): State<Arc<Server>>, write: WriteRequest) -> Result<Response, Problem> {
    let command = Create { document: write.document().await?, precondition: write.precondition.clone() };
    write.carry_out(&server, command, written).await
}

/// Returns an organization, with the sums of its tenants and its webhooks.
#[utoipa::path(
    get, path = "/v1/organizations/{organization_id}", tag = "organizations", operation_id = "get_organization",
    params(("organization_id" = String, Path, description = "Id of the organization.")),
    responses((status = 200, body = OrganizationView, headers(("ETag")))),
)]
pub async fn get(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named(organization): Named<String>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let record = find(&server.tenancy, &caller, &organization).await?;
    server.tenancy.load_key_names(record.holds.iter().map(|hold| hold.placed_by.as_str())).await?;
    let OrganizationRecord { organization, usage, holds, webhooks } = &record;
    let view = OrganizationView::whole(caller.viewpoint(&server.tenancy), organization, usage, holds, webhooks);
    versioned(&etag(organization), &view)
}

/// Replaces the manifest of an organization. With `If-None-Match: *`, creates the organization with this id.
#[utoipa::path(
    put, path = "/v1/organizations/{organization_id}", tag = "organizations", operation_id = "put_organization",
    params(("organization_id" = String, Path, description = "Id of the organization.")),
    request_body = OrganizationManifest,
    responses(
        (status = 200, body = WrittenView<OrganizationView>, headers(("ETag"))),
        (status = 201, body = WrittenView<OrganizationView>, headers(("ETag"), ("Location"))),
    ),
)]
pub async fn put(
    State(server): State<Arc<Server>>,
    Named(organization): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    change(&server, organization, How::Replace, write).await
}

/// Changes the fields in a JSON Merge Patch.
#[utoipa::path(
    patch, path = "/v1/organizations/{organization_id}", tag = "organizations", operation_id = "patch_organization",
    params(("organization_id" = String, Path, description = "Id of the organization.")),
    request_body(content = Object, content_type = "application/merge-patch+json", example = json!({"caps": {"tenants": 20}})),
    responses((status = 200, body = WrittenView<OrganizationView>, headers(("ETag")))),
)]
pub async fn patch(
    State(server): State<Arc<Server>>,
    Named(organization): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    change(&server, organization, How::Merge, write).await
}

/// Closes an organization. Its tenants remain; new ones are refused.
#[utoipa::path(
    delete, path = "/v1/organizations/{organization_id}", tag = "organizations", operation_id = "close_organization",
    params(("organization_id" = String, Path, description = "Id of the organization.")),
    request_body(content = Option<DecidedOn>),
    responses((status = 200, body = OrganizationView, headers(("ETag")))),
)]
pub async fn close(
    State(server): State<Arc<Server>>,
    Named(organization): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let read_at = write.version_said().await?;
    let command = Close { organization, precondition: write.precondition.clone(), read_at };
    write.carry_out(&server, command, written).await
}

async fn change(server: &Server, organization: String, how: How, write: WriteRequest) -> Result<Response, Problem> {
    let command =
        Change { organization, document: write.document().await?, how, precondition: write.precondition.clone() };
    write.carry_out(server, command, written).await
}

/// Returns the answer to a write of an organization.
pub(super) fn written(_: &Tenancy, caller: &Caller, written: &Written) -> Answer {
    let organization = &written.organization;
    let Written { usage, holds, webhooks, .. } = written;
    let view = OrganizationView::whole(caller.viewpoint_of_writes(), organization, usage, holds, webhooks);
    // The tag names the resource as a read answers it, without the warnings of this write.
    let tag = digested(&etag(organization), &text(&view));
    Answer {
        status: if written.created { 201 } else { 200 },
        etag: Some(tag),
        location: written.created.then(|| format!("/v1/organizations/{}", organization.organization_id)),
        body: text(&WrittenView::of(view, &written.warnings)),
    }
}
