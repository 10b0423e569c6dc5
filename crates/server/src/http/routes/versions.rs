//! `/v1/tenants/{tenant_id}/versions` and those of environments: what was accepted, whole.

use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::{NoQuery, Query};
use crate::http::respond::json;
use crate::http::server::Server;
use crate::operations::environments;
use crate::operations::tenants::{find, tenant_id};
use axum::extract::State;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::list::{List, page};
use tenancy_api::version::{EnvironmentVersion as EnvironmentVersionView, TenantVersion as TenantVersionView};
use tenancy_core::Error;

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
    Named(tenant): Named<String>,
    mut query: Query,
) -> Result<Response, Problem> {
    let wanted = query.page()?;
    query.no_others()?;
    let id = tenant_id(&server.tenancy, &tenant).await?;
    let listed = server.tenancy.store.tenant_versions(&id, &wanted).await?;
    // Each tenant has a version: an empty first page is no tenant's.
    if listed.items.is_empty() && wanted.after.is_none() {
        return Err(Error::not_found("tenant", tenant).into());
    }
    json(&page(&listed.items, listed.next, TenantVersionView::of))
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
    Named((tenant, version)): Named<(String, i64)>,
    _: NoQuery,
) -> Result<Response, Problem> {
    let id = tenant_id(&server.tenancy, &tenant).await?;
    let found = server.tenancy.store.tenant_version(&id, version).await?;
    let found = found.ok_or_else(|| Error::not_found("version", format!("{tenant} at {version}")))?;
    json(&TenantVersionView::of(&found))
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
    Named((tenant, environment)): Named<(String, String)>,
    mut query: Query,
) -> Result<Response, Problem> {
    let wanted = query.page()?;
    query.no_others()?;
    let snapshot = find(&server.tenancy, &tenant).await?;
    let env_id = &environments::find(&snapshot, &environment)?.env_id;
    let listed = server.tenancy.store.environment_versions(&snapshot.tenant.tenant_id, env_id, &wanted).await?;
    json(&page(&listed.items, listed.next, EnvironmentVersionView::of))
}
