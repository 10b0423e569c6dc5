//! Stored versions of tenants and environments.

use super::{environments, tenants};
use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_core::environment::EnvironmentVersion;
use tenancy_core::tenant::TenantVersion;
use tenancy_store::page::{Listed, Page};

/// Returns a page of the stored versions of a tenant, newest first.
///
/// # Errors
/// [`Error::NotFound`] if the tenant does not exist for the caller.
pub async fn of_tenant(
    tenancy: &Tenancy,
    caller: &Caller,
    tenant: &str,
    page: &Page,
) -> Result<Listed<TenantVersion>, Error> {
    let tenant = tenants::reach(tenancy, caller, tenant).await?;
    tenancy.store.tenant_versions(&tenant.tenant_id, page).await
}

/// Returns a stored version of a tenant.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn get(tenancy: &Tenancy, caller: &Caller, tenant: &str, version: i64) -> Result<TenantVersion, Error> {
    let reached = tenants::reach(tenancy, caller, tenant).await?;
    let found = tenancy.store.tenant_version(&reached.tenant_id, version).await?;
    found.ok_or_else(|| Error::not_found("version", format!("{tenant} at {version}")))
}

/// Returns a page of the stored versions of an environment, newest first.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn of_environment(
    tenancy: &Tenancy,
    caller: &Caller,
    tenant: &str,
    environment: &str,
    page: &Page,
) -> Result<Listed<EnvironmentVersion>, Error> {
    let (environment, _) = environments::get(tenancy, caller, tenant, environment).await?;
    tenancy.store.environment_versions(&environment.tenant_id, &environment.env_id, page).await
}
