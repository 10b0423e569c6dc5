//! Jobs: each runs one lifecycle action on a tenant, in steps.

use crate::action::Action;
use crate::environment::Environment;
use crate::ids::{CorrelationId, EnvironmentId, JobId, TenantId};
use crate::words::words;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Maximum size of the log of a job, in bytes. Older lines are cut.
pub const MAX_LOG_BYTES: usize = 256 * 1024;

words!(
    /// State of a job. A job that was cancelled or given up is `failed` with that code; a waiting job is `queued` with
    /// a condition and a time.
    JobState {
        /// Waits to run, at `due_at` or later.
        Queued = "queued",
        /// Run by the holder of its lease.
        Running = "running",
        /// Succeeded.
        Completed = "completed",
        /// Failed; `error_code` has the reason.
        Failed = "failed",
    }
);

words!(
    /// Effect of a step on its target.
    Verb {
        /// Creates an environment.
        Provision = "provision",
        /// Gives the place of an environment its current quotas, retention and policies.
        Update = "update",
        /// Puts an environment in service.
        Open = "open",
        /// Takes an environment out of service.
        Close = "close",
        /// Archives an environment.
        Detach = "detach",
        /// Takes an environment out of the archive.
        Attach = "attach",
        /// Destroys the data of an environment.
        Destroy = "destroy",
        /// Commits the outcome of the job. It is always the last step and does not involve a provisioner.
        Record = "record",
    }
);

words!(
    /// The codes of failed jobs. `tenant_jobs.error_code` is text: a later release may add codes.
    FailureCode {
        /// The provisioner reported an error in a step.
        ProvisionerFailed = "provisioner_failed",
        /// The provisioner panicked.
        Panicked = "panicked",
        /// The state of the tenant does not permit the action any more.
        NotInThisState = "not_in_this_state",
        /// A hold keeps the data that the job would destroy.
        DataHeld = "data_held",
        /// The job waited longer than the limit.
        GivenUp = "given_up",
        /// A caller cancelled the job, or a hold did not let it wait.
        Cancelled = "cancelled",
    }
);

words!(
    /// State of a step.
    StepState {
        /// Not started.
        Pending = "pending",
        /// Succeeded.
        Done = "done",
        /// Failed.
        Failed = "failed",
    }
);

/// Target of a step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The environment with this name.
    Environment(String),
    /// The place of an environment that was removed from the manifest.
    Removed(EnvironmentId),
    /// The tenant itself.
    Tenant,
}

/// Step of a job. Its name, such as `provision dev`, is unique within the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Effect of the step.
    pub verb: Verb,
    /// Target of the step.
    pub target: Target,
    /// State of the step.
    pub state: StepState,
}

impl Step {
    /// Creates a step that is not started.
    pub fn new(verb: Verb, target: Target) -> Self {
        Self { verb, target, state: StepState::Pending }
    }

    /// Returns the environment that the step works on, if it is in the list.
    pub fn environment<'a>(&self, environments: &'a [Environment]) -> Option<&'a Environment> {
        environments.iter().find(|environment| self.is_about(environment))
    }

    /// Whether the step works on this environment.
    pub fn is_about(&self, environment: &Environment) -> bool {
        matches!(&self.target, Target::Environment(name) if *name == environment.name)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.target {
            Target::Environment(name) => write!(f, "{} {name}", self.verb),
            Target::Removed(env_id) => write!(f, "{} {env_id}", self.verb),
            Target::Tenant => write!(f, "{}", self.verb),
        }
    }
}

/// A step as `tenant_jobs.steps` stores it. The previous release knows only `name` and `state`, and both releases run
/// side by side during an update. So `name` is also written, and it is read if `verb` is missing.
#[derive(Serialize, Deserialize)]
struct StoredStep {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verb: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    removed: Option<EnvironmentId>,
    #[serde(default)]
    name: String,
    state: String,
}

