//! Whether a job can run, and what a step of it achieved.

use super::Decision;
use super::change_builder::ChangeBuilder;
use crate::changes::{Guard, Write};
use crate::decision_context::DecisionContext;
use crate::declared::Declared;
use crate::environment::Environment;
use crate::error::Error;
use crate::event::EventType;
use crate::ids::EnvironmentId;
use crate::job::{Failure, FailureCode, Job, Step, StepState, Target, Verb};
use crate::lifecycle::{TABLE, Transition, kept_from};
use crate::placement::{Chosen, EnvironmentPlacement, Intent};
use crate::snapshot::TenantSnapshot;
use serde_json::{Value, json};

/// What the record keeps of a completed step, besides the step itself. A provisioner reports it with the end of the
/// step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Achieved {
    /// Nothing: the end of the step is only progress of the job.
    Nothing,
    /// The environment of the step is provisioned; in a place, with the digest of the settings that the place was given.
    Provisioned(Option<String>),
    /// The place of the environment of the step was given the settings with this digest.
    Updated(String),
    /// The place of this environment, which was removed, is closed.
    Closed(EnvironmentId),
}

impl Achieved {
    /// Returns what a step achieves.
    pub fn of(step: &Step) -> Self {
        match (step.verb, &step.target) {
            (Verb::Provision, _) => Self::Provisioned(None),
            (Verb::Detach, Target::Removed(env_id)) => Self::Closed(env_id.clone()),
            (
                Verb::Update | Verb::Open | Verb::Close | Verb::Detach | Verb::Attach | Verb::Destroy | Verb::Record,
                _,
            ) => Self::Nothing,
        }
    }
}

/// Checks whether the job can run, or complete, in the current state of the tenant. The same check runs before each
/// step and at the end of the job.
///
/// # Errors
/// The failure with which the job ends.
pub fn ready(declared: &Declared, snapshot: &TenantSnapshot, job: &Job) -> Result<&'static Transition, Failure> {
    let (state, action) = (snapshot.tenant.facts.state, job.action);
    let Some(transition) = TABLE.iter().find(|line| line.from == state && line.action == action) else {
        let message =
            format!("the tenant is {state}, which does not permit {action}: see its audit log for what has changed");
        return Err(Failure { code: FailureCode::NotInThisState, message, step: None });
    };
    if let Some(held) = kept_from(declared, snapshot, action) {
        let has_begun = job.steps.iter().any(|step| step.state == StepState::Done);
        let next = match has_begun {
            true => "the record is kept, but the data that completed steps have destroyed is gone",
            false => "release the hold, then request the action again",
        };
        let message = format!("{held}: {next}");
        return Err(Failure { code: FailureCode::DataHeld, message, step: None });
    }
    Ok(transition)
}

