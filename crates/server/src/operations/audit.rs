//! The audit log, as it is read.

use super::tenants;
use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_store::page::{AuditFilter, Listed, LoggedEvent, Page};

/// A page of the events of all tenants that exist for the caller; a caller without a scope also reads the platform's.
///
/// # Errors
/// [`Error::Invalid`] for a cursor that is not one, [`Error::Unavailable`].
pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    filter: &AuditFilter,
    page: &Page,
) -> Result<Listed<LoggedEvent>, Error> {
    tenancy.store.audit(caller.scope(), filter, page).await
}

/// A page of the events of one tenant.
///
/// # Errors
/// [`Error::NotFound`] when the tenant does not exist for the caller.
pub async fn of_tenant(
    tenancy: &Tenancy,
    caller: &Caller,
    tenant: &str,
    filter: AuditFilter,
    page: &Page,
) -> Result<Listed<LoggedEvent>, Error> {
    let tenant = tenants::reach(tenancy, caller, tenant).await?;
    let filter = AuditFilter { tenant_id: Some(tenant.tenant_id), ..filter };
    list(tenancy, caller, &filter, page).await
}
