//! Keeps private data encrypted: carries out what is due for data keys, and seals rows from before.

use crate::background::{Loop, Wake};
use crate::tenancy::Tenancy;
use std::time::Duration;
use tenancy_core::Error;
use tokio_util::sync::CancellationToken;

/// Pause between two runs that look for due data keys.
const KEYS_EVERY: Duration = Duration::from_secs(5);
/// Pause between two runs that look for rows that are not sealed.
const ROWS_EVERY: Duration = Duration::from_secs(60);
/// Maximum number of rows that one step seals.
const ROWS_AT_ONCE: usize = 500;
/// Maximum number of steps of one run.
const MAX_STEPS: usize = 200;
/// Pause after each step, so that requests have the database most of the time.
const STEP_PAUSE: Duration = Duration::from_millis(50);

/// Returns the loops of this module.
pub fn loops() -> [Loop; 2] {
    [
        Loop {
            name: "data-keys",
            period: KEYS_EVERY,
            wake: Wake::Never,
            run: |tenancy, _| Box::pin(async move { tenancy.store.settle_data_keys().await.map(drop) }),
        },
        Loop {
            name: "plain-rows",
            period: ROWS_EVERY,
            wake: Wake::Never,
            run: |tenancy, stop| Box::pin(async move { seal_rows(&tenancy, &stop).await.map(drop) }),
        },
    ]
}

/// Seals rows that were stored before there were keys, and returns how many were sealed.
///
/// # Errors
/// [`Error::Unavailable`], [`Error::KeysUnavailable`].
pub async fn seal_rows(tenancy: &Tenancy, stop: &CancellationToken) -> Result<usize, Error> {
    let mut sealed = 0;
    for _ in 0..MAX_STEPS {
        let step = tenancy.store.seal_plain_rows(ROWS_AT_ONCE).await?;
        sealed += step;
        if step == 0 || stop.is_cancelled() {
            break;
        }
        tokio::time::sleep(STEP_PAUSE).await;
    }
    Ok(sealed)
}
