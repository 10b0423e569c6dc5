//! Runs the steps of one lifecycle job.

use super::engine::Runner;
use super::under_way::Ended;
use crate::authentication::Caller;
use crate::engine::LeaseWatch;
use crate::operations::outcomes::{Announced, End, Outcome, StepDone, Written};
use crate::operations::{Command, Done};
use crate::provisioner::{StepEnd, StepFailed, Work};
use crate::tenancy::RequestContext;
use futures_util::FutureExt;
use jiff::SignedDuration;
use std::panic::AssertUnwindSafe;
use std::time::Duration;
use tenancy_core::changes::Conflict;
use tenancy_core::ids::CorrelationId;
use tenancy_core::job::{Failure, FailureCode, Job, Step, StepState, Verb, append};
use tenancy_core::placement::Fence;
use tenancy_core::rules::outcome::{is_in_the_way, kept};
use tenancy_core::rules::step::{Achieved, ready};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::{Error, Timestamp};
use tenancy_store::upkeep::{Lease, Progress};

/// Maximum pause between two attempts to commit an outcome.
const MAX_WAIT: Duration = Duration::from_secs(2);

/// Number of times that a step chooses again at once because another job was faster.
const MAX_OVERTAKEN: u32 = 20;
/// How long it then waits.
const SHORT_WAIT: SignedDuration = SignedDuration::from_secs(1);

/// Why work on a job stopped before all its steps were done.
enum Stopped {
    /// The job fails.
    Failed(Failure),
    /// The lease was lost. Nothing more is written.
    Lost,
    /// The place that was chosen was taken meanwhile, or its placement deleted.
    Overtaken,
    /// The job waits for something and was requeued.
    Waits,
    /// A step waits for something, and the job is to be requeued when the other steps were tried.
    MustWait {
        /// Index of the step.
        index: usize,
        /// What it waits for.
        what: String,
        /// Time of the next call.
        until: Timestamp,
    },
    /// The process is stopping; the lease is released.
    GivenBack,
    /// The database failed. Another process continues with the current step when the lease ends.
    BrokeOff(Error),
}

impl From<Error> for Stopped {
    fn from(error: Error) -> Self {
        Self::BrokeOff(error)
    }
}

/// Result of a step.
enum Came {
    Done(Achieved),
    /// The step waits and will be called again.
    Waits {
        what: String,
        until: Timestamp,
    },
    /// The step failed, and the job fails with it.
    Failed(Failure),
}

impl Runner {
    /// Runs a job whose lease this process holds.
    pub(super) async fn carry_out(&self, mut job: Job, hold: LeaseWatch) -> Ended {
        let (lease, correlation_id) = ((job.job_id.clone(), job.lease_epoch), job.correlation_id.clone());
        let outcome = match self.steps(&mut job, &lease, &hold).await {
            Ok(()) => Ok(Outcome::Completed),
            Err(Stopped::Failed(failure)) => Ok(Outcome::Failed(failure)),
            Err(stopped) => Err(stopped),
        };
        let ended = match outcome {
            Ok(outcome) => self.end(job, outcome, &hold).await,
            Err(stopped) => Err(stopped),
        };
        match ended {
            Ok(ended) => ended,
            Err(Stopped::Waits) => Ended::Waits,
            Err(Stopped::GivenBack) => self.give_back(&lease, &correlation_id).await,
            Err(Stopped::Lost | Stopped::Overtaken | Stopped::Failed(_) | Stopped::MustWait { .. }) => Ended::Lost,
            Err(Stopped::BrokeOff(error)) => {
                let (job_id, correlation_id) = (lease.0.as_str(), correlation_id.as_str());
                tracing::warn!(job_id, correlation_id, %error, "stopped a job on an error; it is retried later");
                Ended::Lost
            }
        }
    }

