//! Reads of the audit log.

use super::tenants;
use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_store::LogVerification;
use tenancy_store::page::{AuditFilter, Listed, LoggedEvent, Page};

/// Returns a page of the events of all tenants that exist for the caller. An unscoped caller also gets the events of
/// the platform.
///
/// # Errors
/// [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`].
pub async fn list(
    tenancy: &Tenancy,
    caller: &Caller,
    filter: &AuditFilter,
    page: &Page,
) -> Result<Listed<LoggedEvent>, Error> {
    tenancy.store.audit(caller.scope(), filter, page).await
}

/// Returns a page of the events of one tenant.
///
/// # Errors
/// [`Error::NotFound`] if the tenant does not exist for the caller.
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

/// Verifies a part of the log against its seals, from the place where the previous part ended. The log is one for all
/// tenants, so the caller must be unscoped.
///
/// # Errors
/// [`Error::Forbidden`] for a scoped caller, [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`].
pub async fn verify(tenancy: &Tenancy, caller: &Caller, after: Option<String>) -> Result<LogVerification, Error> {
    if !caller.scope().is_all() {
        return Err(Error::Forbidden("only an unscoped key can verify the audit log".to_owned()));
    }
    tenancy.store.verify_log(after).await
}
