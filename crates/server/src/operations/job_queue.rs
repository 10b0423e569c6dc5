//! The open jobs of all tenants, and whether processes work on them.

use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::job::{Job, JobState};
use tenancy_store::job_queue::JobQueue;

/// Time after which a due job counts as not claimed. Processes that work jobs claim a due job within a second.
const LATE: Duration = Duration::from_secs(5);

/// Time after which a due job that was not claimed causes a warning: three leases of the default length.
const TOO_LATE: Duration = Duration::from_secs(30);

/// What a due job waits for if no process works jobs.
const NO_PROCESS: &str = "a process: no process works jobs (jobs.enabled)";

/// What a due job waits for if all processes that work jobs are busy.
const BUSY: &str = "a free process: all that work jobs are busy (jobs.max_running)";

/// The database and the open jobs.
#[derive(Debug)]
pub struct Overview {
    /// Kind of the database.
    pub kind: &'static str,
    /// Size of the database in bytes.
    pub bytes: i64,
    /// Open jobs.
    pub jobs: JobQueue,
}

/// Returns the database and the open jobs, with what due jobs wait for. `None` for a scoped caller, who may not see what
/// concerns other tenants.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn overview(tenancy: &Tenancy, caller: &Caller) -> Result<Option<Overview>, Error> {
    if !caller.scope().is_all() {
        return Ok(None);
    }
    let (kind, bytes) = tenancy.store.kind_and_size().await?;
    let mut jobs = tenancy.store.job_queue().await?;
    if let Some(what) = obstacle(tenancy).await? {
        jobs.waits_for.insert(0, (what.to_owned(), jobs.due));
    }
    Ok(Some(Overview { kind, bytes, jobs }))
}

/// Adds to due jobs that no process has claimed what they wait for.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn explain(tenancy: &Tenancy, jobs: &mut [Job]) -> Result<(), Error> {
    let now = tenancy.now();
    let is_late = |job: &&mut Job| {
        let is_due = job.state == JobState::Queued && job.waiting_for.is_none() && job.due_at < now;
        is_due && now.duration_since(job.due_at).unsigned_abs() > LATE
    };
    let late: Vec<_> = jobs.iter_mut().filter(is_late).collect();
    if late.is_empty() {
        return Ok(());
    }
    let Some(what) = obstacle(tenancy).await? else { return Ok(()) };
    late.into_iter().for_each(|job| job.waiting_for = Some(what.to_owned()));
    Ok(())
}

async fn obstacle(tenancy: &Tenancy) -> Result<Option<&'static str>, Error> {
    let unclaimed = tenancy.store.unclaimed(LATE).await?;
    Ok(unclaimed.map(|unclaimed| if unclaimed.others_run { BUSY } else { NO_PROCESS }))
}

/// Returns a warning if a job has been due for long.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn warning(tenancy: &Tenancy) -> Result<Option<String>, Error> {
    let unclaimed = tenancy.store.unclaimed(TOO_LATE).await?;
    Ok(unclaimed.map(|unclaimed| {
        let why = if unclaimed.others_run { BUSY } else { NO_PROCESS };
        format!(
            "the oldest due job has not been claimed since it became due at {}: it waits for {why}",
            unclaimed.since
        )
    }))
}
