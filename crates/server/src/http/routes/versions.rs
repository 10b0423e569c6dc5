//! `/v1/tenants/{tenant_id}/versions` and the versions of environments: the complete accepted manifests.

use crate::http::caller::By;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::{NoQuery, Query};
use crate::http::respond::{self, json};
use crate::http::server::Server;
use crate::operations::versions;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::list::List;
use tenancy_api::version::{EnvironmentVersion as EnvironmentVersionView, TenantVersion as TenantVersionView};
use tenancy_core::Error;

/// Lists the stored versions of a tenant, newest first.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/versions", tag = "versions", operation_id = "list_tenant_versions",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
    ),
    responses((status = 200, body = List<TenantVersionView>)),
)]
pub async fn of_tenant(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named(tenant): Named<String>,
    mut query: Query,
) -> Result<Response, Problem> {
    let wanted = query.page()?;
    query.no_others()?;
    let listed = versions::of_tenant(&server.tenancy, &caller, &tenant, &wanted).await?;
    server.tenancy.load_key_names(listed.items.iter().map(|version| version.actor.as_str())).await?;
    let count = listed.items.len();
    let render = move || {
        let viewpoint = caller.viewpoint(&server.tenancy);
        respond::page(&listed, |version| TenantVersionView::of(viewpoint, version))
    };
    respond::listed(count, render).await
}

/// Returns a stored version of a tenant.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/versions/{version}", tag = "versions", operation_id = "get_tenant_version",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("version" = i64, Path, description = "Number of the version."),
    ),
    responses((status = 200, body = TenantVersionView)),
)]
pub async fn get(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named((tenant, version)): Named<(String, String)>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let version = version.parse().map_err(|_| Error::not_found("version", version))?;
    let version = versions::get(&server.tenancy, &caller, &tenant, version).await?;
    server.tenancy.load_key_names([version.actor.as_str()]).await?;
    json(&TenantVersionView::of(caller.viewpoint(&server.tenancy), &version))
}

/// Lists the stored versions of an environment, newest first.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/environments/{environment}/versions", tag = "versions",
    operation_id = "list_environment_versions",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("environment" = String, Path, description = "Name of the environment, or its `env_id`."),
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
    ),
    responses((status = 200, body = List<EnvironmentVersionView>)),
)]
pub async fn of_environment(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named((tenant, environment)): Named<(String, String)>,
    mut query: Query,
) -> Result<Response, Problem> {
    let wanted = query.page()?;
    query.no_others()?;
    let listed = versions::of_environment(&server.tenancy, &caller, &tenant, &environment, &wanted).await?;
    server.tenancy.load_key_names(listed.items.iter().map(|version| version.actor.as_str())).await?;
    let count = listed.items.len();
    let render = move || {
        let viewpoint = caller.viewpoint(&server.tenancy);
        respond::page(&listed, |version| EnvironmentVersionView::of(viewpoint, version))
    };
    respond::listed(count, render).await
}
