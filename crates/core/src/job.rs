//! Jobs: one lifecycle action on a tenant, worked in steps.

use crate::action::Action;
use crate::environment::Environment;
use crate::ids::{CorrelationId, JobId, TenantId};
use crate::words::words;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Largest log of a job, in bytes; what is older is cut off.
pub const MAX_LOG_BYTES: usize = 256 * 1024;

words!(
    /// The states of a job. Cancelled and given up are `failed` with that code; waiting is `queued` with a reason and a
    /// time.
    JobState {
        /// To be worked from `due_at` on.
        Queued = "queued",
        /// Worked by the holder of its lease.
        Running = "running",
        /// Ended well.
        Completed = "completed",
        /// Ended otherwise; `error_code` says how.
        Failed = "failed",
    }
);

/// How far a step is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Not begun.
    Pending,
    /// Ended well.
    Done,
    /// Ended otherwise.
    Failed,
}

/// One step of a job.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Unique within the job: `provision dev`.
    pub name: String,
    /// How far it is.
    pub state: StepState,
}

/// A row of `tenant_jobs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub job_id: JobId,
    /// On whom.
    pub tenant_id: TenantId,
    /// What it does.
    pub action: Action,
    /// How far it is.
    pub state: JobState,
    /// From 0 to 1.
    pub progress: f64,
    /// Lines for people.
    pub logs: String,
    /// Its steps, in order.
    pub steps: Vec<Step>,
    /// For what it waits, while it is queued.
    pub waiting_for: Option<String>,
    /// Queued: not before; running: until when its lease holds.
    pub due_at: Timestamp,
    /// How often it was begun.
    pub attempt: i64,
    /// Who works it.
    pub lease_holder: Option<String>,
    /// Up with each claim, and when a lease is given back: what a running job writes is fenced by it.
    pub lease_epoch: i64,
    /// How it failed.
    pub error_code: Option<String>,
    /// How it failed, for people, with what to do.
    pub error: Option<String>,
    /// In which request it was asked for.
    pub correlation_id: CorrelationId,
    /// Who asked for it.
    pub requested_by: String,
    /// When it was queued.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

impl Job {
    /// Whether it is queued or running.
    pub fn is_open(&self) -> bool {
        matches!(self.state, JobState::Queued | JobState::Running)
    }
}

/// The steps of `action` on a tenant: one for each of its environments that the action touches, in their order, then the
/// record.
pub fn steps<'a>(action: Action, environments: impl IntoIterator<Item = &'a Environment>) -> Vec<Step> {
    let touched = |name: &str, provisioned: bool| match action {
        Action::Create => Some(format!("provision {name}")),
        Action::Update => (!provisioned).then(|| format!("provision {name}")),
        Action::Activate => Some(format!("open {name}")),
        Action::Suspend => Some(format!("close {name}")),
        Action::Delete => Some(format!("detach {name}")),
        Action::Undelete => Some(format!("attach {name}")),
        Action::Purge => Some(format!("destroy {name}")),
    };
    let environments = environments.into_iter().filter_map(|e| touched(&e.name, e.provisioned_at.is_some()));
    let names = environments.chain(std::iter::once("record".to_owned()));
    names.map(|name| Step { name, state: StepState::Pending }).collect()
}