/// Records the end of a step together with what it achieved, in one commit that is fenced by the lease of the job.
/// `job` is the job after the step. There are no changes if the record has nothing to keep: the step achieved nothing,
/// or its environment was removed, replaced or provisioned meanwhile. The end of the step is then written as progress
/// of the job.
///
/// # Errors
/// None today.
pub fn step_done(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    job: &Job,
    (step, achieved): (&Step, &Achieved),
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    let is_kept = match achieved {
        Achieved::Nothing => false,
        Achieved::Provisioned(settings) => provisioned(&mut builder, job, step, settings.as_ref()),
        Achieved::Updated(settings) => updated(&mut builder, job, step, settings),
        Achieved::Closed(env_id) => closed(&mut builder, job, env_id),
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

fn provisioned(builder: &mut ChangeBuilder<'_>, job: &Job, step: &Step, settings: Option<&String>) -> bool {
    let (now, state) = (builder.context.now, builder.snapshot.tenant.facts.state);
    let mut environments = builder.snapshot.environments.iter_mut();
    let is_new = |e: &Environment| step.is_about(e) && e.provisioned_at.is_none() && is_as_old_as(job, e);
    let Some(environment) = environments.find(|environment| is_new(environment)) else { return false };
    // A job that provisions does not change the state of its tenant.
    environment.state = state;
    environment.provisioned_at = Some(now);
    environment.updated_at = now;
    let environment = environment.clone();
    let payload = json!({"env_id": environment.env_id, "name": environment.name, "job_id": job.job_id});
    if let Some(settings) = settings {
        was_given(builder, &environment.env_id, settings);
    }
    builder.writes.push(Write::UpdateEnvironmentState(environment));
    builder.event(EventType::EnvironmentProvisioned, payload, Value::Null);
    true
}

fn updated(builder: &mut ChangeBuilder<'_>, job: &Job, step: &Step, settings: &str) -> bool {
    let Some(environment) = step.environment(&builder.snapshot.environments).cloned() else { return false };
    if !is_as_old_as(job, &environment) || !was_given(builder, &environment.env_id, settings) {
        return false;
    }
    let payload = json!({"env_id": environment.env_id, "name": environment.name, "job_id": job.job_id});
    builder.event(EventType::EnvironmentSettingsApplied, payload, Value::Null);
    true
}

/// Writes the settings that the place of an environment was given.
fn was_given(builder: &mut ChangeBuilder<'_>, env_id: &EnvironmentId, settings: &str) -> bool {
    let mut placements = builder.snapshot.placements.iter_mut();
    let Some(placement) = placements.find(|placement| placement.env_id == *env_id) else { return false };
    placement.settings = Some(settings.to_owned());
    placement.made_at = placement.made_at.or(Some(builder.context.now));
    builder.writes.push(Write::UpdateEnvironmentPlacement(placement.clone()));
    true
}

fn closed(builder: &mut ChangeBuilder<'_>, job: &Job, env_id: &EnvironmentId) -> bool {
    let mut placements = builder.snapshot.placements.iter_mut();
    let Some(placement) = placements.find(|one| one.env_id == *env_id && one.is_left_open()) else { return false };
    placement.closed_at = Some(builder.context.now);
    let placement = placement.clone();
    let payload = json!({"env_id": placement.env_id, "name": placement.name, "job_id": job.job_id});
    builder.writes.push(Write::UpdateEnvironmentPlacement(placement));
    builder.event(EventType::EnvironmentClosed, payload, Value::Null);
    true
}

/// Records what a step is about to do to the place of an environment. There are no changes if that is recorded already,
/// or if there is nothing to do it to: an environment without a place cannot be destroyed, and one that was removed
/// meanwhile is not made.
///
/// # Errors
/// None today.
pub fn announced(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    job: &Job,
    (env_id, intent): (&EnvironmentId, &Intent),
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    let is_new = match intent {
        Intent::Make(place) => chosen(&mut builder, job, env_id, place),
        Intent::Destroy => destroying(&mut builder, job, env_id),
    };
    if is_new {
        builder.guards.push(Guard::Lease(job.job_id.clone(), job.lease_epoch));
        builder.facts_changed = true;
    }
    builder.finish(Vec::new())
}

fn chosen(builder: &mut ChangeBuilder<'_>, job: &Job, env_id: &EnvironmentId, chosen: &Chosen) -> bool {
    let Chosen { placement, slot, place } = chosen;
    let environment = builder.snapshot.environments.iter().find(|environment| environment.env_id == *env_id);
    let Some(environment) = environment.filter(|_| builder.snapshot.placement(env_id).is_none()) else { return false };
    let placement = EnvironmentPlacement {
        env_id: env_id.clone(),
        tenant_id: builder.tenant_id(),
        name: environment.name.clone(),
        placement: placement.clone(),
        slot: slot.clone(),
        kind: place.kind,
        location: place.location.clone(),
        fingerprint: place.fingerprint.clone(),
        settings: None,
        created_at: builder.context.now,
        made_at: None,
        removed_at: None,
        closed_at: None,
        destroying_at: None,
    };
    let mut payload = json!({"env_id": env_id, "name": placement.name, "kind": placement.kind, "job_id": job.job_id});
    if let Some(name) = &placement.placement {
        payload["placement"] = json!(name);
        builder.guards.push(Guard::PlacementThere(name.clone()));
    }
    builder.guards.extend(placement.slot.clone().map(Guard::SlotUnused));
    builder.snapshot.placements.push(placement.clone());
    builder.writes.push(Write::InsertEnvironmentPlacement(placement));
    builder.event(EventType::EnvironmentPlaced, payload, Value::Null);
    true
}

fn destroying(builder: &mut ChangeBuilder<'_>, job: &Job, env_id: &EnvironmentId) -> bool {
    let mut placements = builder.snapshot.placements.iter_mut();
    let new = |placement: &&mut EnvironmentPlacement| placement.env_id == *env_id && placement.destroying_at.is_none();
    let Some(placement) = placements.find(new) else { return false };
    placement.destroying_at = Some(builder.context.now);
    let placement = placement.clone();
    let payload = json!({"env_id": env_id, "name": placement.name, "job_id": job.job_id});
    builder.writes.push(Write::UpdateEnvironmentPlacement(placement));
    builder.event(EventType::EnvironmentDestructionStarted, payload, Value::Null);
    true
}

/// Whether the environment existed when the job was queued. The job does not provision an environment that has replaced
/// another of the same name since.
pub(super) fn is_as_old_as(job: &Job, environment: &Environment) -> bool {
    environment.created_at <= job.created_at
}
