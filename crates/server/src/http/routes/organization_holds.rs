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

/// Places a hold on all tenants of an organization, which keeps them out of service until it is released. They follow one
/// after the other.
#[utoipa::path(
    post, path = "/v1/organizations/{organization_id}/suspend", tag = "organizations",
    operation_id = "suspend_organization",
    params(("organization_id" = String, Path, description = "Its id")),
    request_body(content = Option<SuspensionDocument>),
    responses((status = 200, body = OrganizationView, headers(("ETag")))),
)]
pub async fn suspend(
    State(server): State<Arc<Server>>,
    Named(organization): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let command = Suspend { organization, document: write.document_if_any()?, precondition: write.precondition };
    let answered = write.carry_out(&server, command, written).await;
    server.tenancy.holds_changed.notify_one();
    answered
}

/// Releases a hold on an organization. What other holds and the manifests allow comes into service again.
#[utoipa::path(
    post, path = "/v1/organizations/{organization_id}/activate", tag = "organizations",
    operation_id = "activate_organization",
    params(("organization_id" = String, Path, description = "Its id")),
    request_body(content = Option<Activation>),
    responses((status = 200, body = OrganizationView, headers(("ETag")))),
)]
pub async fn activate(
    State(server): State<Arc<Server>>,
    Named(organization): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let hold = activation(&write.document_if_any()?)?;
    let command = Activate { organization, hold, precondition: write.precondition };
    let answered = write.carry_out(&server, command, written).await;
    server.tenancy.holds_changed.notify_one();
    answered
}