    /// Does the steps that are not done yet, each with the current state of the tenant. What takes a tenant out of service goes
    /// on with the other environments when one fails or waits.
    async fn steps(&self, job: &mut Job, lease: &Lease, hold: &LeaseWatch) -> Result<(), Stopped> {
        let (mut newest, mut first_stop) = (None, None);
        for index in 0..job.steps.len() {
            let Step { verb, state, .. } = job.steps[index];
            if state == StepState::Done || verb == Verb::Record {
                continue;
            }
            if self.engine.stop.is_cancelled() {
                return Err(Stopped::GivenBack);
            }
            match self.one_step(job, lease, index, &mut newest, hold).await {
                Ok(()) => {}
                Err(stop @ (Stopped::Failed(_) | Stopped::MustWait { .. }))
                    if matches!(verb, Verb::Close | Verb::Detach) =>
                {
                    first_stop.get_or_insert(stop);
                }
                Err(stop) => {
                    first_stop = Some(stop);
                    break;
                }
            }
        }
        match first_stop {
            None => Ok(()),
            Some(Stopped::MustWait { index, what, until }) => {
                Err(self.put_aside(job, lease, index, &what, until).await?)
            }
            Some(stop) => Err(stop),
        }
    }

    /// Does one step and writes its end. `newest` is the tenant, if it is known, before and after the step.
    async fn one_step(
        &self,
        job: &mut Job,
        lease: &Lease,
        index: usize,
        newest: &mut Option<TenantSnapshot>,
        hold: &LeaseWatch,
    ) -> Result<(), Stopped> {
        let (mut was_late, mut overtaken) = (false, 0);
        let result = loop {
            let snapshot = self.newest(job, newest.take()).await?;
            match self.step(job, index, &snapshot, hold).await? {
                Ok(StepEnd::Announces(env_id, intent)) if !snapshot.is_announced(&env_id, &intent) => {
                    match self.committed(&Announced { job: job.clone(), env_id, intent }, job, hold).await {
                        Ok(snapshot) => *newest = Some(snapshot),
                        // The step is called again, and chooses again.
                        Err(Stopped::Overtaken) if overtaken < MAX_OVERTAKEN => overtaken += 1,
                        Err(Stopped::Overtaken) => break Ok(self.others_were_faster()),
                        Err(stopped) => return Err(stopped),
                    }
                }
                // The epoch may be from before a restore: it is read again. If the lease was lost, `newest` finds that out.
                Ok(StepEnd::Late) if !was_late => {
                    *self.log_epoch.lock().await = None;
                    was_late = true;
                }
                Ok(StepEnd::Late) => break Err(older_than_its_place()),
                result => break result,
            }
        };
        let (line, came) = self.came_to(job, index, result);
        append(&mut job.logs, &line);
        job.progress = share_done(job);
        if let Came::Done(achieved) = &came
            && let Written::With(snapshot) = self.step_done(job, index, achieved.clone(), hold).await?
        {
            *newest = Some(*snapshot);
            return Ok(());
        }
        self.write_down(job, lease, line).await?;
        match came {
            Came::Done(_) => Ok(()),
            Came::Waits { what, until } => Err(Stopped::MustWait { index, what, until }),
            Came::Failed(failure) => Err(Stopped::Failed(failure)),
        }
    }

    /// The job lets others go first.
    fn others_were_faster(&self) -> StepEnd {
        let what = "other jobs that take the same placement".to_owned();
        let until = self.engine.tenancy.store.now().checked_add(SHORT_WAIT).unwrap_or(Timestamp::MAX);
        StepEnd::Waits { what, until }
    }

    /// Returns the tenant as it is now, if the job may continue on it.
    async fn newest(&self, job: &Job, known: Option<TenantSnapshot>) -> Result<TenantSnapshot, Stopped> {
        let snapshot = match known {
            Some(snapshot) => snapshot,
            None => self.engine.tenancy.store.snapshot(&job.tenant_id).await?.ok_or(Stopped::Lost)?,
        };
        // The lease, too: the fence of a step is read in a snapshot in which this process has the job.
        let is_ours = |open: &Job| (&open.job_id, open.lease_epoch) == (&job.job_id, job.lease_epoch);
        if !snapshot.open_job.as_ref().is_some_and(is_ours) {
            return Err(Stopped::Lost);
        }
        match ready(&self.engine.tenancy.declared, &snapshot, job) {
            Ok(_) => Ok(snapshot),
            Err(failure) => Err(Stopped::Failed(failure)),
        }
    }

