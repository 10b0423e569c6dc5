//! What jobs and their steps achieved, and what expired.

use super::{Command, Decided};
use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Conflict};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::TenantId;
use tenancy_core::job::{Failure, Job};
use tenancy_core::rules::lifecycle::activate;
use tenancy_core::rules::outcome::{complete, fail};
use tenancy_core::rules::step::{Achieved, step_done};
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

    async fn decide(
        &self,
        tenancy: &Tenancy,
        _: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Job>, Error> {
        let (declared, job) = (&tenancy.declared, &self.job);
        let (snapshot, _) = held(tenancy, job).await?;
        let decision = match &self.outcome {
            Outcome::Completed => complete(declared, &snapshot, job, context)?,
            Outcome::Failed(failure) => fail(declared, &snapshot, job, failure.clone(), context)?,
        };
        Ok(ended(decision.changes, job))
    }
}

/// Writes the end of a step, and what it achieved, of a job that this process holds the lease of.
#[derive(Debug)]
pub struct StepDone {
    /// The job, with the end of the step.
    pub job: Job,
    /// The step: its index in the job's steps.
    pub index: usize,
    /// What it achieved.
    pub achieved: Achieved,
}

/// What became of the end of a step.
#[derive(Debug)]
pub enum Written {
    /// It is committed; this is the tenant as it is then.
    With(Box<TenantSnapshot>),
    /// The record has nothing to keep of it: it is progress, which is upkeep's to write.
    AsProgress,
}

impl Command for StepDone {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        _: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let (snapshot, open) = held(tenancy, &self.job).await?;
        let Some(step) = self.job.steps.get(self.index) else {
            return Err(Error::Internal(format!("job {} has no step {}", self.job.job_id, self.index)));
        };
        if open.steps.contains(step) {
            // A commit whose answer was lost had come through.
            return Ok(Decided { outcome: Written::With(Box::new(snapshot)), changes: None });
        }
        let done = step_done(&tenancy.declared, &snapshot, &self.job, (step, self.achieved), context)?;
        let outcome = match &done.changes {
            Some(_) => Written::With(Box::new(done.snapshot)),
            None => Written::AsProgress,
        };
        Ok(Decided { outcome, changes: done.changes })
    }
}

/// The tenant, with its open job if that is this one under the same lease.
async fn held(tenancy: &Tenancy, job: &Job) -> Result<(TenantSnapshot, Job), Error> {
    let snapshot = load(tenancy, &job.tenant_id).await?;
    let ours = |open: &&Job| (&open.job_id, open.lease_epoch) == (&job.job_id, job.lease_epoch);
    match snapshot.open_job.as_ref().filter(ours).cloned() {
        Some(open) => Ok((snapshot, open)),
        None => Err(Conflict::LeaseLost(job.job_id.clone()).into()),
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

    async fn decide(&self, tenancy: &Tenancy, _: &Caller, context: &mut DecisionContext) -> Result<Decided<()>, Error> {
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
