//! Outcomes of a job: completed, failed, or cancelled.

use super::Decision;
use super::change_builder::ChangeBuilder;
use super::step::{is_as_old_as, ready};
use super::steps::is_undo;
use super::webhook_rows;
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
use crate::quotas::{counted_usage, purge_after_days};
use crate::snapshot::TenantSnapshot;
use crate::tenant::State;
use serde_json::{Value, json};

/// Maximum length of the message of a failed job, in bytes. A longer message is cut.
pub const MAX_ERROR_LENGTH_BYTES: usize = 4096;

/// Completes a job: the tenant takes the state of the state table, and its next action is queued. If the job is not
/// [`ready`] any more, it fails instead: a hold that was placed on the organization during a purge keeps the record.
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
    // The activation that failed is not tried again by itself.
    let next = next_action(Situation::without_doubt(declared, &builder.snapshot));
    if !is_undo(job) || next.is_some_and(|next| next != Action::Activate) {
        builder.cause = Some("job");
    }
    builder.finish(Vec::new())
}

/// Fails a job. It stays failed until a caller requests it again, or until a change makes it the next action again. If
/// the changes since its start require a different action, that is queued: a hold that was placed meanwhile suspends
/// the tenant, although an update failed.
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
    doubt(&mut builder, job);
    go_on_without(&mut builder, job);
    builder.finish(Vec::new())
}

/// Cancels the open job. The effects of its completed steps remain. As after a failure, the server does not retry it,
/// but queues a different next action. A purge that has started cannot be cancelled: data may already be destroyed, and
/// the tenant must not return to service without it.
///
/// # Errors
/// [`Error::NotNow`] if no job is open, or if the job is a purge that has started.
pub fn cancel(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    reason: Option<&str>,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let Some(job) = &snapshot.open_job else {
        return Err(Error::NotNow("the tenant has no open job to cancel".to_owned()));
    };
    if job.action == Action::Purge && job.attempt > 0 {
        let message =
            format!("job {} (purge) has started and cannot be cancelled: it may have destroyed data", job.job_id);
        return Err(Error::NotNow(message));
    }
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    let why = format!("cancelled by {}: request the action again to run it", builder.context.actor);
    cancelled(&mut builder, job, why, json!({"reason": reason}));
    go_on_without(&mut builder, job);
    builder.finish(Vec::new())
}

/// Cancels the open job if it only waits and conflicts with a hold: its condition may take days, but the hold must
/// suspend the tenant now. If the job does not wait, a guard makes sure that it still does not at the commit.
pub(super) fn make_way(builder: &mut ChangeBuilder<'_>) {
    if !is_in_the_way(builder.declared, &builder.snapshot) {
        return;
    }
    let Some(job) = builder.snapshot.open_job.clone() else { return };
    if job.waiting_for.is_some() {
        let why = "cancelled: the job was waiting, and a hold must suspend the tenant now".to_owned();
        cancelled(builder, &job, why, Value::Null);
    } else {
        builder.guards.push(Guard::Lease(job.job_id, job.lease_epoch));
    }
}

/// Whether the open job keeps the tenant in service, or activates it, despite a hold.
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
    doubt(builder, job);
    end(builder, Write::CancelJob, Job { state: JobState::Failed, error_code: code, error, ..job.clone() });
    builder.event(EventType::JobCancelled, json!({"job_id": job.job_id, "action": job.action}), private);
}

/// Forgets what the places of the environments were given: the job may have opened or closed some of them. After a purge
/// has started there is nothing to give: the places are being destroyed.
fn doubt(builder: &mut ChangeBuilder<'_>, job: &Job) {
    if job.attempt == 0 || job.action == Action::Purge {
        return;
    }
    let placements = builder.snapshot.placements.iter_mut();
    for placement in placements.filter(|placement| placement.removed_at.is_none() && placement.settings.is_some()) {
        placement.settings = None;
        builder.writes.push(Write::UpdateEnvironmentPlacement(placement.clone()));
    }
}

/// Lets the next action be queued after a job failed, unless it is the same action. What a failed activation has opened is
/// closed again.
fn go_on_without(builder: &mut ChangeBuilder<'_>, job: &Job) {
    let action = job.action;
    let next = next_action(Situation::of(builder.declared, &builder.snapshot));
    // An update that only gives the places what is in doubt would be followed by the same action, which fails again.
    let comes_back = next_action(Situation::without_doubt(builder.declared, &builder.snapshot)) == Some(action);
    if comes_back && action == Action::Activate && next == Some(Action::Update) {
        builder.queue_undo();
    } else if next.is_some_and(|next| next != action) && !comes_back {
        builder.cause = Some("job");
    }
}

/// Returns a message from outside in a form that every database accepts: without U+0000, and cut to the maximum length.
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

/// Writes the new state to the tenant's row and its environments, and updates the usage of its organization.
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

/// Whether a step of the job works on the environment. An environment that was added while the job was open has no
/// step.
fn touched(job: &Job, environment: &Environment) -> bool {
    job.steps.iter().any(|step| step.is_about(environment))
}

/// Leaves a tombstone: deletes the rows that belong to the tenant, subtracts it from the usage of its organization, and
/// erases personal data. Organization, profile, state, times, version and counter remain, and so does the log, which
/// has salted digests of the erased data.
fn empty(builder: &mut ChangeBuilder<'_>) {
    let snapshot = &mut builder.snapshot;
    let environments = snapshot.environments.iter().map(|environment| &environment.quotas);
    let used = Usage { tenants: 1, quotas: counted_usage(&snapshot.tenant.terms.quotas, environments) };
    builder
        .writes
        .extend(snapshot.environments.drain(..).map(|environment| Write::DeleteEnvironment(environment.env_id)));
    builder
        .writes
        .extend(snapshot.placements.drain(..).map(|placement| Write::DeleteEnvironmentPlacement(placement.env_id)));
    builder.writes.extend(snapshot.holds.drain(..).map(|hold| Write::DeleteHold(hold.hold_id)));
    builder.writes.extend(snapshot.aliases.drain(..).map(Write::DeleteAlias));
    for webhook in std::mem::take(&mut snapshot.webhooks) {
        // Deliveries and the lane of the webhook are removed when the dispatcher reads this.
        builder.events.push(webhook_rows::event(&webhook, "removed", builder.context));
        builder.writes.push(Write::DeleteWebhook(webhook.webhook_id));
    }
    let tenant = &snapshot.tenant;
    builder.guards.push(Guard::OrganizationRoom(tenant.organization_id.clone(), used.until(&Usage::default())));
    let tenant = &mut snapshot.tenant;
    tenant.terms.erase();
    builder.writes.push(Write::EraseTenant(tenant.tenant_id.clone(), tenant.terms.clone(), builder.context.now));
}
