//! Whether tenants may be served.

use super::{events, tenants};
use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use futures_util::{StreamExt, stream};
use tenancy_api::Viewpoint;
use tenancy_api::access::Access;
use tenancy_core::Error;
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::permission::Audience;
use tenancy_core::scope::Scope;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_store::LogEnd;
use tenancy_store::page::{Page, TenantFilter};

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

/// Number of tenants that are read at the same time. PostgreSQL reads them together.
const AT_ONCE: usize = 64;

/// Access of some tenants, for callers of each audience, and the rows that cannot be read.
#[derive(Debug, Default)]
pub struct Many {
    /// Each tenant with the access that its audience sees: staff, then customers.
    pub tenants: Vec<(TenantSnapshot, [Access; 2])>,
    /// Tenants with a row that cannot be read, and the place of the row.
    pub unreadable: Vec<(TenantId, String)>,
}

/// Reads the access of tenants, in their order. A tenant that does not exist is left out. The caller of this function
/// decides who sees which of them.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn of_many(tenancy: &Tenancy, ids: Vec<TenantId>, position: i64) -> Result<Many, Error> {
    let mut many = Many::default();
    let mut reads =
        stream::iter(ids).map(|id| async move { (tenancy.store.snapshot(&id).await, id) }).buffered(AT_ONCE);
    while let Some((read, id)) = reads.next().await {
        match read {
            Ok(Some(snapshot)) => {
                let of = |audience| Access::of(&tenancy.declared, Viewpoint::unnamed(audience), &snapshot, position);
                let access = [of(Audience::Staff), of(Audience::Customer)];
                many.tenants.push((snapshot, access));
            }
            Ok(None) => {}
            Err(Error::Unreadable(place)) => many.unreadable.push((id, place)),
            Err(error) => return Err(error),
        }
        // SQLite reads on this thread, and others wait for it.
        tokio::task::yield_now().await;
    }
    Ok(many)
}

/// Returns the access of a page of the tenants that a scope includes, without those that are purged, and the cursor of
/// the next page.
///
/// # Errors
/// [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`].
pub async fn page(
    tenancy: &Tenancy,
    scope: &Scope,
    organization_id: Option<OrganizationId>,
    page: &Page,
    position: i64,
) -> Result<(Many, Option<String>), Error> {
    let filter = TenantFilter { organization_id, ..TenantFilter::default() };
    let listed = tenancy.store.tenants(scope, &filter, page).await?;
    let ids = listed.items.into_iter().map(|tenant| tenant.tenant_id).collect();
    let mut many = of_many(tenancy, ids, position).await?;
    many.unreadable.extend(listed.unreadable.into_iter().map(|row| (TenantId::known(row.id), row.place)));
    Ok((many, listed.next))
}

/// Returns where a follower with this cursor continues, and the end of the log.
///
/// # Errors
/// [`Error::Malformed`] if the text is no cursor; [`Error::CursorExpired`]; [`Error::Unavailable`].
pub async fn resume(tenancy: &Tenancy, caller: &Caller, after: &str) -> Result<(i64, LogEnd), Error> {
    events::resume(tenancy, caller, Some(after)).await
}
