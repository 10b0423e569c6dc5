//! Jobs: found, and waited for.

use super::tenants::tenant_id;
use crate::tenancy::Tenancy;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::ids::JobId;
use tenancy_core::job::Job;
use tokio_util::sync::CancellationToken;

/// Longest wait for a job's end.
pub const MAX_WAIT_SECONDS: u64 = 60;

/// How often a job that another process may work is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// The job of that id on that tenant.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tenancy: &Tenancy, tenant: &str, id: &str) -> Result<Job, Error> {
    let tenant = tenant_id(tenancy, tenant).await?;
    let found = tenancy.store.job(&tenant, &JobId::known(id)).await?;
    found.ok_or_else(|| Error::not_found("job", id))
}

/// The job once it ended, or as it is when the time is up or the server stops.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn wait(
    tenancy: &Tenancy,
    tenant: &str,
    id: &str,
    time: Duration,
    stop: &CancellationToken,
) -> Result<Job, Error> {
    let up = tokio::time::sleep(time);
    tokio::pin!(up);
    loop {
        // Listening begins before the look, so that an end between the two is not missed.
        let ended = tenancy.job_ended.notified();
        let job = find(tenancy, tenant, id).await?;
        if !job.is_open() {
            return Ok(job);
        }
        tokio::select! {
            () = ended => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return Ok(job),
            () = &mut up => return find(tenancy, tenant, id).await,
        }
    }
}
