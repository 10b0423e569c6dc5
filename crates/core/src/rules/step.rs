//! Whether a job may run, and what a step of it achieved.

use super::Decision;
use super::change_builder::ChangeBuilder;
use crate::changes::{Guard, Write};
use crate::decision_context::DecisionContext;
use crate::declared::Declared;
use crate::environment::Environment;
use crate::error::Error;
use crate::event::EventType;
use crate::job::{Failure, FailureCode, Job, Step, StepState, Verb};
use crate::lifecycle::{TABLE, Transition, kept_from};
use crate::snapshot::TenantSnapshot;
use serde_json::{Value, json};

/// What the record keeps of a step that is done, besides the step itself. A provisioner says it with the step's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Achieved {
    /// Nothing: the end of the step is progress of the job, and no more.
    Nothing,
    /// The environment of the step is provisioned.
    Provisioned,
}

impl Achieved {
    /// What a step with this verb achieves.
    pub fn of(verb: Verb) -> Self {
        match verb {
            Verb::Provision => Self::Provisioned,
            Verb::Open | Verb::Close | Verb::Detach | Verb::Attach | Verb::Destroy | Verb::Record => Self::Nothing,
        }
    }
}

/// Whether the job may run, or end well, in a tenant as it is now: the one check before its first step, before each
/// further step, and at its end.
///
/// # Errors
/// The failure with which the job ends instead.
pub fn ready(declared: &Declared, snapshot: &TenantSnapshot, job: &Job) -> Result<&'static Transition, Failure> {
    let (state, action) = (snapshot.tenant.facts.state, job.action);
    let Some(transition) = TABLE.iter().find(|line| line.from == state && line.action == action) else {
        let message =
            format!("{action} cannot be done in a tenant that is {state}: look at its audit log for what came between");
        return Err(Failure { code: FailureCode::NotInThisState, message, step: None });
    };
    if let Some(held) = kept_from(declared, snapshot, action) {
        let has_begun = job.steps.iter().any(|step| step.state == StepState::Done);
        let gone = ": the record is kept, but what the job's steps have destroyed is gone";
        let message = format!("{held}{}", if has_begun { gone } else { "" });
        return Err(Failure { code: FailureCode::DataHeld, message, step: None });
    }
    Ok(transition)
}

/// The end of a step, with what it achieved, in one commit that the job's lease fences. `job` is the job with that end.
/// There are no changes where the record has nothing to keep: the step achieved nothing, or its environment was removed or
/// replaced meanwhile, or is provisioned already. The end of the step is then written as progress of the job.
///
/// # Errors
/// None today.
pub fn step_done(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    job: &Job,
    (step, achieved): (&Step, Achieved),
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    let is_kept = match achieved {
        Achieved::Nothing => false,
        Achieved::Provisioned => provisioned(&mut builder, job, step),
    };
    if is_kept && let Some(open) = builder.snapshot.open_job.take() {
        let (progress, steps, logs) = (job.progress, job.steps.clone(), job.logs.clone());
        let open = Job { progress, steps, logs, updated_at: builder.context.now, ..open };
        builder.guards.push(Guard::Lease(job.job_id.clone(), job.lease_epoch));
        builder.writes.push(Write::AdvanceJob(open.clone()));
        builder.snapshot.open_job = Some(open);
        builder.facts_changed = true;
    }
    builder.finish(Vec::new())
}

fn provisioned(builder: &mut ChangeBuilder<'_>, job: &Job, step: &Step) -> bool {
    let (now, state) = (builder.context.now, builder.snapshot.tenant.facts.state);
    let mut environments = builder.snapshot.environments.iter_mut();
    let is_new = |e: &Environment| step.is_about(e) && e.provisioned_at.is_none() && is_as_old_as(job, e);
    let Some(environment) = environments.find(|environment| is_new(environment)) else { return false };
    // A job that provisions does not move its tenant.
    environment.state = state;
    environment.provisioned_at = Some(now);
    environment.updated_at = now;
    let environment = environment.clone();
    let payload = json!({"env_id": environment.env_id, "name": environment.name, "job_id": job.job_id});
    builder.writes.push(Write::UpdateEnvironmentState(environment));
    builder.event(EventType::EnvironmentProvisioned, payload, Value::Null);
    true
}

/// Whether the environment was there when the job was queued. One that took the place of another of its name since is not
/// what the job provisions.
pub(super) fn is_as_old_as(job: &Job, environment: &Environment) -> bool {
    environment.created_at <= job.created_at
}
