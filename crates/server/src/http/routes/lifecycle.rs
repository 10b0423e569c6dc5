//! `/v1/tenants/{tenant_id}/activate` and the other lifecycle actions. Each requests a job and returns it.

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::respond::text;
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::lifecycle::{Activate, PurgeEarly, Request, Suspend};
use crate::operations::tenants::Written;
use crate::tenancy::Tenancy;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;
use tenancy_api::document::{Activation, DecidedOn, Purge as PurgeDocument, Suspension as SuspensionDocument};
use tenancy_api::job::location;
use tenancy_api::tenant::{Accepted as AcceptedView, etag};
use tenancy_core::Error;
use tenancy_core::action::Action;
use tenancy_core::document;

/// Archives a tenant.
///
/// The data is kept until it is purged after the grace period.
#[utoipa::path(
    delete, path = "/v1/tenants/{tenant_id}", tag = "lifecycle", operation_id = "delete_tenant",
    params(("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`.")),
    request_body(content = Option<DecidedOn>),
    responses((status = 202, body = AcceptedView, headers(("ETag"), ("Location")))),
)]
pub async fn delete(
    State(server): State<Arc<Server>>,
    Named(tenant): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let read_at = write.version_said().await?;
    request(&server, tenant, Action::Delete, read_at, write).await
}

/// Releases a hold.
///
/// A tenant in state Draft without holds, whose manifest does not set `desired_state`, is activated once.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant_id}/activate", tag = "lifecycle", operation_id = "activate_tenant",
    params(("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`.")),
    request_body(content = Option<Activation>),
    responses((status = 202, body = AcceptedView, headers(("ETag"), ("Location")))),
)]
pub async fn activate(
    State(server): State<Arc<Server>>,
    Named(tenant): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let hold = activation(&write.document_if_any().await?)?;
    let command = Activate { tenant, hold, precondition: write.precondition.clone() };
    write.carry_out(&server, command, accepted).await
}

/// Places a hold, which keeps the tenant suspended or its data kept until the hold is released.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant_id}/suspend", tag = "lifecycle", operation_id = "suspend_tenant",
    params(("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`.")),
    request_body(content = Option<SuspensionDocument>),
    responses((status = 202, body = AcceptedView, headers(("ETag"), ("Location")))),
)]
pub async fn suspend(
    State(server): State<Arc<Server>>,
    Named(tenant): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let command =
        Suspend { tenant, document: write.document_if_any().await?, precondition: write.precondition.clone() };
    write.carry_out(&server, command, accepted).await
}

/// Restores an archived tenant. It stays suspended until it is activated.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant_id}/undelete", tag = "lifecycle", operation_id = "undelete_tenant",
    params(("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`.")),
    responses((status = 202, body = AcceptedView, headers(("ETag"), ("Location")))),
)]
pub async fn undelete(
    State(server): State<Arc<Server>>,
    Named(tenant): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    write.nothing_said().await?;
    request(&server, tenant, Action::Undelete, None, write).await
}

/// Destroys the data of an archived tenant after its grace period. A tombstone remains.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant_id}/purge", tag = "lifecycle", operation_id = "purge_tenant",
    params(("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`.")),
    request_body(content = Option<PurgeDocument>),
    responses((status = 202, body = AcceptedView, headers(("ETag"), ("Location")))),
)]
pub async fn purge(
    State(server): State<Arc<Server>>,
    Named(tenant): Named<String>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    match early(&write.document_if_any().await?)? {
        false => request(&server, tenant, Action::Purge, None, write).await,
        true => {
            let command = PurgeEarly { tenant, precondition: write.precondition.clone() };
            write.carry_out(&server, command, accepted).await
        }
    }
}

async fn request(
    server: &Server,
    tenant: String,
    action: Action,
    read_at: Option<i64>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let command = Request { tenant, action, precondition: write.precondition.clone(), read_at };
    write.carry_out(server, command, accepted).await
}

fn accepted(tenancy: &Tenancy, caller: &Caller, written: &Written) -> Answer {
    Answer {
        status: 202,
        etag: Some(etag(&written.snapshot.tenant)),
        location: Some(match &written.snapshot.open_job {
            Some(job) => location(job),
            None => format!("/v1/tenants/{}", written.snapshot.tenant.tenant_id),
        }),
        body: text(&AcceptedView::of(&tenancy.declared, caller.viewpoint_of_writes(), &written.snapshot)),
    }
}

/// Reads the body of `purge`.
fn early(document: &Value) -> Result<bool, Error> {
    document::read(document, |fields, findings| Some(fields.flag("early", findings).unwrap_or(false)))
}

/// Reads the body of `activate`.
pub(super) fn activation(document: &Value) -> Result<Option<String>, Error> {
    document::read(document, |fields, findings| Some(fields.text("hold", 64, findings)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_read_what_activate_says_and_refuse_the_rest() {
        for bad in [json!({"holds": "x"}), json!([]), json!({"hold": 7})] {
            assert!(matches!(activation(&bad), Err(Error::Invalid(_))), "{bad}");
        }
        assert_eq!(activation(&json!({"hold": "billing"})), Ok(Some("billing".to_owned())));
    }
}
