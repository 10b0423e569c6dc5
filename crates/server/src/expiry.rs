//! What time brings: holds whose time is over are released, answers that were kept long enough go, the log gets the
//! partitions of the months ahead.

use crate::background::{Loop, Run, Wake};
use crate::operations::organization_holds;
use crate::operations::outcomes::ReleaseExpired;
use crate::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use futures_util::FutureExt;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::hold::{Held, Hold};
use tenancy_store::upkeep::MAX_REMOVED;
use tokio_util::sync::CancellationToken;

/// Most holds that are released in one go.
const MAX_HOLDS: usize = 256;

/// Most portions of what expired that are removed in one go: holds have their turn in between.
const MAX_PORTIONS: usize = 20;

/// The name under which the log shows it.
pub const ACTOR: &str = "holds";

/// Releases the holds whose time is over; returns how many stood.
///
/// # Errors
/// [`Error::Unavailable`]. A hold that cannot be released keeps none of the others.
pub async fn release_holds(tenancy: &Tenancy) -> Result<usize, Error> {
    let ended = tenancy.store.ended_holds(MAX_HOLDS).await?;
    for hold in &ended {
        let request = RequestContext::by_part(ACTOR, fresh_correlation_id());
        if let Err(error) = release(tenancy, hold, &request).await {
            let correlation_id = request.correlation_id.as_str();
            tracing::warn!(correlation_id, %error, code = error.code(), "a hold that ended was not released");
        }
    }
    Ok(ended.len())
}

async fn release(tenancy: &Tenancy, hold: &Hold, request: &RequestContext) -> Result<(), Error> {
    let kind = hold.kind.clone();
    match &hold.held {
        Held::Tenant(tenant) => {
            let release = ReleaseExpired { tenant: tenant.clone(), hold: kind };
            tenancy.decide_and_commit(&release, request, None).await?;
        }
        Held::Organization(organization) => {
            let release = organization_holds::ReleaseExpired { organization: organization.clone(), hold: kind };
            tenancy.decide_and_commit(&release, request, None).await?;
            tenancy.holds_changed.notify_one();
        }
    }
    Ok(())
}

/// Removes what has expired, portion after portion while there is more; returns how much.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn remove_expired(tenancy: &Tenancy, stop: &CancellationToken) -> Result<u64, Error> {
    let mut removed = 0;
    for _ in 0..MAX_PORTIONS {
        let portion = tenancy.store.remove_expired().await?;
        removed += portion;
        if portion < u64::from(MAX_REMOVED) || stop.is_cancelled() {
            break;
        }
        // Who wants to write meanwhile goes first.
        tokio::task::yield_now().await;
    }
    Ok(removed)
}

/// How often the log's partitions are looked at; months of them lie ahead.
const TOP_UP_EVERY: Duration = Duration::from_hours(24);

/// The loops that do it. What expires is looked for `every` so often.
pub fn loops(every: Duration) -> [Loop; 3] {
    let of = |name, period, run| Loop { name, period, wake: Wake::Never, run };
    let holds: Run = |tenancy, _| async move { release_holds(&tenancy).await.map(drop) }.boxed();
    let expired: Run = |tenancy, stop| async move { remove_expired(&tenancy, &stop).await.map(drop) }.boxed();
    let partitions: Run = |tenancy, _| async move { tenancy.store.top_up_log().await.map(drop) }.boxed();
    [
        of("ended-holds", every, holds),
        of("expired-rows", every, expired),
        of("log-partitions", TOP_UP_EVERY, partitions),
    ]
}
