//! Brings every tenant of an organization whose holds changed to where it belongs, in a commit of its own per tenant.
//!
//! An organization's row says by two counters whether its tenants have yet to follow; nothing else is remembered, so a
//! process that is killed at any instant leaves what the next one begins anew. Before a tenant is looked at, its counter
//! is moved: whatever was decided on it while the organization's holds were others (the end of a job, a change of the
//! manifest) can no longer be committed, and is decided again on what holds now. So once all tenants were moved and
//! looked at, none can come to stand where the holds do not allow it.

use crate::background::{Loop, Run, Wake};
use crate::operations::organization_holds::Settle;
use crate::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use futures_util::stream::iter;
use futures_util::{FutureExt, StreamExt};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::ids::TenantId;
use tenancy_core::organization::Organization;

/// Most organizations that are read at once.
const MAX_ORGANIZATIONS: usize = 64;

/// Most tenants whose counters are moved in one statement.
const MAX_TENANTS: usize = 256;

/// How many tenants are looked at at the same time: their commits go together.
const AT_ONCE: usize = 32;

/// The name under which the log shows it.
pub const ACTOR: &str = "organization-holds";

/// Settles every organization whose holds changed; returns how many are settled now.
///
/// # Errors
/// [`Error::Unavailable`]. An organization that cannot be settled keeps none of the others.
pub async fn run_once(tenancy: &Tenancy) -> Result<usize, Error> {
    let (mut settled, mut after) = (0, None);
    loop {
        let unsettled = tenancy.store.unsettled_organizations(after.as_ref(), MAX_ORGANIZATIONS).await?;
        let Some(last) = unsettled.last() else { return Ok(settled) };
        after = Some(last.organization_id.clone());
        for organization in &unsettled {
            match settle(tenancy, organization).await {
                Ok(()) => settled += 1,
                Err(error) => {
                    let organization_id = organization.organization_id.as_str();
                    tracing::warn!(organization_id, %error, "not all tenants follow their organization's holds yet");
                }
            }
        }
    }
}

/// Settles an organization as it was when it was read: one that has changed since is still unsettled afterwards.
async fn settle(tenancy: &Tenancy, organization: &Organization) -> Result<(), Error> {
    let (id, mut after, mut outcome) = (&organization.organization_id, None, Ok(()));
    loop {
        let tenants = tenancy.store.move_tenants(id, after.as_ref(), MAX_TENANTS).await?;
        let Some(last) = tenants.last() else { break };
        after = Some(last.clone());
        let each = tenants.into_iter().map(|tenant| settle_tenant(tenancy, tenant, organization));
        let mut each = iter(each).buffer_unordered(AT_ONCE);
        while let Some(one) = each.next().await {
            outcome = outcome.and(one);
        }
    }
    outcome?;
    tenancy.store.note_settled(id, organization.counter).await
}

async fn settle_tenant(tenancy: &Tenancy, tenant: TenantId, organization: &Organization) -> Result<(), Error> {
    let request = RequestContext::by_part(ACTOR, fresh_correlation_id());
    let command = Settle { tenant, changed_at: organization.updated_at };
    tenancy.decide_and_commit(&command, &request, None).await.map(drop)
}

/// The loop that does it. Being told that holds changed only makes it sooner.
pub fn as_loop(every: Duration) -> Loop {
    let run: Run = |tenancy, _| async move { run_once(&tenancy).await.map(drop) }.boxed();
    Loop { name: ACTOR, period: every, wake: Wake::HoldsChanged, run }
}
