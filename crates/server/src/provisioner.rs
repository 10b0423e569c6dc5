//! The seam to what creates real things for a tenant: databases, schemas, buckets, clusters.

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

/// One step of a job, to be brought about.
#[derive(Debug, Clone, Copy)]
pub struct Work<'a> {
    /// The job.
    pub job_id: &'a JobId,
    /// What it does.
    pub action: Action,
    /// The step: `provision dev`.
    pub step: &'a Step,
    /// How often the job was begun: more than once, the step may be half done.
    pub attempt: i64,
    /// The tenant as it was when the step was begun.
    pub snapshot: &'a TenantSnapshot,
}

impl Work<'_> {
    /// On whom.
    pub fn tenant_id(&self) -> &TenantId {
        &self.snapshot.tenant.tenant_id
    }

    /// The environment that the step is about, if it is about one.
    pub fn environment(&self) -> Option<&Environment> {
        self.step.environment(&self.snapshot.environments)
    }
}

/// How a step stands after it was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StepEnd {
    /// It is brought about.
    Done {
        /// A line for the job's log.
        line: String,
        /// What the record keeps of it, committed together with the end of the step.
        achieved: Achieved,
    },
    /// Something that is not the provisioner's has to happen first. The job is queued with it and asks for the step again
    /// then; one that still waits `jobs.give_up_hours` after it was asked for is given up.
    Waits {
        /// For what, for people: `a certificate of db.example`.
        what: String,
        /// When to ask again.
        until: Timestamp,
    },
}

impl StepEnd {
    /// The step is brought about, and achieved what one with its verb does.
    pub fn done(step: &Step, line: impl Into<String>) -> Self {
        Self::Done { line: line.into(), achieved: Achieved::of(step.verb) }
    }
}

/// Why a step cannot be brought about.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct StepFailed {
    /// Stable.
    pub code: FailureCode,
    /// For people, with what to do.
    pub message: String,
}

/// What a step comes to, or why it cannot be brought about.
pub type StepFuture<'a> = Pin<Box<dyn Future<Output = Result<StepEnd, StepFailed>> + Send + 'a>>;

/// Brings steps about. A step may be asked for again after it was done, when the process that asked was lost before it
/// could write that down: it must then come to the same.
pub trait Provisioner: Send + Sync + 'static {
    /// Brings a step about.
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a>;
}

/// The provisioners that there are: `jobs.provisioner` in the configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProvisionerKind {
    /// [`Recorder`].
    #[default]
    Record,
}

impl ProvisionerKind {
    /// The provisioner of this kind.
    pub fn provisioner(self) -> Arc<dyn Provisioner> {
        match self {
            Self::Record => Arc::new(Recorder),
        }
    }
}

/// Writes down what a provisioner would do, and does nothing.
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
