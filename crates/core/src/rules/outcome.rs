//! What a job achieved.

use super::Decision;
use super::turn::Turn;
use crate::changes::{Guard, Write};
use crate::declared::Declared;
use crate::error::Error;
use crate::event::EventType;
use crate::job::{Job, JobState, Step, StepState};
use crate::lifecycle::{Action, TABLE};
use crate::moment::Moment;
use crate::organization::Usage;
use crate::quotas::{declared_values, purge_after_days};
use crate::tenant::{Dossier, State};
use serde_json::{Value, json};

/// How a job failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable: `provisioner_failed`, `not_in_this_state`, …
    pub code: &'static str,
    /// For people, with what to do.
    pub message: String,
    /// At which step.
    pub step: Option<String>,
}

/// The job's good end: the tenant is in the state that the table says, and what comes next is queued.
///
/// # Errors
/// [`Error::NotNow`] when the state table has no such transition any more.
pub fn complete(declared: &Declared, dossier: &Dossier, job: &Job, moment: &mut Moment) -> Result<Decision, Error> {
    let from = dossier.tenant.state;
    let Some(line) = TABLE.iter().find(|line| line.from == from && line.action == job.action) else {
        return Err(Error::NotNow(format!("{} cannot end in a tenant that is {from}", job.action)));
    };
    let mut turn = Turn::new(declared, dossier, moment);
    let steps = job.steps.iter().map(|step| Step { state: StepState::Done, ..step.clone() }).collect();
    end(&mut turn, Job { state: JobState::Completed, progress: 1.0, steps, ..job.clone() });
    turn.event(job.action.done(), json!({"job_id": job.job_id, "from": from, "to": line.to}), Value::Null);
    arrive(&mut turn, job.action, line.to);
    turn.cause = Some("job");
    turn.finish(Vec::new())
}

/// The job's bad end: it stays failed until it is retried, or until something changes that asks for it anew.
///
/// # Errors
/// None today.
pub fn fail(
    declared: &Declared,
    dossier: &Dossier,
    job: &Job,
    failure: Failure,
    moment: &mut Moment,
) -> Result<Decision, Error> {
    let mut turn = Turn::new(declared, dossier, moment);
    let mut payload = json!({"job_id": job.job_id, "action": job.action, "code": failure.code, "attempt": job.attempt});
    if let Some(step) = &failure.step {
        payload["step"] = json!(step);
    }
    let mut steps = job.steps.clone();
    for step in steps.iter_mut().filter(|step| Some(&step.name) == failure.step.as_ref()) {
        step.state = StepState::Failed;
    }
    let (code, message) = (Some(failure.code.to_owned()), Some(failure.message));
    end(&mut turn, Job { state: JobState::Failed, steps, error_code: code, error: message, ..job.clone() });
    turn.event(EventType::JobFailed, payload, Value::Null);
    turn.finish(Vec::new())
}

fn end(turn: &mut Turn<'_>, job: Job) {
    let now = turn.moment.now;
    turn.guards.push(Guard::Lease(job.job_id.clone(), job.lease_epoch));
    turn.writes.push(Write::FinishJob(Job { updated_at: now, finished_at: Some(now), waiting_for: None, ..job }));
    turn.dossier.open_job = None;
    turn.facts_changed = true;
}

/// Writes what being in the new state means for the tenant's row, its environments and its organization.
fn arrive(turn: &mut Turn<'_>, action: Action, to: State) {
    let now = turn.moment.now;
    let tenant = &mut turn.dossier.tenant;
    if tenant.state != to {
        tenant.state = to;
        tenant.state_since = now;
    }
    match action {
        Action::Create => tenant.provisioned_at = Some(now),
        Action::Delete => {
            tenant.archived_at = Some(now);
            let grace = jiff::SignedDuration::from_hours(24 * purge_after_days(&tenant.policies));
            tenant.purge_after = Some(now.checked_add(grace).unwrap_or(jiff::Timestamp::MAX));
        }
        Action::Undelete => {
            tenant.archived_at = None;
            tenant.purge_after = None;
        }
        Action::Purge => tenant.purged_at = Some(now),
        Action::Update | Action::Activate | Action::Suspend => {}
    }
    let provisions = matches!(action, Action::Create | Action::Update);
    for environment in &mut turn.dossier.environments {
        let provisioned_at = environment.provisioned_at.or(provisions.then_some(now));
        if (environment.state, environment.provisioned_at) != (to, provisioned_at) {
            environment.state = to;
            environment.provisioned_at = provisioned_at;
            environment.updated_at = now;
            turn.writes.push(Write::UpdateEnvironmentState(environment.clone()));
        }
    }
    if action == Action::Purge {
        let tenant = &turn.dossier.tenant;
        let used = Usage { tenants: 1, quotas: declared_values(turn.declared, &tenant.quotas) };
        let change = used.until(&Usage::default());
        turn.guards.push(Guard::OrganizationRoom(tenant.organization_id.clone(), change));
    }
}
