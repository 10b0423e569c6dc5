//! Hold reconciler: after the holds on an organization change, updates each of its tenants in a separate commit.
//!
//! Two counters of the organization's row show whether its tenants still have to follow. No other state is stored, so
//! after a crash at any point the next process starts the work again. Before the reconciler reads a tenant, it
//! increments the tenant's counter. A decision on the tenant that was based on the former holds of the organization,
//! such as the end of a job or a change of the manifest, can then no longer be committed and is made again with the
//! current holds. When all tenants have been updated this way, none of them can get a state that the holds do not
//! allow.

use crate::background::{Loop, Run, Wake};
use crate::operations::organization_holds::Settle;
use crate::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use futures_util::stream::iter;
use futures_util::{FutureExt, StreamExt};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::ids::TenantId;
use tenancy_core::organization::Organization;

/// Maximum number of organizations in one read.
const MAX_ORGANIZATIONS: usize = 64;

/// Maximum number of tenants whose counters one statement increments.
const MAX_TENANTS: usize = 256;

/// Number of tenants that are updated concurrently, so that their commits share batches.
const AT_ONCE: usize = 32;

/// Name of the actor in the audit log.
pub const ACTOR: &str = "organization-holds";

/// Reconciles every organization whose holds changed, and returns how many are reconciled now.
///
/// # Errors
/// [`Error::Unavailable`]. An error on one organization does not prevent the work on the others.
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

/// Reconciles an organization as it was read. If it has changed since, it is still unsettled afterwards.
async fn settle(tenancy: &Tenancy, organization: &Organization) -> Result<(), Error> {
    let (id, mut after, mut outcome) = (&organization.organization_id, None, Ok(()));
    loop {
        let tenants = tenancy.store.move_tenants(id, after.as_ref(), MAX_TENANTS).await?;
        let Some(last) = tenants.last() else { break };
        after = Some(last.clone());
        let each = tenants.into_iter().map(|tenant| settle_tenant(tenancy, tenant, organization));
        let mut each = iter(each).buffer_unordered(AT_ONCE);
        while let Some(one) = each.next().await {
            match one {
                // It cannot follow until it is corrected, and must not keep the organization unsettled.
                Err(error @ Error::Unreadable(_)) => {
                    tracing::warn!(organization_id = id.as_str(), %error, "a tenant cannot follow its organization's holds");
                }
                one => outcome = outcome.and(one),
            }
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

/// Returns the loop. A notification that holds changed only starts the next run sooner.
pub fn as_loop(every: Duration) -> Loop {
    let run: Run = |tenancy, _| async move { run_once(&tenancy).await.map(drop) }.boxed();
    Loop { name: ACTOR, period: every, wake: Wake::HoldsChanged, run }
}
