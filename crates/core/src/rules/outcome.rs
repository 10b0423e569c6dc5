//! How a job ends: well, badly, or cancelled.

use super::Decision;
use super::change_builder::ChangeBuilder;
use super::step::{is_as_old_as, ready};
use crate::action::Action;
use crate::changes::{Guard, Write};
use crate::decision_context::{DecisionContext, cut};
use crate::declared::Declared;
use crate::environment::Environment;
use crate::error::Error;
use crate::event::EventType;
use crate::job::{Failure, FailureCode, Job, JobState, Step, StepState};
use crate::lifecycle::{Situation, next_action};
use crate::organization::Usage;
use crate::quotas::{counted_values, purge_after_days};
use crate::snapshot::TenantSnapshot;
use crate::tenant::State;
use serde_json::{Value, json};

/// Longest message of a failed job, in bytes; what is longer is cut off.
pub const MAX_ERROR_LENGTH_BYTES: usize = 4096;

/// The job's good end: the tenant is in the state that the table says, and what comes next is queued. If the job is not
/// [`ready`] any more, it ends badly: a hold that was placed on the organization during a purge keeps the record.
///
/// # Errors
/// None today.
pub fn complete(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    job: &Job,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let steps = job.steps.iter().map(|step| Step { state: StepState::Done, ..step.clone() }).collect();
    let done = Job { state: JobState::Completed, progress: 1.0, steps, error_code: None, error: None, ..job.clone() };
    let transition = match ready(declared, snapshot, &done) {
        Ok(transition) => transition,
        Err(failure) => return fail(declared, snapshot, job, failure, context),
    };
    let (from, to) = (transition.from, transition.to);
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    end(&mut builder, Write::FinishJob, done);
    builder.event(job.action.done(), json!({"job_id": job.job_id, "from": from, "to": to}), Value::Null);
    arrive(&mut builder, job, to);
    builder.cause = Some("job");
    builder.finish(Vec::new())
}

/// The job's bad end: it stays failed until it is asked for again, or until something changes that asks for it anew.
/// What has changed while it was open may ask for something else, which is queued: a hold that was placed meanwhile
/// takes the tenant out of service, though an update of it failed.
///
/// # Errors
/// None today.
pub fn fail(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    job: &Job,
    failure: Failure,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    let mut payload = json!({"job_id": job.job_id, "action": job.action, "code": failure.code, "attempt": job.attempt});
    let mut steps = job.steps.clone();
    if let Some(step) = failure.step.and_then(|index| steps.get_mut(index)) {
        payload["step"] = json!(step.to_string());
        step.state = StepState::Failed;
    }
    let (code, message) = (Some(failure.code.to_string()), Some(kept(&failure.message)));
    end(
        &mut builder,
        Write::FinishJob,
        Job { state: JobState::Failed, steps, error_code: code, error: message, ..job.clone() },
    );
    builder.event(EventType::JobFailed, payload, Value::Null);
    go_on_without(&mut builder, job.action);
    builder.finish(Vec::new())
}

/// Ends the open job, which is not wanted any more. What its steps have done stays. As after a failure, it is not tried
/// again by itself, but anything else that is asked for is queued. A purge that was begun is not cancelled: its data may
/// be gone, and a tenant must not come back without it.
///
/// # Errors
/// [`Error::NotNow`] for a purge that was begun, and where no job is open.
pub fn cancel(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    reason: Option<&str>,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let Some(job) = &snapshot.open_job else {
        return Err(Error::NotNow("no job is open: there is nothing to cancel".to_owned()));
    };
    if job.action == Action::Purge && job.attempt > 0 {
        return Err(Error::NotNow(format!("job {} (purge) was begun: the data may be gone already", job.job_id)));
    }
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    let why = format!("cancelled by {}: ask for it again if it is wanted after all", builder.context.actor);
    cancelled(&mut builder, job, why, json!({"reason": reason}));
    go_on_without(&mut builder, job.action);
    builder.finish(Vec::new())
}

/// Cancels the open job if it only waits and is in the way of a hold: what it waits for may take days, and the tenant must
/// be out of service now. One that does not wait yet must not have begun to when this is committed.
pub(super) fn make_way(builder: &mut ChangeBuilder<'_>) {
    if !is_in_the_way(builder.declared, &builder.snapshot) {
        return;
    }
    let Some(job) = builder.snapshot.open_job.clone() else { return };
    if job.waiting_for.is_some() {
        let why = "cancelled: a hold that takes the tenant out of service did not let it wait any longer".to_owned();
        cancelled(builder, &job, why, Value::Null);
    } else {
        builder.guards.push(Guard::Lease(job.job_id, job.lease_epoch));
    }
}

