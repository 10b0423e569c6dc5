//! Jobs: found, waited for, and cancelled.

use super::outcomes::ended;
use super::tenants::{self, tenant_id};
use super::{Command, Decided};
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::JobId;
use tenancy_core::job::{FailureCode, Job};
use tenancy_core::rules::outcome::cancel;
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

/// Cancels a job.
#[derive(Debug)]
pub struct Cancel {
    /// On whom: an id or an alias.
    pub tenant: String,
    /// Which.
    pub job: String,
    /// Why.
    pub reason: Option<String>,
    /// On what it depends, if anything was said.
    pub precondition: Precondition,
}

impl Command for Cancel {
    type Outcome = Job;

    async fn decide(&self, tenancy: &Tenancy, context: &mut DecisionContext) -> Result<Decided<Job>, Error> {
        let snapshot = tenants::find(tenancy, &self.tenant).await?;
        self.precondition.check_if_said(None, snapshot.tenant.terms.version)?;
        let Some(job) = snapshot.open_job.as_ref().filter(|open| open.job_id.as_str() == self.job) else {
            let outcome = find(tenancy, &self.tenant, &self.job).await?;
            return is_cancelled(&outcome).map(|()| Decided { outcome, changes: None });
        };
        let decision = cancel(&tenancy.declared, &snapshot, self.reason.as_deref(), context)?;
        Ok(ended(decision.changes, job))
    }
}

/// That a job which cannot be cancelled any more was cancelled already.
fn is_cancelled(job: &Job) -> Result<(), Error> {
    if job.error_code.as_deref() == Some(FailureCode::Cancelled.as_str()) {
        return Ok(());
    }
    Err(Error::NotNow(format!("job {} ({}) is {}: there is nothing to cancel", job.job_id, job.action, job.state)))
}