    /// Returns the result of a step, and a line for the job's log.
    fn came_to(&self, job: &mut Job, index: usize, result: Result<StepEnd, StepFailed>) -> (String, Came) {
        let (step, now) = (&mut job.steps[index], self.engine.tenancy.store.now());
        let name = step.to_string();
        // A provisioner's texts come from outside the product, so they are cleaned and shortened.
        match result {
            Ok(StepEnd::Done { line, achieved }) => {
                step.state = StepState::Done;
                (format!("{now} {name}: {}\n", kept(&line)), Came::Done(achieved))
            }
            Ok(StepEnd::Waits { what, until }) => {
                let what = kept(&what);
                (format!("{now} {name} waits for {what}\n"), self.waits(job, index, what, until))
            }
            Ok(StepEnd::Announces(..) | StepEnd::Late) => {
                let message = format!("the provisioner announced the same twice at {name}: correct the provisioner");
                let line = format!("{now} {name} failed: {message}\n");
                (line, Came::Failed(Failure { code: FailureCode::ProvisionerFailed, message, step: Some(index) }))
            }
            Err(StepFailed { code, message }) => {
                let message = kept(&message);
                let line = format!("{now} {name} failed: {message}\n");
                (line, Came::Failed(Failure { code, message, step: Some(index) }))
            }
        }
    }

    /// Requeues the job, unless a hold was placed while it ran that the job would delay: such a job must not start to
    /// wait.
    async fn put_aside(
        &self,
        job: &Job,
        lease: &Lease,
        index: usize,
        what: &str,
        until: Timestamp,
    ) -> Result<Stopped, Error> {
        let store = &self.engine.tenancy.store;
        loop {
            let Some(snapshot) = store.snapshot(&job.tenant_id).await? else { return Ok(Stopped::Lost) };
            let is_ours = |open: &Job| (&open.job_id, open.lease_epoch) == (&lease.0, lease.1);
            if !snapshot.open_job.as_ref().is_some_and(is_ours) {
                return Ok(Stopped::Lost);
            }
            if is_in_the_way(&self.engine.tenancy.declared, &snapshot) {
                return Ok(Stopped::Failed(makes_way(&job.steps[index])));
            }
            if store.put_aside(lease, &snapshot.tenant, what, until).await? {
                return Ok(Stopped::Waits);
            }
            // The tenant has changed: read it again.
        }
    }

    /// Lets a job wait up to the time limit, after which it fails. Without a limit it could wait forever unnoticed.
    fn waits(&self, job: &Job, index: usize, what: String, until: Timestamp) -> Came {
        let now = self.engine.tenancy.store.now();
        let hours = self.jobs.give_up_hours;
        let give_up = job.created_at.checked_add(SignedDuration::from_hours(hours.into())).unwrap_or(Timestamp::MAX);
        if now >= give_up {
            let message = format!(
                "still waits for {what} after {hours} hours; request the action again when the condition holds"
            );
            return Came::Failed(Failure { code: FailureCode::GivenUp, message, step: Some(index) });
        }
        // Never call the step again at once, whatever time the provisioner returns.
        let soonest = now.checked_add(Duration::from_millis(self.jobs.poll_milliseconds)).unwrap_or(give_up);
        Came::Waits { what, until: until.max(soonest).min(give_up) }
    }

    /// Does a step, or returns why the job stops, in which case the step is aborted.
    async fn step(
        &self,
        job: &Job,
        index: usize,
        snapshot: &TenantSnapshot,
        hold: &LeaseWatch,
    ) -> Result<Result<StepEnd, StepFailed>, Stopped> {
        let (job_id, action, attempt, step) = (&job.job_id, job.action, job.attempt, &job.steps[index]);
        let fence = self.fence(job, snapshot).await?;
        let store = &self.engine.tenancy.store;
        let work = Work { job_id, action, step, attempt, snapshot, fence, now: store.now(), store };
        // A panic is a defect of the provisioner, and fails the job. Otherwise the lease would be extended forever.
        let asked = AssertUnwindSafe(async { self.provisioner.step(work).await }).catch_unwind();
        tokio::select! {
            result = asked => Ok(result.unwrap_or_else(|_| Err(panicked(step)))),
            () = hold.lost() => Err(Stopped::Lost),
            () = self.engine.late.cancelled() => Err(Stopped::GivenBack),
        }
    }

    async fn fence(&self, job: &Job, snapshot: &TenantSnapshot) -> Result<Fence, Error> {
        let mut known = self.log_epoch.lock().await;
        let log_epoch = match *known {
            Some(epoch) => epoch,
            None => *known.insert(self.engine.tenancy.store.log_end().await?.epoch()),
        };
        Ok(Fence { log_epoch, counter: snapshot.tenant.facts.counter, lease_epoch: job.lease_epoch })
    }

