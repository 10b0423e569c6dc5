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

words!(
    /// What a step does to its target.
    Verb {
        /// Creates an environment.
        Provision = "provision",
        /// Puts an environment in service.
        Open = "open",
        /// Takes an environment out of service.
        Close = "close",
        /// Archives an environment.
        Detach = "detach",
        /// Takes an environment out of the archive.
        Attach = "attach",
        /// Destroys an environment's data.
        Destroy = "destroy",
        /// Commits the outcome of the job. It is always the last step, and no provisioner is asked for it.
        Record = "record",
    }
);

words!(
    /// The codes of failed jobs. `tenant_jobs.error_code` is text: a later release may add codes.
    FailureCode {
        /// The provisioner could not do a step.
        ProvisionerFailed = "provisioner_failed",
        /// The provisioner panicked.
        Panicked = "panicked",
        /// The state table has no such transition any more.
        NotInThisState = "not_in_this_state",
        /// A hold keeps the data that the job would destroy.
        DataHeld = "data_held",
        /// The job waited longer than a job may.
        GivenUp = "given_up",
        /// Somebody cancelled the job, or a hold did not let it wait.
        Cancelled = "cancelled",
    }
);

words!(
    /// How far a step is.
    StepState {
        /// Not begun.
        Pending = "pending",
        /// Ended well.
        Done = "done",
        /// Ended otherwise.
        Failed = "failed",
    }
);

/// What a step is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// The environment of that name.
    Environment(String),
    /// The tenant itself.
    Tenant,
}

/// One step of a job. Its name, `provision dev`, is unique within the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub verb: Verb,
    /// To what.
    pub target: Target,
    /// How far it is.
    pub state: StepState,
}

impl Step {
    /// A step that is not begun.
    pub fn new(verb: Verb, target: Target) -> Self {
        Self { verb, target, state: StepState::Pending }
    }

    /// The environment that the step is about, if it is about one of these.
    pub fn environment<'a>(&self, environments: &'a [Environment]) -> Option<&'a Environment> {
        environments.iter().find(|environment| self.is_about(environment))
    }

    /// Whether the step is about this environment.
    pub fn is_about(&self, environment: &Environment) -> bool {
        matches!(&self.target, Target::Environment(name) if *name == environment.name)
    }
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.target {
            Target::Environment(name) => write!(f, "{} {name}", self.verb),
            Target::Tenant => write!(f, "{}", self.verb),
        }
    }
}

/// A step as `tenant_jobs.steps` has it. The release before this one wrote and reads `name` and `state` alone; both run
/// side by side during an update. So `name` is written, too, and read where `verb` is missing.
#[derive(Serialize, Deserialize)]
struct StoredStep {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    verb: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    environment: Option<String>,
    #[serde(default)]
    name: String,
    state: String,
}

impl Serialize for Step {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let environment = match &self.target {
            Target::Environment(name) => Some(name.clone()),
            Target::Tenant => None,
        };
        let (verb, state) = (Some(self.verb.to_string()), self.state.to_string());
        StoredStep { verb, environment, name: self.to_string(), state }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Step {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let stored = StoredStep::deserialize(deserializer)?;
        let unknown = |what: &str, word: &str| serde::de::Error::custom(format!("no {what} of a step: {word:?}"));
        let (verb, environment) = match stored.verb {
            Some(verb) => (verb, stored.environment),
            None => match stored.name.split_once(' ') {
                Some((verb, name)) => (verb.to_owned(), Some(name.to_owned())),
                None => (stored.name, None),
            },
        };
        Ok(Self {
            verb: Verb::parse(&verb).ok_or_else(|| unknown("verb", &verb))?,
            target: environment.map_or(Target::Tenant, Target::Environment),
            state: StepState::parse(&stored.state).ok_or_else(|| unknown("state", &stored.state))?,
        })
    }
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

/// How a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable.
    pub code: FailureCode,
    /// For people, with what to do.
    pub message: String,
    /// At which step: its index in the job's steps.
    pub step: Option<usize>,
}

/// Appends lines to a job's log. What is longer than [`MAX_LOG_BYTES`] is cut to a quarter as many characters, at its front.
pub fn append(logs: &mut String, lines: &str) {
    logs.push_str(lines);
    if logs.len() > MAX_LOG_BYTES
        && let Some((start, _)) = logs.char_indices().nth_back(MAX_LOG_BYTES / 4 - 1)
    {
        logs.drain(..start);
    }
}

impl Job {
    /// Whether it is queued or running.
    pub fn is_open(&self) -> bool {
        matches!(self.state, JobState::Queued | JobState::Running)
    }
}

/// The steps of `action` on a tenant: one for each of its environments that the action touches, in their order, then the
/// record. What is provisioned is not provisioned again: a creation that failed may have come far.
pub fn steps<'a>(action: Action, environments: impl IntoIterator<Item = &'a Environment>) -> Vec<Step> {
    let verb = match action {
        Action::Create | Action::Update => Verb::Provision,
        Action::Activate => Verb::Open,
        Action::Suspend => Verb::Close,
        Action::Delete => Verb::Detach,
        Action::Undelete => Verb::Attach,
        Action::Purge => Verb::Destroy,
    };
    let touched = environments.into_iter().filter(|e| verb != Verb::Provision || e.provisioned_at.is_none());
    let steps = touched.map(|environment| Step::new(verb, Target::Environment(environment.name.clone())));
    steps.chain([Step::new(Verb::Record, Target::Tenant)]).collect()
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
