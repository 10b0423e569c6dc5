//! A job in progress in this process, and how its work ended here.

use super::engine::Runner;
use std::sync::Arc;
use tenancy_core::action::Action;
use tenancy_core::ids::{CorrelationId, TenantId};
use tenancy_core::job::{FailureCode, Job, JobState};
use tenancy_store::upkeep::Lease;

/// How work on a job ended in this process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// The job completed.
    Completed,
    /// The job failed with this code.
    Failed(String),
    /// The lease was lost. Another process has the job, or takes it over when the lease ends.
    Lost,
    /// The job waits for something and is queued.
    Waits,
    /// The process is stopping, and another process continues.
    GivenBack,
}

impl Ended {
    /// Returns how a job ended; `None` while it is open.
    pub fn of(job: &Job) -> Option<Self> {
        match job.state {
            JobState::Completed => Some(Self::Completed),
            JobState::Failed => Some(Self::Failed(job.error_code.clone().unwrap_or_default())),
            JobState::Queued | JobState::Running => None,
        }
    }

    /// Returns the value of the metrics label.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed(code) if code == FailureCode::Cancelled.as_str() => "cancelled",
            Self::Failed(_) => "failed",
            Self::Lost => "lost",
            Self::Waits => "waits",
            Self::GivenBack => "given_back",
        }
    }

    fn code(&self) -> &str {
        match self {
            Self::Failed(code) => code,
            other => other.word(),
        }
    }
}

/// A job in progress. However the work ends, even by a panic, dropping this releases the lease, counts the outcome and
/// logs it.
pub(super) struct UnderWay {
    runner: Arc<Runner>,
    lease: Lease,
    tenant_id: TenantId,
    action: Action,
    attempt: i64,
    correlation_id: CorrelationId,
    ended: Ended,
}

impl UnderWay {
    /// Starts work on a claimed job.
    pub fn begin(runner: &Arc<Runner>, job: &Job) -> Self {
        tracing::debug!(
            job_id = job.job_id.as_str(),
            tenant_id = job.tenant_id.as_str(),
            action = job.action.as_str(),
            attempt = job.attempt,
            correlation_id = job.correlation_id.as_str(),
            "job started"
        );
        runner.engine.metrics.jobs_running.inc();
        Self {
            runner: Arc::clone(runner),
            lease: (job.job_id.clone(), job.lease_epoch),
            tenant_id: job.tenant_id.clone(),
            action: job.action,
            attempt: job.attempt,
            correlation_id: job.correlation_id.clone(),
            ended: Ended::Lost,
        }
    }

    /// Ends the work. Reads a lost job once more: this process may have ended it in a commit whose answer was lost, or
    /// a caller may have cancelled it.
    pub async fn end(mut self, ended: Ended) {
        self.ended = ended;
        if self.ended != Ended::Lost {
            return;
        }
        // While the lease has this epoch, no other process can have ended the job.
        if let Ok(Some(job)) = self.runner.engine.tenancy.store.job(&self.tenant_id, &self.lease.0).await
            && job.lease_epoch == self.lease.1
        {
            self.ended = Ended::of(&job).unwrap_or(Ended::Lost);
        }
    }

    fn say(&self) {
        macro_rules! line {
            ($level:ident, $text:literal) => {
                tracing::$level!(
                    job_id = self.lease.0.as_str(),
                    tenant_id = self.tenant_id.as_str(),
                    action = self.action.as_str(),
                    code = self.ended.code(),
                    attempt = self.attempt,
                    correlation_id = self.correlation_id.as_str(),
                    $text
                )
            };
        }
        match self.ended {
            Ended::Completed => line!(info, "job completed"),
            Ended::Failed(_) => line!(warn, "job failed"),
            // Nothing is wrong: every write of a job is fenced by its lease.
            Ended::Lost => line!(info, "job handed over: another process has its lease and continues it"),
            Ended::Waits => line!(debug, "job waits"),
            Ended::GivenBack => line!(info, "job released"),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.runner.engine.leases.drop(&self.lease);
        self.runner.engine.metrics.jobs_running.dec();
        self.runner.engine.metrics.job_ended(self.action.as_str(), self.ended.word());
        self.say();
    }
}
