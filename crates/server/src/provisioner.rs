//! Interface to the code that creates a tenant's real resources: databases, schemas, buckets, clusters.

use serde::{Deserialize, Serialize};
use std::pin::Pin;
use std::sync::Arc;
use tenancy_core::Timestamp;
use tenancy_core::action::Action;
use tenancy_core::environment::Environment;
use tenancy_core::ids::{JobId, TenantId};
use tenancy_core::job::{FailureCode, Step};
use tenancy_core::rules::step::Achieved;
use tenancy_core::snapshot::TenantSnapshot;

/// One step of a job for a provisioner.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// Job that the step belongs to.
    pub job_id: &'a JobId,
    /// Action of the job.
    pub action: Action,
    /// Step to do, such as `provision dev`.
    pub step: &'a Step,
    /// Number of times the job was started. If it is greater than 1, the step may be partly done.
    pub attempt: i64,
    /// Tenant as it was when the step started.
    pub snapshot: &'a TenantSnapshot,
}

impl Work<'_> {
    /// Returns the id of the tenant.
    pub fn tenant_id(&self) -> &TenantId {
        &self.snapshot.tenant.tenant_id
    }

    /// Returns the environment of the step, if the step concerns one.
    pub fn environment(&self) -> Option<&Environment> {
        self.step.environment(&self.snapshot.environments)
    }
}

/// State of a step after a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// The step is done.
    Done {
        /// Line for the job's log.
        line: String,
        /// Result to store, committed together with the end of the step.
        achieved: Achieved,
    },
    /// The step waits for something outside the provisioner. The job is queued, and the step is called again at
    /// `until`. A job that still waits `jobs.give_up_hours` after its request fails.
    Waits {
        /// Condition that the step waits for, for people: `a certificate of db.example`.
        what: String,
        /// Time of the next call.
        until: Timestamp,
    },
}

impl StepEnd {
    /// The step is done, with the usual result of its verb.
    pub fn done(step: &Step, line: impl Into<String>) -> Self {
        Self::Done { line: line.into(), achieved: Achieved::of(step.verb) }
    }
}

/// Why a step failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepFailed {
    /// Stable code.
    pub code: FailureCode,
    /// Message for people, which says what to do.
    pub message: String,
}

/// Result of a call: the state of the step, or why it failed.
pub type StepFuture<'a> = Pin<Box<dyn Future<Output = Result<StepEnd, StepFailed>> + Send + 'a>>;

/// Does the steps of jobs. A step must be idempotent: if the process fails before it can store the result, the step is
/// called again after it was done, and must have the same result.
pub trait Provisioner: Send + Sync + 'static {
    /// Does a step.
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a>;
}

/// Kinds of provisioners: `jobs.provisioner` in the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvisionerKind {
    /// [`Recorder`].
    #[default]
    Record,
}

impl ProvisionerKind {
    /// Returns the provisioner of this kind.
    pub fn provisioner(self) -> Arc<dyn Provisioner> {
        match self {
            Self::Record => Arc::new(Recorder),
        }
    }
}

/// Logs what a provisioner would do, and creates nothing.
#[derive(Debug, Default)]
pub struct Recorder;

impl Provisioner for Recorder {
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a> {
        let line = match work.environment() {
            Some(environment) => format!(
                "would {} of {} ({}, {}, {})",
                work.step,
                work.tenant_id(),
                work.snapshot.tenant.terms.profile,
                environment.region,
                environment.isolation_level
            ),
            None => format!("would {} of {}", work.step, work.tenant_id()),
        };
        Box::pin(std::future::ready(Ok(StepEnd::done(work.step, line))))
    }
}
