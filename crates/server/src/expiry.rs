//! Time-driven work: releases expired holds, removes expired idempotency records, and creates the audit log's
//! partitions for the months ahead. It watches the clock: in the hour after a jump nothing is released or removed because
//! its time is over ([ADR 0035](../../../docs/adr/0035-epochs-and-jumps-of-the-clock.md)).

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

/// Maximum number of holds that one run releases.
const MAX_HOLDS: usize = 256;

/// Maximum number of batches of expired rows that one run removes, so that the loop pauses between runs.
const MAX_PORTIONS: usize = 20;

/// Name of the actor in the audit log.
pub const ACTOR: &str = "holds";

/// Releases expired holds and returns how many were found. After a jump of the clock none is released: a hold that ends
/// too early cannot be undone, because its tenant is back in service or its data is gone. A caller can still release it.
///
/// # Errors
/// [`Error::Unavailable`]. An error on one hold does not prevent the release of the others.
pub async fn release_holds(tenancy: &Tenancy) -> Result<usize, Error> {
    if tenancy.store.clock_jump().is_some() {
        return Ok(0);
    }
    let ended = tenancy.store.ended_holds(MAX_HOLDS).await?;
    for hold in &ended {
        let request = RequestContext::by_part(ACTOR, fresh_correlation_id());
        if let Err(error) = release(tenancy, hold, &request).await {
            let correlation_id = request.correlation_id.as_str();
            tracing::warn!(correlation_id, %error, code = error.code(), "expired hold was not released");
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

/// Removes expired rows in batches and returns how many were removed.
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
        // Lets waiting writes run first.
        tokio::task::yield_now().await;
    }
    Ok(removed)
}

/// Interval at which partitions of the log are created, months in advance.
const TOP_UP_EVERY: Duration = Duration::from_hours(24);

/// Interval at which the clock is compared with the monotonic clock.
const WATCH_CLOCK_EVERY: Duration = Duration::from_secs(5);

/// Returns the loops of this module. Those for holds and expired rows run at the interval `every`.
pub fn loops(every: Duration) -> [Loop; 4] {
    let of = |name, period, run| Loop { name, period, wake: Wake::Never, run };
    let holds: Run = |tenancy, _| async move { release_holds(&tenancy).await.map(drop) }.boxed();
    let expired: Run = |tenancy, stop| async move { remove_expired(&tenancy, &stop).await.map(drop) }.boxed();
    let clock: Run = |tenancy, _| {
        async move {
            // The look itself logs a jump.
            let _ = tenancy.store.clock_jump();
            Ok(())
        }
        .boxed()
    };
    let partitions: Run = |tenancy, _| async move { tenancy.store.top_up_log().await.map(drop) }.boxed();
    [
        of("ended-holds", every, holds),
        of("expired-rows", every, expired),
        of("log-partitions", TOP_UP_EVERY, partitions),
        of("clock", WATCH_CLOCK_EVERY, clock),
    ]
}
