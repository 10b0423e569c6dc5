//! `/v1/tenants/{tenant_id}/versions` and those of environments: what was accepted, whole.

use crate::http::caller::By;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::{NoQuery, Query};
use crate::http::respond::json;
use crate::http::server::Server;
use crate::operations::versions;
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::list::{List, page};
use tenancy_api::version::{EnvironmentVersion as EnvironmentVersionView, TenantVersion as TenantVersionView};

/// Kept versions of a tenant, newest first.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/versions", tag = "versions", operation_id = "list_tenant_versions",
    params(
        ("tenant_id" = String, Path, description = "The tenant's id, or an alias `kind:value`"),
        ("limit" = Option<u64>, Query, description = "Items of a page, 1 to 500; 50 when it is left out"),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
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
    server.tenancy.key_names.load(&server.tenancy, listed.items.iter().map(|version| version.actor.as_str())).await?;
    let viewpoint = caller.viewpoint(&server.tenancy);
    json(&page(&listed.items, listed.next, |version| TenantVersionView::of(viewpoint, version)))
}

/// A kept version of a tenant.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/versions/{version}", tag = "versions", operation_id = "get_tenant_version",
    params(
        ("tenant_id" = String, Path, description = "The tenant's id, or an alias `kind:value`"),
        ("version" = i64, Path, description = "Which"),
    ),
    responses((status = 200, body = TenantVersionView)),
)]
pub async fn get(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named((tenant, version)): Named<(String, i64)>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let version = versions::get(&server.tenancy, &caller, &tenant, version).await?;
    server.tenancy.key_names.load(&server.tenancy, [version.actor.as_str()]).await?;
    json(&TenantVersionView::of(caller.viewpoint(&server.tenancy), &version))
}

/// Kept versions of an environment, newest first.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/environments/{environment}/versions", tag = "versions",
    operation_id = "list_environment_versions",
    params(
        ("tenant_id" = String, Path, description = "The tenant's id, or an alias `kind:value`"),
        ("environment" = String, Path, description = "Its name, or its `env_id`"),
        ("limit" = Option<u64>, Query, description = "Items of a page, 1 to 500; 50 when it is left out"),
        ("after" = Option<String>, Query, description = "The `next` of the page before"),
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
    server.tenancy.key_names.load(&server.tenancy, listed.items.iter().map(|version| version.actor.as_str())).await?;
    let viewpoint = caller.viewpoint(&server.tenancy);
    json(&page(&listed.items, listed.next, |version| EnvironmentVersionView::of(viewpoint, version)))
}
