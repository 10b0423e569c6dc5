//! The work on one job.

use super::Runner;
use crate::operations::outcomes::{End, Outcome};
use crate::provisioner::{StepEnd, StepFailed, Work};
use crate::tenancy::Asked;
use jiff::SignedDuration;
use std::time::Duration;
use tenancy_core::changes::Conflict;
use tenancy_core::job::{Job, StepState};
use tenancy_core::lifecycle::{TABLE, kept_from};
use tenancy_core::moment::Actor;
use tenancy_core::rules::outcome::{Failure, kept};
use tenancy_core::tenant::Dossier;
use tenancy_core::{Error, Timestamp};
use tenancy_store::upkeep::{Lease, Progress};
use tokio_util::sync::CancellationToken;

/// The step that is the commit of the outcome itself.
const RECORD: &str = "record";

/// Longest wait between two tries to commit an outcome.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// How the work on a job stopped.
enum Stopped {
    /// It ended, well or not.
    Ended(Outcome),
    /// Another has it now: nothing more is written.
    Lost,
    /// It waits for something, and is put aside until then.
    Waits { what: String, until: Timestamp },
    /// The process stops: the job is given back.
    GivenBack,
}

impl Runner {
    /// Works a job that this process holds the lease of.
    pub(super) async fn work(&self, mut job: Job, lost: CancellationToken) {
        let lease = (job.job_id.clone(), job.lease_epoch);
        let action = job.action.as_str();
        let how = match self.steps(&mut job, &lease, &lost).await {
            Ok(Stopped::Ended(outcome)) => match self.end(job, outcome, &lost).await {
                Some(how) => how,
                None => self.give_back(&lease).await,
            },
            Ok(Stopped::Waits { what, until }) => self.put_aside(&lease, &what, until).await,
            Ok(Stopped::GivenBack) => self.give_back(&lease).await,
            Ok(Stopped::Lost) => "lost",
            // Whoever finds the lease over takes it up again from its step.
            Err(error) => {
                tracing::warn!(job_id = lease.0.as_str(), %error, "the work on a job broke off");
                "lost"
            }
        };
        self.leases.drop(&lease);
        self.metrics.job_ended(action, how);
        self.tenancy.job_ended.notify_waiters();
    }

    /// Works the steps that are not done yet.
    async fn steps(&self, job: &mut Job, lease: &Lease, lost: &CancellationToken) -> Result<Stopped, Error> {
        let Some(dossier) = self.tenancy.store.dossier(&job.tenant_id).await? else { return Ok(Stopped::Lost) };
        if dossier.open_job.as_ref().is_none_or(|open| open.job_id != job.job_id) {
            return Ok(Stopped::Lost);
        }
        if let Some(failure) = not_in_this_state(job, &dossier) {
            return Ok(Stopped::Ended(Outcome::Failed(failure)));
        }
        if let Some(message) = kept_from(&self.tenancy.declared, &dossier, job.action) {
            let failure = Failure { code: "data_held", message, step: None };
            return Ok(Stopped::Ended(Outcome::Failed(failure)));
        }
        for index in 0..job.steps.len() {
            if job.steps[index].state == StepState::Done || job.steps[index].name == RECORD {
                continue;
            }
            if self.stop.is_cancelled() {
                return Ok(Stopped::GivenBack);
            }
            let Some(result) = self.step(job, index, &dossier, lost).await else { return Ok(Stopped::Lost) };
            let (name, now) = (job.steps[index].name.clone(), self.tenancy.store.now());
            let (line, stopped) = match result {
                Ok(StepEnd::Done(line)) => {
                    job.steps[index].state = StepState::Done;
                    (format!("{now} {name}: {line}\n"), None)
                }
                Ok(StepEnd::Waits { what, until }) => {
                    let what = kept(&what);
                    (format!("{now} {name} waits for {what}\n"), Some(self.waits(job, name, what, until)))
                }
                Err(StepFailed { code, message }) => {
                    let line = format!("{now} {name} failed: {message}\n");
                    (line, Some(Stopped::Ended(Outcome::Failed(Failure { code, message, step: Some(name) }))))
                }
            };
            if !self.write_down(job, lease, line).await? {
                return Ok(Stopped::Lost);
            }
            if let Some(stopped) = stopped {
                return Ok(stopped);
            }
        }
        Ok(Stopped::Ended(Outcome::Completed))
    }

