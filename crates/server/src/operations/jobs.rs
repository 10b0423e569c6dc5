//! Jobs: read, wait and cancel.

use super::job_queue::explain;
use super::outcomes::ended;
use super::tenants;
use super::{Command, Decided};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::{JobId, TenantId};
use tenancy_core::job::{FailureCode, Job};
use tenancy_core::rules::outcome::cancel;
use tenancy_store::page::{JobFilter, Listed, Page};
use tokio_util::sync::CancellationToken;

/// Maximum time to wait for the end of a job.
pub const MAX_WAIT_SECONDS: u64 = 60;

/// Interval at which a job is read again, since another process may run it.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Returns a page of the jobs of all tenants that exist for the caller, newest first.
///
/// # Errors
/// [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`].
pub async fn list(tenancy: &Tenancy, caller: &Caller, filter: &JobFilter, page: &Page) -> Result<Listed<Job>, Error> {
    tenancy.store.jobs(caller.scope(), filter, page).await
}

/// Same as [`list`], with what due jobs wait for if no process has claimed them. For people: decisions depend on what the
/// database says of a job.
///
/// # Errors
/// Same as [`list`].
pub async fn explained_list(
    tenancy: &Tenancy,
    caller: &Caller,
    filter: &JobFilter,
    page: &Page,
) -> Result<Listed<Job>, Error> {
    let mut listed = list(tenancy, caller, filter, page).await?;
    explain(tenancy, &mut listed.items).await?;
    Ok(listed)
}

/// Returns a page of the jobs of a tenant, newest first.
///
/// # Errors
/// [`Error::NotFound`] if the tenant does not exist for the caller.
pub async fn of_tenant(
    tenancy: &Tenancy,
    caller: &Caller,
    tenant: &str,
    filter: JobFilter,
    page: &Page,
) -> Result<Listed<Job>, Error> {
    let tenant = tenants::reach(tenancy, caller, tenant).await?;
    explained_list(tenancy, caller, &JobFilter { tenant_id: Some(tenant.tenant_id), ..filter }, page).await
}

/// Returns a job of a tenant.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn find(tenancy: &Tenancy, caller: &Caller, tenant: &str, id: &str) -> Result<Job, Error> {
    let tenant = tenants::reach(tenancy, caller, tenant).await?;
    explained(tenancy, &tenant.tenant_id, id).await
}

/// Returns a job, with what it waits for if no process has claimed it.
async fn explained(tenancy: &Tenancy, tenant: &TenantId, id: &str) -> Result<Job, Error> {
    let mut job = by_id(tenancy, tenant, id).await?;
    explain(tenancy, std::slice::from_mut(&mut job)).await?;
    Ok(job)
}

async fn by_id(tenancy: &Tenancy, tenant: &TenantId, id: &str) -> Result<Job, Error> {
    let found = tenancy.store.job(tenant, &JobId::known(id)).await?;
    found.ok_or_else(|| Error::not_found("job", id))
}

/// Waits until the job ends, the time is over or the server stops, and returns the job as it is then.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn wait(
    tenancy: &Tenancy,
    caller: &Caller,
    (tenant, id): (&str, &str),
    time: Duration,
    stop: &CancellationToken,
) -> Result<Job, Error> {
    let up = tokio::time::sleep(time);
    tokio::pin!(up);
    let tenant = tenants::reach(tenancy, caller, tenant).await?.tenant_id;
    loop {
        // Starts listening before the read, so that an end between the two is not missed.
        let ended = tenancy.job_ended.notified();
        let job = by_id(tenancy, &tenant, id).await?;
        if !job.is_open() {
            return Ok(job);
        }
        tokio::select! {
            () = ended => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return Ok(job),
            () = &mut up => return explained(tenancy, &tenant, id).await,
        }
    }
}

/// Cancels a job.
#[derive(Debug)]
pub struct Cancel {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Id of the job.
    pub job: String,
    /// Reason for the cancellation.
    pub reason: Option<String>,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Cancel {
    type Outcome = Job;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Job>, Error> {
        let snapshot = tenants::find(tenancy, caller, &self.tenant).await?;
        let (version, counter) = (snapshot.tenant.terms.version, snapshot.tenant.facts.counter);
        self.precondition.check_whole(None, version, counter)?;
        let Some(job) = snapshot.open_job.as_ref().filter(|open| open.job_id.as_str() == self.job) else {
            let outcome = by_id(tenancy, &snapshot.tenant.tenant_id, &self.job).await?;
            return is_cancelled(&outcome).map(|()| Decided { outcome, changes: None });
        };
        let decision = cancel(&tenancy.declared, &snapshot, self.reason.as_deref(), context)?;
        Ok(ended(decision.changes, job))
    }
}

/// Returns success if the job was already cancelled, otherwise an error, since the job has ended.
fn is_cancelled(job: &Job) -> Result<(), Error> {
    if job.error_code.as_deref() == Some(FailureCode::Cancelled.as_str()) {
        return Ok(());
    }
    Err(Error::NotNow(format!("job {} ({}) is {} and cannot be cancelled", job.job_id, job.action, job.state)))
}
