//! `/v1/tenants/{tenant_id}/environments/{environment}/connection`

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::respond::text;
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::connections::{Connect, GivenOut};
use crate::tenancy::Tenancy;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::connection::Connection as ConnectionView;
use tenancy_api::document::Connecting;
use tenancy_placement::Connection;

/// Returns how to connect to an environment.
///
/// The audit log records who asked, and why. An environment that is not in service refuses connections.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant_id}/environments/{environment}/connection", tag = "environments",
    operation_id = "connect_environment",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("environment" = String, Path, description = "Name of the environment, or its `env_id`."),
    ),
    request_body = Connecting,
    responses((status = 200, body = ConnectionView)),
)]
pub async fn connect(
    State(server): State<Arc<Server>>,
    Named((tenant, environment)): Named<(String, String)>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let document = write.document().await?;
    let command = Connect { tenant, environment, document, precondition: write.precondition.clone() };
    write.carry_out(&server, command, given_out).await
}

fn given_out(_: &Tenancy, _: &Caller, given: &GivenOut) -> Answer {
    let Connection::Sqlite { file } = &given.connection;
    let view = ConnectionView { kind: "sqlite".into(), access: given.access.as_str().into(), file: Some(file.into()) };
    Answer { status: 200, body: text(&view), ..Answer::default() }
}