    /// A job may wait so long, and is then given up: nobody would look at it again.
    fn waits(&self, job: &Job, step: String, what: String, until: Timestamp) -> Stopped {
        let now = self.tenancy.store.now();
        let hours = self.jobs.give_up_hours;
        let give_up = job.created_at.checked_add(SignedDuration::from_hours(hours.into())).unwrap_or(Timestamp::MAX);
        if now >= give_up {
            let message =
                format!("given up: after {hours} h it still waits for {what}; when that is there, ask for it again");
            return Stopped::Ended(Outcome::Failed(Failure { code: "given_up", message, step: Some(step) }));
        }
        // Not at once either, however soon a provisioner wants to be asked again.
        let soonest = now.checked_add(Duration::from_millis(self.jobs.poll_milliseconds)).unwrap_or(give_up);
        Stopped::Waits { what, until: until.max(soonest).min(give_up) }
    }

    /// Has a step brought about; `None` when the lease is lost meanwhile.
    async fn step(
        &self,
        job: &Job,
        index: usize,
        dossier: &Dossier,
        lost: &CancellationToken,
    ) -> Option<Result<StepEnd, StepFailed>> {
        let (job_id, action, attempt) = (&job.job_id, job.action, job.attempt);
        let work = Work { job_id, action, step: &job.steps[index].name, attempt, dossier };
        tokio::select! {
            result = self.provisioner.step(work) => Some(result),
            () = lost.cancelled() => None,
        }
    }

    /// Writes how far the job is; `false` when the lease is lost.
    async fn write_down(&self, job: &mut Job, lease: &Lease, line: String) -> Result<bool, Error> {
        let done = job.steps.iter().filter(|step| step.state == StepState::Done).count();
        // A job has at most some dozens of steps.
        #[expect(clippy::cast_precision_loss, reason = "small numbers")]
        let share = done as f64 / job.steps.len().max(1) as f64;
        job.progress = share;
        job.logs.push_str(&line);
        let progress = Progress { progress: share, steps: job.steps.clone(), log: line };
        self.tenancy.store.progress(lease, progress).await
    }

    /// Commits what the job achieved; tries again as long as the lease holds. `None` when the process stops before it could.
    async fn end(&self, job: Job, outcome: Outcome, lost: &CancellationToken) -> Option<&'static str> {
        let how = if outcome == Outcome::Completed { "completed" } else { "failed" };
        let asked =
            Asked { actor: Actor::controller(&self.holder), correlation_id: job.correlation_id.clone(), key: None };
        let end = End { job, outcome };
        let mut wait = Duration::from_millis(50);
        loop {
            match self.tenancy.decide_and_commit(&end, &asked, None).await {
                Ok(_) => return Some(how),
                Err(Error::Conflict(Conflict::LeaseLost(_))) => return Some("lost"),
                Err(error) => tracing::warn!(
                    job_id = end.job.job_id.as_str(),
                    correlation_id = asked.correlation_id.as_str(),
                    code = error.code(),
                    %error,
                    "the outcome of a job could not be committed"
                ),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (2 * wait).min(MAX_WAIT),
                () = lost.cancelled() => return Some("lost"),
                () = self.stop.cancelled() => return None,
            }
        }
    }

    async fn put_aside(&self, lease: &Lease, what: &str, until: Timestamp) -> &'static str {
        match self.tenancy.store.put_aside(lease, what, until).await {
            Ok(true) => "waits",
            Ok(false) => "lost",
            Err(error) => {
                tracing::warn!(job_id = lease.0.as_str(), %error, "a job could not be put aside: it is taken up again");
                "lost"
            }
        }
    }

    async fn give_back(&self, lease: &Lease) -> &'static str {
        if let Err(error) = self.tenancy.store.release(std::slice::from_ref(lease)).await {
            tracing::warn!(job_id = lease.0.as_str(), %error, "a lease could not be given back: it ends by itself");
        }
        "given_back"
    }
}

/// The state table has no such transition any more.
fn not_in_this_state(job: &Job, dossier: &Dossier) -> Option<Failure> {
    let state = dossier.tenant.state;
    if TABLE.iter().any(|line| line.from == state && line.action == job.action) {
        return None;
    }
    let message = format!(
        "{} cannot be done in a tenant that is {state}: look at its audit log for what came between",
        job.action
    );
    Some(Failure { code: "not_in_this_state", message, step: None })
}
