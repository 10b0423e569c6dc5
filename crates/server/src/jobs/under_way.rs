//! A job under way in this process, and how the work on it ended here.

use super::engine::Runner;
use std::sync::Arc;
use tenancy_core::action::Action;
use tenancy_core::ids::{CorrelationId, TenantId};
use tenancy_core::job::{FailureCode, Job, JobState};
use tenancy_store::upkeep::Lease;

/// How the work on a job ended here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// Well.
    Completed,
    /// With this code.
    Failed(String),
    /// Another has it now, or takes it up when the lease is over.
    Lost,
    /// It waits for something, and is queued until then.
    Waits,
    /// The process stops, and others go on with it.
    GivenBack,
}

impl Ended {
    /// How a job ended; `None` while it is open.
    pub fn of(job: &Job) -> Option<Self> {
        match job.state {
            JobState::Completed => Some(Self::Completed),
            JobState::Failed => Some(Self::Failed(job.error_code.clone().unwrap_or_default())),
            JobState::Queued | JobState::Running => None,
        }
    }

    /// As the figures say it.
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

/// A job under way. However the work on it ends, also when it panics, this gives up its lease, counts it and says so.
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
    /// Begins the work on a job that was claimed.
    pub fn begin(runner: &Arc<Runner>, job: &Job) -> Self {
        tracing::debug!(
            job_id = job.job_id.as_str(),
            tenant_id = job.tenant_id.as_str(),
            action = job.action.as_str(),
            attempt = job.attempt,
            correlation_id = job.correlation_id.as_str(),
            "a job is begun"
        );
        runner.metrics.jobs_running.inc();
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

    /// Ends it. A lost one is looked at once more: it may have been this process that ended it, in a commit whose answer was lost, or
    /// somebody who cancelled it.
    pub async fn end(mut self, ended: Ended) {
        self.ended = ended;
        if self.ended != Ended::Lost {
            return;
        }
        // While the lease is of this epoch no other process can have ended it.
        if let Ok(Some(job)) = self.runner.tenancy.store.job(&self.tenant_id, &self.lease.0).await
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
            Ended::Completed => line!(info, "a job is completed"),
            Ended::Failed(_) => line!(warn, "a job failed"),
            Ended::Lost => line!(warn, "a job is lost: whoever finds its lease over goes on with it"),
            Ended::Waits => line!(debug, "a job waits"),
            Ended::GivenBack => line!(info, "a job is given back"),
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.runner.leases.drop(&self.lease);
        self.runner.metrics.jobs_running.dec();
        self.runner.metrics.job_ended(self.action.as_str(), self.ended.word());
        self.say();
    }
}