impl Serialize for Step {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (environment, removed) = match &self.target {
            Target::Environment(name) => (Some(name.clone()), None),
            Target::Removed(env_id) => (None, Some(env_id.clone())),
            Target::Tenant => (None, None),
        };
        let (verb, state) = (Some(self.verb.to_string()), self.state.to_string());
        StoredStep { verb, environment, removed, name: self.to_string(), state }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredStep::deserialize(deserializer)?;
        let unknown = |what: &str, word: &str| serde::de::Error::custom(format!("unknown {what} of a step: {word:?}"));
        let (verb, environment) = match stored.verb {
            Some(verb) => (verb, stored.environment),
            None => match stored.name.split_once(' ') {
                Some((verb, name)) => (verb.to_owned(), Some(name.to_owned())),
                None => (stored.name, None),
            },
        };
        Ok(Self {
            verb: Verb::parse(&verb).ok_or_else(|| unknown("verb", &verb))?,
            target: match (environment, stored.removed) {
                (Some(name), _) => Target::Environment(name),
                (None, Some(env_id)) => Target::Removed(env_id),
                (None, None) => Target::Tenant,
            },
            state: StepState::parse(&stored.state).ok_or_else(|| unknown("state", &stored.state))?,
        })
    }
}

/// A row of `tenant_jobs`.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Id of the job.
    pub job_id: JobId,
    /// Tenant that the job works on.
    pub tenant_id: TenantId,
    /// Action of the job.
    pub action: Action,
    /// State of the job.
    pub state: JobState,
    /// Progress, from 0 to 1.
    pub progress: f64,
    /// Log, for people.
    pub logs: String,
    /// Steps, in order.
    pub steps: Vec<Step>,
    /// Condition that a queued job waits for.
    pub waiting_for: Option<String>,
    /// If the job is queued: earliest time at which it runs. If it is running: time at which its lease expires.
    pub due_at: Timestamp,
    /// Number of times that the job was started.
    pub attempt: i64,
    /// Process that has the lease.
    pub lease_holder: Option<String>,
    /// Epoch of the lease, which fences the writes of a running job. It increases with each claim and release.
    pub lease_epoch: i64,
    /// Code of the failure.
    pub error_code: Option<String>,
    /// Reason of the failure and what to do, for people.
    pub error: Option<String>,
    /// Correlation id of the request that queued the job.
    pub correlation_id: CorrelationId,
    /// Actor that requested the job.
    pub requested_by: String,
    /// Time at which the job was queued.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// Time at which the job ended.
    pub finished_at: Option<Timestamp>,
}

/// Failure of a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable code.
    pub code: FailureCode,
    /// Reason and what to do, for people.
    pub message: String,
    /// Index of the step that failed.
    pub step: Option<usize>,
}

/// Appends lines to the log of a job. If the log then exceeds [`MAX_LOG_BYTES`], only its last characters are kept, a
/// quarter of that number.
pub fn append(logs: &mut String, lines: &str) {
    logs.push_str(lines);
    if logs.len() > MAX_LOG_BYTES
        && let Some((start, _)) = logs.char_indices().nth_back(MAX_LOG_BYTES / 4 - 1)
    {
        logs.drain(..start);
    }
}

impl Job {
    /// Whether the job is queued or running.
    pub fn is_open(&self) -> bool {
        matches!(self.state, JobState::Queued | JobState::Running)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(verb: Verb, target: Target, state: StepState) -> Step {
        Step { verb, target, state }
    }

    #[test]
    fn must_read_steps_of_this_release_and_of_the_one_before_and_write_them_for_both() {
        let dev = || Target::Environment("dev".to_owned());
        let steps =
            vec![step(Verb::Provision, dev(), StepState::Done), step(Verb::Record, Target::Tenant, StepState::Failed)];
        let before = r#"[{"name":"provision dev","state":"done"},{"name":"record","state":"failed"}]"#;
        let now = r#"[{"verb":"provision","environment":"dev","name":"provision dev","state":"done"},{"verb":"record","name":"record","state":"failed"}]"#;
        assert_eq!(serde_json::from_str::<Vec<Step>>(before).unwrap(), steps);
        assert_eq!(serde_json::from_str::<Vec<Step>>(now).unwrap(), steps);
        assert_eq!(serde_json::to_string(&steps).unwrap(), now);
        for odd in [r#"{"name":"paint dev","state":"done"}"#, r#"{"verb":"open","environment":"dev","state":"half"}"#] {
            assert!(serde_json::from_str::<Step>(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn must_cut_a_log_at_its_front_when_it_is_too_long() {
        let mut logs = "ü".repeat(MAX_LOG_BYTES / 2 - 1);
        append(&mut logs, "\n\n");
        assert_eq!(logs.len(), MAX_LOG_BYTES);
        append(&mut logs, "!");
        assert_eq!((logs.chars().count(), logs.ends_with("ü\n\n!")), (MAX_LOG_BYTES / 4, true));
    }
}
