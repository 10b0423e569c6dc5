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
use axum::http::HeaderValue;
use axum::http::header::CACHE_CONTROL;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::connection::Connection as ConnectionView;
use tenancy_api::document::Connecting;
use tenancy_placement::Connection;

/// Returns how to connect to an environment.
///
/// On PostgreSQL, a role is made that can log in until `expires_at`. The audit log records who asked, and why. An environment
/// that is not in service refuses connections.
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
    let mut answer = write.carry_out_kept(&server, command, given_out, given_out_before).await?;
    // Nobody on its way may store a password.
    answer.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(answer)
}

fn given_out(_: &Tenancy, _: &Caller, given: &GivenOut) -> Answer {
    answer(given, true)
}

/// Returns the answer to store for an Idempotency-Key: everything except the password.
fn given_out_before(_: &Tenancy, _: &Caller, given: &GivenOut) -> Answer {
    answer(given, false)
}

fn answer(given: &GivenOut, with_password: bool) -> Answer {
    let none = ConnectionView {
        kind: given.placement.kind.as_str().into(),
        access: given.access.as_str().into(),
        file: None,
        host: None,
        port: None,
        database: None,
        user: None,
        password: None,
        expires_at: given.until,
    };
    let view = match &given.connection {
        Connection::Sqlite { file } => ConnectionView { file: Some(file.into()), ..none },
        Connection::Postgres(login) => ConnectionView {
            host: Some(login.host.as_str().into()),
            port: Some(login.port.into()),
            database: Some(login.database.as_str().into()),
            user: Some(login.user.as_str().into()),
            password: with_password.then(|| login.password.expose().into()),
            ..none
        },
    };
    Answer { status: 200, body: text(&view), ..Answer::default() }
}
