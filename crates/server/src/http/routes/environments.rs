//! `/v1/tenants/{tenant_id}/environments`

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
use crate::operations::environments::{self, Change, Remove, Written};
use crate::tenancy::Tenancy;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::document::{DecidedOn, EnvironmentManifest};
use tenancy_api::environment::Environment as EnvironmentView;
use tenancy_api::list::List;
use tenancy_api::schema;
use tenancy_api::written::Written as WrittenView;

/// Lists the environments of a tenant, in order of their names.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/environments", tag = "environments", operation_id = "list_environments",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
    ),
    responses((status = 200, body = List<EnvironmentView>)),
)]
pub async fn list(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named(tenant): Named<String>,
    mut query: Query,
) -> Result<Response, Problem> {
    let wanted = query.page()?;
    query.no_others()?;
    let (listed, placements) = environments::list(&server.tenancy, &caller, &tenant, &wanted).await?;
    let viewpoint = caller.viewpoint(&server.tenancy);
    respond::page(&listed, |environment| EnvironmentView::of(viewpoint, environment, &placements))
}

/// Returns an environment.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/environments/{environment}", tag = "environments", operation_id = "get_environment",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("environment" = String, Path, description = "Name of the environment, or its `env_id`."),
    ),
    responses((status = 200, body = EnvironmentView, headers(("ETag")))),
)]
pub async fn get(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named((tenant, environment)): Named<(String, String)>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let (environment, placements) = environments::get(&server.tenancy, &caller, &tenant, &environment).await?;
    let view = EnvironmentView::of(caller.viewpoint(&server.tenancy), &environment, &placements);
    versioned(&environment.version.to_string(), &view)
}

/// Replaces an environment with a complete entry. With `If-None-Match: *`, adds it.
///
/// The change also increments the version of the tenant.
#[utoipa::path(
    put, path = "/v1/tenants/{tenant_id}/environments/{environment}", tag = "environments", operation_id = "put_environment",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("environment" = String, Path, description = "Name of the environment, or its `env_id`."),
        ("allow" = Option<Vec<schema::Allow>>, Query,
            description = "Kinds of gated changes to allow. A gated change can destroy data."),
    ),
    request_body = EnvironmentManifest,
    responses(
        (status = 200, body = WrittenView<EnvironmentView>, headers(("ETag"))),
        (status = 201, body = WrittenView<EnvironmentView>, headers(("ETag"), ("Location"))),
    ),
)]
pub async fn put(
    State(server): State<Arc<Server>>,
    Named(path): Named<(String, String)>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    change(&server, path, How::Replace, write).await
}

/// Changes the fields in a JSON Merge Patch.
#[utoipa::path(
    patch, path = "/v1/tenants/{tenant_id}/environments/{environment}", tag = "environments", operation_id = "patch_environment",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("environment" = String, Path, description = "Name of the environment, or its `env_id`."),
        ("allow" = Option<Vec<schema::Allow>>, Query,
            description = "Kinds of gated changes to allow. A gated change can destroy data."),
    ),
    request_body(content = Object, content_type = "application/merge-patch+json", example = json!({"retention_days": 90})),
    responses((status = 200, body = WrittenView<EnvironmentView>, headers(("ETag")))),
)]
pub async fn patch(
    State(server): State<Arc<Server>>,
    Named(path): Named<(String, String)>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    change(&server, path, How::Merge, write).await
}

/// Removes an environment. Requires `allow=remove-environment`.
#[utoipa::path(
    delete, path = "/v1/tenants/{tenant_id}/environments/{environment}", tag = "environments", operation_id = "remove_environment",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("environment" = String, Path, description = "Name of the environment, or its `env_id`."),
        ("allow" = Option<Vec<schema::Allow>>, Query,
            description = "Kinds of gated changes to allow. A gated change can destroy data."),
    ),
    request_body(content = Option<DecidedOn>),
    responses((status = 204)),
)]
pub async fn remove(
    State(server): State<Arc<Server>>,
    Named((tenant, environment)): Named<(String, String)>,
    mut write: WriteRequest,
) -> Result<Response, Problem> {
    let (read_at, allow) = (write.version_said().await?, std::mem::take(&mut write.allow));
    let command = Remove { tenant, environment, precondition: write.precondition.clone(), read_at, allow };
    write.carry_out(&server, command, |_, _, ()| Answer { status: 204, ..Answer::default() }).await
}

async fn change(
    server: &Server,
    (tenant, environment): (String, String),
    how: How,
    mut write: WriteRequest,
) -> Result<Response, Problem> {
    let (document, allow) = (write.document().await?, std::mem::take(&mut write.allow));
    let command = Change { tenant, environment, document, how, precondition: write.precondition.clone(), allow };
    write.carry_out(server, command, written).await
}

fn written(_: &Tenancy, caller: &Caller, written: &Written) -> Answer {
    let environment = &written.environment;
    let view = EnvironmentView::of(caller.viewpoint_of_writes(), environment, &written.placements);
    let location = || format!("/v1/tenants/{}/environments/{}", environment.tenant_id, environment.name);
    Answer {
        status: if written.created { 201 } else { 200 },
        etag: Some(digested(&environment.version.to_string(), &text(&view))),
        location: written.created.then(location),
        body: text(&WrittenView::of(view, &written.warnings)),
    }
}
