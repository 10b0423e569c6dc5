//! The audit log, as it is read.

use super::tenants::tenant_id;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_store::page::{AuditFilter, Listed, LoggedEvent, Page};

/// A page of the events of one tenant.
///
/// # Errors
/// [`Error::NotFound`] when there is no such tenant, nor was.
pub async fn of_tenant(
    tenancy: &Tenancy,
    tenant: &str,
    filter: AuditFilter,
    page: &Page,
) -> Result<Listed<LoggedEvent>, Error> {
    let id = tenant_id(tenancy, tenant).await?;
    let filter = AuditFilter { tenant_id: Some(id.clone()), ..filter };
    let listed = tenancy.store.audit(&filter, page).await?;
    // A tenant that is there has events; only for an empty page is it worth asking.
    if listed.items.is_empty() && tenancy.store.snapshot(&id).await?.is_none() {
        return Err(Error::not_found("tenant", tenant));
    }
    Ok(listed)
}