/// Whether the open job keeps the tenant in service, or brings it there, against a hold.
pub fn is_in_the_way(declared: &Declared, snapshot: &TenantSnapshot) -> bool {
    let without = Situation { open_job: false, ..Situation::of(declared, snapshot) };
    snapshot.open_job.as_ref().is_some_and(|job| match job.action {
        Action::Activate => without.held,
        Action::Create | Action::Update | Action::Undelete => {
            without.held && next_action(without) == Some(Action::Suspend)
        }
        Action::Suspend | Action::Delete | Action::Purge => false,
    })
}

fn cancelled(builder: &mut ChangeBuilder<'_>, job: &Job, why: String, private: Value) {
    let (code, error) = (Some(FailureCode::Cancelled.to_string()), Some(why));
    end(builder, Write::CancelJob, Job { state: JobState::Failed, error_code: code, error, ..job.clone() });
    builder.event(EventType::JobCancelled, json!({"job_id": job.job_id, "action": job.action}), private);
}

/// What is asked for once a job ended badly, if that is anything else.
fn go_on_without(builder: &mut ChangeBuilder<'_>, action: Action) {
    if next_action(Situation::of(builder.declared, &builder.snapshot)).is_some_and(|next| next != action) {
        builder.cause = Some("job");
    }
}

/// A message as every database takes it: it comes from outside.
pub fn kept(message: &str) -> String {
    let mut text: String = message.chars().filter(|c| *c != '\0').collect();
    text.truncate(text.floor_char_boundary(MAX_ERROR_LENGTH_BYTES));
    text
}

fn end(builder: &mut ChangeBuilder<'_>, write: fn(Job) -> Write, job: Job) {
    let now = builder.context.now;
    builder.guards.push(Guard::Lease(job.job_id.clone(), job.lease_epoch));
    builder.writes.push(write(Job { updated_at: now, finished_at: Some(now), waiting_for: None, ..job }));
    builder.snapshot.open_job = None;
    builder.facts_changed = true;
}

/// Writes what being in the new state means for the tenant's row, its environments and its organization.
fn arrive(builder: &mut ChangeBuilder<'_>, job: &Job, to: State) {
    let now = builder.context.now;
    let tenant = &mut builder.snapshot.tenant;
    if tenant.facts.state != to {
        tenant.facts.state = to;
        tenant.facts.state_since = now;
    }
    match job.action {
        Action::Create | Action::Update => tenant.facts.provisioned_at = tenant.facts.provisioned_at.or(Some(now)),
        Action::Delete => {
            tenant.facts.archived_at = Some(now);
            let grace = jiff::SignedDuration::from_hours(24 * purge_after_days(&tenant.terms.policies));
            tenant.facts.purge_after = Some(cut(now.checked_add(grace).unwrap_or(jiff::Timestamp::MAX)));
        }
        Action::Undelete => {
            tenant.facts.archived_at = None;
            tenant.facts.purge_after = None;
        }
        Action::Purge => tenant.facts.purged_at = Some(now),
        Action::Activate | Action::Suspend => {}
    }
    if job.action == Action::Purge {
        return empty(builder);
    }
    let provisions = matches!(job.action, Action::Create | Action::Update);
    for environment in builder.snapshot.environments.iter_mut().filter(|environment| touched(job, environment)) {
        let provisions = provisions && is_as_old_as(job, environment);
        let provisioned_at = environment.provisioned_at.or(provisions.then_some(now));
        if (environment.state, environment.provisioned_at) != (to, provisioned_at) {
            environment.state = to;
            environment.provisioned_at = provisioned_at;
            environment.updated_at = now;
            builder.writes.push(Write::UpdateEnvironmentState(environment.clone()));
        }
    }
}

/// Whether a step of the job was about the environment: one that was added while the job was open is not touched by it.
fn touched(job: &Job, environment: &Environment) -> bool {
    job.steps.iter().any(|step| step.is_about(environment))
}

/// Leaves a tombstone: what stood beside the tenant's row goes, its organization has its room back, and nothing stays
/// that may be personal. Whose it was, its profile, state, times, version and counter stay, and so does the log, where a
/// salted digest stands for what is gone.
fn empty(builder: &mut ChangeBuilder<'_>) {
    let snapshot = &mut builder.snapshot;
    builder
        .writes
        .extend(snapshot.environments.drain(..).map(|environment| Write::DeleteEnvironment(environment.env_id)));
    builder.writes.extend(snapshot.holds.drain(..).map(|hold| Write::DeleteHold(hold.hold_id)));
    builder.writes.extend(snapshot.aliases.drain(..).map(Write::DeleteAlias));
    builder.writes.extend(snapshot.webhooks.drain(..).map(|webhook| Write::DeleteWebhook(webhook.webhook_id)));
    let tenant = &snapshot.tenant;
    let used = Usage { tenants: 1, quotas: counted_values(&tenant.terms.quotas) };
    builder.guards.push(Guard::OrganizationRoom(tenant.organization_id.clone(), used.until(&Usage::default())));
    let tenant = &mut snapshot.tenant;
    tenant.terms.erase();
    builder.writes.push(Write::EraseTenant(tenant.tenant_id.clone(), tenant.terms.clone(), builder.context.now));
}
