//! Seals the audit log in the background, so that later changes of it can be detected.

use crate::background::{Loop, Wake};
use crate::tenancy::Tenancy;
use std::time::Duration;
use tenancy_core::Error;

/// Pause between two runs. It is not shortened by commits: a run seals all of them together.
const PERIOD: Duration = Duration::from_secs(1);

/// Returns the loop that seals the log.
pub fn as_loop() -> Loop {
    Loop {
        name: "log-seals",
        period: PERIOD,
        wake: Wake::Never,
        run: |tenancy, _| Box::pin(async move { run_once(&tenancy).await.map(drop) }),
    }
}

/// Seals what is committed and returns the number of seals.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn run_once(tenancy: &Tenancy) -> Result<usize, Error> {
    let sealed = tenancy.store.seal_log().await?;
    if sealed.faults > 0 {
        tracing::error!(
            positions = sealed.faults,
            "the audit log has positions without an event or with several: run `tenancy audit verify`"
        );
    }
    Ok(sealed.seals)
}
