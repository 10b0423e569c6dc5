//! `/v1/organizations/{organization_id}/suspend` and `/activate`: holds on all tenants of an organization.

use super::lifecycle::activation;
use super::organizations::written;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::organization_holds::{Activate, Suspend};
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::document::{Activation, Suspension as SuspensionDocument};
use tenancy_api::organization::Organization as OrganizationView;

/// Places a hold on all tenants of an organization, until it is released.
///
/// The tenants follow one after the other, after the answer.
#[utoipa::path(
    post, path = "/v1/organizations/{organization_id}/suspend", tag = "organizations",
    operation_id = "suspend_organization",
    params(("organization_id" = String, Path, description = "Id of the organization.")),
    request_body(content = Option<SuspensionDocument>),
    responses((status = 200, body = OrganizationView, headers(("ETag")))),
)]
pub async fn suspend(
    State(server): State<Arc<Server>>,
    Named(organization): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let command =
        Suspend { organization, document: write.document_if_any().await?, precondition: write.precondition.clone() };
    let answered = write.carry_out(&server, command, written).await;
    server.tenancy.holds_changed.notify_one();
    answered
}

/// Releases a hold on an organization.
///
/// Tenants that no other hold suspends return to the state that their manifests ask for.
#[utoipa::path(
    post, path = "/v1/organizations/{organization_id}/activate", tag = "organizations",
    operation_id = "activate_organization",
    params(("organization_id" = String, Path, description = "Id of the organization.")),
    request_body(content = Option<Activation>),
    responses((status = 200, body = OrganizationView, headers(("ETag")))),
)]
pub async fn activate(
    State(server): State<Arc<Server>>,
    Named(organization): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let hold = activation(&write.document_if_any().await?)?;
    let command = Activate { organization, hold, precondition: write.precondition.clone() };
    let answered = write.carry_out(&server, command, written).await;
    server.tenancy.holds_changed.notify_one();
    answered
}
