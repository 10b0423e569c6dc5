//! Whether tenants may be served.

use super::tenants;
use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use tenancy_api::access::Access;
use tenancy_core::Error;
use tenancy_core::ids::TenantId;
use tenancy_core::snapshot::TenantSnapshot;

/// Returns the access of a tenant, with the snapshot that it was decided on, if the tenant exists for the caller.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn by_id(
    tenancy: &Tenancy,
    caller: &Caller,
    id: &TenantId,
) -> Result<Option<(TenantSnapshot, Access)>, Error> {
    // Read before the snapshot, which then includes every event up to it.
    let position = tenancy.store.log_end().await?.newest;
    let found = tenants::by_id(tenancy, caller, id).await?;
    Ok(found.map(|snapshot| {
        let access = Access::of(&tenancy.declared, caller.viewpoint(tenancy), &snapshot, position);
        (snapshot, access)
    }))
}
