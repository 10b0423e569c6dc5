//! The work on the steps of one lifecycle job.

use super::engine::Runner;
use super::leases::Hold;
use super::under_way::Ended;
use crate::operations::Done;
use crate::operations::outcomes::{End, Outcome};
use crate::provisioner::{StepEnd, StepFailed, Work};
use crate::tenancy::RequestContext;
use futures_util::FutureExt;
use jiff::SignedDuration;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tenancy_core::actor::Actor;
use tenancy_core::changes::Conflict;
use tenancy_core::ids::CorrelationId;
use tenancy_core::job::{Job, StepState};
use tenancy_core::lifecycle::{TABLE, kept_from};
use tenancy_core::rules::outcome::{CANCELLED, Failure, is_in_the_way, kept};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::{Error, Timestamp};
use tenancy_store::upkeep::{Lease, Progress};

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
    /// It waits for something, and was put aside until then.
    Waits,
    /// The process stops: the job is given back.
    GivenBack,
}

/// What a step came to.
enum Came {
    Done,
    /// It is to be asked again.
    Waits {
        what: String,
        until: Timestamp,
    },
    /// With it the job ends badly.
    Failed(Failure),
}

impl Runner {
    /// Works a job that this process holds the lease of.
    pub(super) async fn work(&self, mut job: Job, hold: Hold) -> Ended {
        let (lease, correlation_id) = ((job.job_id.clone(), job.lease_epoch), job.correlation_id.clone());
        match self.steps(&mut job, &lease, &hold).await {
            Ok(Stopped::Ended(outcome)) => match self.end(job, outcome, &hold).await {
                Some(ended) => ended,
                None => self.give_back(&lease, &correlation_id).await,
            },
            Ok(Stopped::Waits) => Ended::Waits,
            Ok(Stopped::GivenBack) => self.give_back(&lease, &correlation_id).await,
            Ok(Stopped::Lost) => Ended::Lost,
            // Whoever finds the lease over takes it up again from its step.
            Err(error) => {
                let (job_id, correlation_id) = (lease.0.as_str(), correlation_id.as_str());
                tracing::warn!(job_id, correlation_id, %error, "the work on a job broke off");
                Ended::Lost
            }
        }
    }

    /// Works the steps that are not done yet.
    async fn steps(&self, job: &mut Job, lease: &Lease, hold: &Hold) -> Result<Stopped, Error> {
        let Some(snapshot) = self.tenancy.store.snapshot(&job.tenant_id).await? else { return Ok(Stopped::Lost) };
        if snapshot.open_job.as_ref().is_none_or(|open| open.job_id != job.job_id) {
            return Ok(Stopped::Lost);
        }
        if let Some(failure) = not_in_this_state(job, &snapshot) {
            return Ok(Stopped::Ended(Outcome::Failed(failure)));
        }
        if let Some(message) = kept_from(&self.tenancy.declared, &snapshot, job.action) {
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
            let result = match self.step(job, index, &snapshot, hold).await {
                Ok(result) => result,
                Err(stopped) => return Ok(stopped),
            };
            let (line, came) = self.came_to(job, index, result);
            if !self.write_down(job, lease, line).await? {
                return Ok(Stopped::Lost);
            }
            match came {
                Came::Done => {}
                Came::Waits { what, until } => return self.put_aside(job, lease, index, &what, until).await,
                Came::Failed(failure) => return Ok(Stopped::Ended(Outcome::Failed(failure))),
            }
        }
        Ok(Stopped::Ended(Outcome::Completed))
    }

    /// What a step came to, with a line for the job's log.
    fn came_to(&self, job: &mut Job, index: usize, result: Result<StepEnd, StepFailed>) -> (String, Came) {
        let (step, now) = (&mut job.steps[index], self.tenancy.store.now());
        let name = step.name.clone();
        // All that a provisioner says comes from outside.
        match result {
            Ok(StepEnd::Done(line)) => {
                step.state = StepState::Done;
                (format!("{now} {name}: {}\n", kept(&line)), Came::Done)
            }
            Ok(StepEnd::Waits { what, until }) => {
                let what = kept(&what);
                (format!("{now} {name} waits for {what}\n"), self.waits(job, name, what, until))
            }
            Err(StepFailed { code, message }) => {
                let message = kept(&message);
                let line = format!("{now} {name} failed: {message}\n");
                (line, Came::Failed(Failure { code, message, step: Some(name) }))
            }
        }
    }

