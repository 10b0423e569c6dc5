//! Removes deliveries and attempts that are older than they are kept for.

use crate::background::{Loop, Run, Wake};
use crate::tenancy::Tenancy;
use futures_util::FutureExt;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_store::upkeep::MAX_REMOVED;
use tokio_util::sync::CancellationToken;

/// Interval between two runs.
const EVERY: Duration = Duration::from_secs(600);

/// Removes what has expired, and returns the number of deliveries. In the hour after a jump of the clock nothing is removed.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn run_once(tenancy: &Tenancy, stop: &CancellationToken) -> Result<u64, Error> {
    let Some(days) = tenancy.delivery_retention_days.get() else { return Ok(0) };
    if tenancy.store.clock_jump().is_some() {
        return Ok(0);
    }
    let mut removed = 0;
    loop {
        let portion = tenancy.store.remove_expired_deliveries(*days).await?;
        removed += portion;
        if portion < u64::from(MAX_REMOVED) || stop.is_cancelled() {
            return Ok(removed);
        }
        // Lets waiting writes run first.
        tokio::task::yield_now().await;
    }
}

/// Returns the loop.
pub fn as_loop() -> Loop {
    let run: Run = |tenancy, stop| async move { run_once(&tenancy, &stop).await.map(drop) }.boxed();
    Loop { name: "webhook-retention", period: EVERY, wake: Wake::Never, run }
}
