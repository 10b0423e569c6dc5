//! Ends logins of environments that have expired: their sessions end, and their roles are dropped.

use crate::background::{Loop, Wake};
use crate::tenancy::Tenancy;
use futures_util::FutureExt;
use std::time::Duration;
use tenancy_core::Error;

/// Time between two runs. A login cannot log in after its end; its open sessions last until the next run.
const EVERY: Duration = Duration::from_secs(15);

/// Ends what has expired. Every process does this for the placements that it can reach.
///
/// # Errors
/// [`Error::NotNow`] if a placement cannot be reached.
pub async fn expire(tenancy: &Tenancy) -> Result<u64, Error> {
    let Some(provisioner) = tenancy.provisioner.get() else { return Ok(0) };
    provisioner.expire(tenancy.now()).await.map_err(|fault| Error::NotNow(fault.to_string()))
}

/// Returns the background loop.
pub fn loops() -> Vec<Loop> {
    let run: crate::background::Run = |tenancy, _| async move { expire(&tenancy).await.map(drop) }.boxed();
    vec![Loop { name: "logins", period: EVERY, wake: Wake::Never, run }]
}