    /// Puts the job aside, unless it is in the way of a hold that was placed while it ran: it must not begin to wait then.
    async fn put_aside(
        &self,
        job: &Job,
        lease: &Lease,
        index: usize,
        what: &str,
        until: Timestamp,
    ) -> Result<Stopped, Error> {
        let store = &self.tenancy.store;
        loop {
            let Some(snapshot) = store.snapshot(&job.tenant_id).await? else { return Ok(Stopped::Lost) };
            let is_ours = |open: &Job| (&open.job_id, open.lease_epoch) == (&lease.0, lease.1);
            if !snapshot.open_job.as_ref().is_some_and(is_ours) {
                return Ok(Stopped::Lost);
            }
            if is_in_the_way(&self.tenancy.declared, &snapshot) {
                return Ok(Stopped::Ended(Outcome::Failed(makes_way(&job.steps[index].name))));
            }
            if store.put_aside(lease, &snapshot.tenant, what, until).await? {
                return Ok(Stopped::Waits);
            }
            // The tenant has moved since: it is looked at again.
        }
    }

    /// A job may wait so long, and is then given up: nobody would look at it again.
    fn waits(&self, job: &Job, step: String, what: String, until: Timestamp) -> Came {
        let now = self.tenancy.store.now();
        let hours = self.jobs.give_up_hours;
        let give_up = job.created_at.checked_add(SignedDuration::from_hours(hours.into())).unwrap_or(Timestamp::MAX);
        if now >= give_up {
            let message =
                format!("given up: after {hours} h it still waits for {what}; when that is there, ask for it again");
            return Came::Failed(Failure { code: "given_up", message, step: Some(step) });
        }
        // Not at once either, however soon a provisioner wants to be asked again.
        let soonest = now.checked_add(Duration::from_millis(self.jobs.poll_milliseconds)).unwrap_or(give_up);
        Came::Waits { what, until: until.max(soonest).min(give_up) }
    }

    /// Has a step brought about; or how the job stops, whose step is dropped where it is.
    async fn step(
        &self,
        job: &Job,
        index: usize,
        snapshot: &TenantSnapshot,
        hold: &Hold,
    ) -> Result<Result<StepEnd, StepFailed>, Stopped> {
        let (job_id, action, attempt, step) = (&job.job_id, job.action, job.attempt, &job.steps[index].name);
        let work = Work { job_id, action, step, attempt, snapshot };
        // A panic is the provisioner's slip and this job's end: nobody would look at it again, and its lease would be kept.
        let asked = AssertUnwindSafe(async { self.provisioner.step(work).await }).catch_unwind();
        tokio::select! {
            result = asked => Ok(result.unwrap_or_else(|_| Err(panicked(step)))),
            () = hold.lost() => Err(Stopped::Lost),
            () = self.late.cancelled() => Err(Stopped::GivenBack),
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
    async fn end(&self, job: Job, outcome: Outcome, hold: &Hold) -> Option<Ended> {
        let asked = RequestContext {
            actor: Actor::controller(&self.holder),
            correlation_id: job.correlation_id.clone(),
            key: None,
        };
        let end = End { job, outcome };
        let mut wait = Duration::from_millis(50);
        loop {
            match self.tenancy.decide_and_commit(&end, &asked, None).await {
                Ok(Done::Now(job)) => return Some(Ended::of(&job).unwrap_or(Ended::Lost)),
                Ok(Done::Before(_)) | Err(Error::Conflict(Conflict::LeaseLost(_))) => return Some(Ended::Lost),
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
                () = hold.lost() => return Some(Ended::Lost),
                () = self.stop.cancelled() => return None,
            }
        }
    }

    async fn give_back(&self, lease: &Lease, correlation_id: &CorrelationId) -> Ended {
        if let Err(error) = self.tenancy.store.release(std::slice::from_ref(lease)).await {
            let (job_id, correlation_id) = (lease.0.as_str(), correlation_id.as_str());
            tracing::warn!(job_id, correlation_id, %error, "a lease could not be given back: it ends by itself");
        }
        Ended::GivenBack
    }
}

/// What a step came to that panicked. What the panic says may hold anything, and stays on standard error.
fn panicked(step: &str) -> StepFailed {
    let message = format!(
        "the provisioner panicked at {step}, which is a fault in it: standard error of the server says where; mend it, and \
         ask for the job again"
    );
    StepFailed { code: "panicked", message }
}

fn makes_way(step: &str) -> Failure {
    let message = format!("at {step} it would wait, and a hold that takes the tenant out of service does not let it");
    Failure { code: CANCELLED, message, step: None }
}

/// The state table has no such transition any more.
fn not_in_this_state(job: &Job, snapshot: &TenantSnapshot) -> Option<Failure> {
    let state = snapshot.tenant.facts.state;
    if TABLE.iter().any(|line| line.from == state && line.action == job.action) {
        return None;
    }
    let message = format!(
        "{} cannot be done in a tenant that is {state}: look at its audit log for what came between",
        job.action
    );
    Some(Failure { code: "not_in_this_state", message, step: None })
}