    /// Stores the job's progress, if the step has no other result to store.
    async fn write_down(&self, job: &Job, lease: &Lease, line: String) -> Result<(), Stopped> {
        let progress = Progress { progress: job.progress, steps: job.steps.clone(), log: line };
        if self.engine.tenancy.store.progress(lease, progress).await? { Ok(()) } else { Err(Stopped::Lost) }
    }

    /// Commits the result of a step together with its end.
    async fn step_done(
        &self,
        job: &Job,
        index: usize,
        achieved: Achieved,
        hold: &LeaseWatch,
    ) -> Result<Written, Stopped> {
        if achieved == Achieved::Nothing {
            return Ok(Written::AsProgress);
        }
        self.committed(&StepDone { job: job.clone(), index, achieved }, job, hold).await
    }

    /// Commits the outcome of the job.
    async fn end(&self, job: Job, outcome: Outcome, hold: &LeaseWatch) -> Result<Ended, Stopped> {
        let end = End { job, outcome };
        let job = self.committed(&end, &end.job, hold).await?;
        Ok(Ended::of(&job).unwrap_or(Ended::Lost))
    }

    /// Commits a command of this job. Retries as long as the lease holds, until the process stops.
    async fn committed<C: Command>(&self, command: &C, job: &Job, hold: &LeaseWatch) -> Result<C::Outcome, Stopped> {
        let asked = RequestContext {
            caller: Caller::controller(&self.engine.holder),
            correlation_id: job.correlation_id.clone(),
        };
        let mut wait = Duration::from_millis(50);
        loop {
            match self.engine.tenancy.decide_and_commit(command, &asked, None).await {
                Ok(Done::Now(outcome)) => return Ok(outcome),
                Ok(Done::Before(_)) | Err(Error::Conflict(Conflict::LeaseLost(_))) => return Err(Stopped::Lost),
                Err(Error::Conflict(Conflict::SlotTaken(_) | Conflict::PlacementMissing(_))) => {
                    return Err(Stopped::Overtaken);
                }
                Err(error) => tracing::warn!(
                    job_id = job.job_id.as_str(),
                    correlation_id = asked.correlation_id.as_str(),
                    code = error.code(),
                    %error,
                    "could not commit the result of a job; retrying while its lease holds"
                ),
            }
            tokio::select! {
                () = tokio::time::sleep(wait) => wait = (2 * wait).min(MAX_WAIT),
                () = hold.lost() => return Err(Stopped::Lost),
                () = self.engine.stop.cancelled() => return Err(Stopped::GivenBack),
            }
        }
    }

    async fn give_back(&self, lease: &Lease, correlation_id: &CorrelationId) -> Ended {
        if let Err(error) = self.engine.tenancy.store.release(std::slice::from_ref(lease)).await {
            let (job_id, correlation_id) = (lease.0.as_str(), correlation_id.as_str());
            tracing::warn!(job_id, correlation_id, %error, "could not release a lease; it ends by itself");
        }
        Ended::GivenBack
    }
}

/// Returns the share of the job's steps that are done.
fn share_done(job: &Job) -> f64 {
    let done = job.steps.iter().filter(|step| step.state == StepState::Done).count();
    // A job has at most a few dozen steps.
    #[expect(clippy::cast_precision_loss, reason = "small numbers")]
    let share = done as f64 / job.steps.len().max(1) as f64;
    share
}

/// Returns the failure of a step that panicked. The panic's message can contain anything, so it appears only on
/// standard error.
fn panicked(step: &Step) -> StepFailed {
    let message = format!(
        "the provisioner panicked at {step}; see standard error of the server, correct the provisioner, and request \
         the action again"
    );
    StepFailed { code: FailureCode::Panicked, message }
}

/// Returns the failure of a step whose place has seen a later job than the record has.
fn older_than_its_place() -> StepFailed {
    let message = "the place has seen later jobs than this record: if the database was restored from a backup, run \
                   tenancy db after-restore"
        .to_owned();
    StepFailed { code: FailureCode::ProvisionerFailed, message }
}

fn makes_way(step: &Step) -> Failure {
    let message = format!(
        "{step} would wait, but a hold suspends the tenant; request the action again after the release of the hold"
    );
    Failure { code: FailureCode::Cancelled, message, step: None }
}
