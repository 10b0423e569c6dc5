//! What jobs achieved, and what expired.

use super::{Command, Decided};
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Conflict};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::TenantId;
use tenancy_core::job::Job;
use tenancy_core::rules::lifecycle::activate;
use tenancy_core::rules::outcome::{Failure, complete, fail};
use tenancy_core::snapshot::TenantSnapshot;

/// How the work on a job ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All its steps are done.
    Completed,
    /// It cannot go on.
    Failed(Failure),
}

/// Ends a job that this process holds the lease of.
#[derive(Debug)]
pub struct End {
    /// The job, with its steps and progress as they are.
    pub job: Job,
    /// How it ended.
    pub outcome: Outcome,
}

impl Command for End {
    type Outcome = Job;

    async fn decide(&self, tenancy: &Tenancy, context: &mut DecisionContext) -> Result<Decided<Job>, Error> {
        let snapshot = load(tenancy, &self.job.tenant_id).await?;
        let current = snapshot.open_job.as_ref().filter(|open| open.job_id == self.job.job_id);
        if current.is_none_or(|open| open.lease_epoch != self.job.lease_epoch) {
            return Err(Conflict::LeaseLost(self.job.job_id.clone()).into());
        }
        let (declared, job) = (&tenancy.declared, &self.job);
        let decision = match &self.outcome {
            Outcome::Completed => match complete(declared, &snapshot, job, context) {
                // The state table has no such transition any more: the job has failed, whatever was done.
                Err(Error::NotNow(why)) => {
                    let message = format!("{why}: look at the tenant's audit log for what came in between");
                    let failure = Failure { code: "not_in_this_state", message, step: None };
                    fail(declared, &snapshot, job, failure, context)?
                }
                decision => decision?,
            },
            Outcome::Failed(failure) => fail(declared, &snapshot, job, failure.clone(), context)?,
        };
        Ok(ended(decision.changes, &self.job))
    }
}

/// What ends a job, with the job as it is then.
pub(super) fn ended(changes: Option<Changes>, job: &Job) -> Decided<Job> {
    let outcome = changes.as_ref().and_then(Changes::finished_job).unwrap_or(job).clone();
    Decided { outcome, changes }
}

/// Releases a hold whose time is over.
#[derive(Debug)]
pub struct ReleaseExpired {
    /// On whom it stands.
    pub tenant: TenantId,
    /// Its kind.
    pub hold: String,
}

impl Command for ReleaseExpired {
    type Outcome = ();

    async fn decide(&self, tenancy: &Tenancy, context: &mut DecisionContext) -> Result<Decided<()>, Error> {
        let snapshot = load(tenancy, &self.tenant).await?;
        let over = |until: tenancy_core::Timestamp| until <= context.now;
        let due = snapshot.holds.iter().any(|hold| hold.kind == self.hold && hold.until.is_some_and(over));
        if !due || snapshot.tenant.facts.purged_at.is_some() {
            return Ok(Decided { outcome: (), changes: None });
        }
        let decision = activate(&tenancy.declared, &snapshot, Some(&self.hold), context)?;
        Ok(Decided { outcome: (), changes: decision.changes })
    }
}

async fn load(tenancy: &Tenancy, id: &TenantId) -> Result<TenantSnapshot, Error> {
    let found = tenancy.store.snapshot(id).await?;
    found.ok_or_else(|| Error::not_found("tenant", id.as_str()))
}
