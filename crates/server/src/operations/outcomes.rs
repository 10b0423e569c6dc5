//! Outcomes of jobs and their steps, and expired holds.

use super::{Command, Decided};
use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Conflict};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::{EnvironmentId, TenantId};
use tenancy_core::job::{Failure, Job};
use tenancy_core::placement::Intent;
use tenancy_core::rules::lifecycle::activate;
use tenancy_core::rules::outcome::{complete, fail};
use tenancy_core::rules::step::{Achieved, announced, step_done};
use tenancy_core::snapshot::TenantSnapshot;

/// Outcome of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Completed,
    /// The job failed.
    Failed(Failure),
}

/// Ends a job whose lease this process holds.
#[derive(Debug)]
pub struct End {
    /// The job, with its current steps and progress.
    pub job: Job,
    /// Outcome of the job.
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

/// Writes the end of a step and its result, for a job whose lease this process holds.
#[derive(Debug)]
pub struct StepDone {
    /// The job, with the end of the step.
    pub job: Job,
    /// Index of the step in the job's steps.
    pub index: usize,
    /// Result of the step.
    pub achieved: Achieved,
}

/// How the end of a step was written.
#[derive(Debug)]
pub enum Written {
    /// Committed. Contains the tenant as of the commit.
    With(Box<TenantSnapshot>),
    /// The step has no result to commit; its end is progress, which upkeep writes.
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
            // An earlier commit whose answer was lost has succeeded.
            return Ok(Decided { outcome: Written::With(Box::new(snapshot)), changes: None });
        }
        let done = step_done(&tenancy.declared, &snapshot, &self.job, (step, &self.achieved), context)?;
        let outcome = match &done.changes {
            Some(_) => Written::With(Box::new(done.snapshot)),
            None => Written::AsProgress,
        };
        Ok(Decided { outcome, changes: done.changes })
    }
}

/// Records what a step is about to do to a place, for a job whose lease this process holds.
#[derive(Debug)]
pub struct Announced {
    /// The job.
    pub job: Job,
    /// The environment.
    pub env_id: EnvironmentId,
    /// What is to be done to its place.
    pub intent: Intent,
}

impl Command for Announced {
    /// The tenant as of the commit.
    type Outcome = TenantSnapshot;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        _: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<TenantSnapshot>, Error> {
        let (snapshot, _) = held(tenancy, &self.job).await?;
        let intent = (&self.env_id, &self.intent);
        let decision = announced(&tenancy.declared, &snapshot, &self.job, intent, context)?;
        Ok(Decided { outcome: decision.snapshot, changes: decision.changes })
    }
}

/// Returns the tenant and its open job, if the open job is this one under the same lease.
async fn held(tenancy: &Tenancy, job: &Job) -> Result<(TenantSnapshot, Job), Error> {
    let snapshot = load(tenancy, &job.tenant_id).await?;
    let ours = |open: &&Job| (&open.job_id, open.lease_epoch) == (&job.job_id, job.lease_epoch);
    match snapshot.open_job.as_ref().filter(ours).cloned() {
        Some(open) => Ok((snapshot, open)),
        None => Err(Conflict::LeaseLost(job.job_id.clone()).into()),
    }
}

/// Returns the changes that end a job, with the job after the commit.
pub(super) fn ended(changes: Option<Changes>, job: &Job) -> Decided<Job> {
    let outcome = changes.as_ref().and_then(Changes::finished_job).unwrap_or(job).clone();
    Decided { outcome, changes }
}

/// Releases an expired hold.
#[derive(Debug)]
pub struct ReleaseExpired {
    /// Tenant that has the hold.
    pub tenant: TenantId,
    /// Kind of the hold.
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
