//! Builds the changes of one tenant: the snapshot after the change, with its events, guards and writes.

use super::Decision;
use super::steps::{steps, undo_steps};
use crate::action::Action;
use crate::changes::{Changes, Guard, Write};
use crate::decision_context::DecisionContext;
use crate::declared::Declared;
use crate::error::Error;
use crate::event::{Event, EventType, MAX_PAYLOAD_BYTES};
use crate::ids::TenantId;
use crate::job::{Job, JobState};
use crate::json::canonical_bytes;
use crate::lifecycle::{Situation, next_action};
use crate::snapshot::TenantSnapshot;
use crate::violation::Violation;
use serde_json::{Value, json};

/// Collects the changes of a rule. Rules change `snapshot` and add events and writes; [`ChangeBuilder::finish`] adds
/// the next action and the facts.
pub(super) struct ChangeBuilder<'a> {
    pub declared: &'a Declared,
    pub context: &'a mut DecisionContext,
    pub snapshot: TenantSnapshot,
    pub writes: Vec<Write>,
    pub guards: Vec<Guard>,
    pub events: Vec<Event>,
    /// Whether something outside the manifest changed. The counter then increases.
    pub facts_changed: bool,
    /// Cause of a change of the input of [`next_action`]; `None` if it did not change.
    pub cause: Option<&'static str>,
}

impl<'a> ChangeBuilder<'a> {
    /// Starts from the snapshot that was loaded.
    pub fn new(declared: &'a Declared, snapshot: &TenantSnapshot, context: &'a mut DecisionContext) -> Self {
        let tenant = &snapshot.tenant;
        let guard = Guard::TenantAt(tenant.tenant_id.clone(), tenant.terms.version, tenant.facts.counter);
        Self {
            declared,
            context,
            snapshot: snapshot.clone(),
            writes: Vec::new(),
            guards: vec![guard],
            events: Vec::new(),
            facts_changed: false,
            cause: None,
        }
    }

    /// Returns the id of the tenant.
    pub fn tenant_id(&self) -> TenantId {
        self.snapshot.tenant.tenant_id.clone()
    }

    /// Adds an event with its private part.
    pub fn event(&mut self, event_type: EventType, payload: Value, private: Value) {
        let id = self.tenant_id();
        let event = Event::new(self.context, Some(&id), event_type, payload).with_private(self.context, private);
        self.events.push(event);
    }

    /// Queues a job for `action` and adds its event.
    pub fn queue(&mut self, action: Action, cause: &'static str) {
        let job = new_job(self.declared, action, &self.snapshot, self.context);
        self.queue_job(job, action, cause);
    }

    /// Queues a job that closes again what a failed activation may have opened.
    pub fn queue_undo(&mut self) {
        let action = Action::Update;
        let job = new_job(self.declared, action, &self.snapshot, self.context);
        self.queue_job(Job { steps: undo_steps(&self.snapshot), ..job }, action, "job");
    }

    fn queue_job(&mut self, job: Job, action: Action, cause: &'static str) {
        self.event(action.requested(), json!({"job_id": job.job_id, "cause": cause}), Value::Null);
        self.writes.push(Write::InsertJob(job.clone()));
        self.snapshot.open_job = Some(job);
        self.facts_changed = true;
    }

    /// Builds the decision: queues the next action if its input changed, and writes the facts.
    pub fn finish(mut self, warnings: Vec<Violation>) -> Result<Decision, Error> {
        if let Some(cause) = self.cause
            && let Some(action) = next_action(Situation::of(self.declared, &self.snapshot))
        {
            self.queue(action, cause);
        }
        if self.facts_changed {
            let (tenant, now) = (&mut self.snapshot.tenant, self.context.now);
            tenant.facts.counter += 1;
            tenant.updated_at = now;
            self.writes.push(Write::UpdateTenantFacts(tenant.tenant_id.clone(), tenant.facts.clone(), now));
        }
        let changes = changes(self.events, self.guards, self.writes)?;
        Ok(Decision { snapshot: self.snapshot, changes, warnings })
    }
}

/// Builds changes from their parts; `None` if there are no events.
pub(super) fn changes(events: Vec<Event>, guards: Vec<Guard>, writes: Vec<Write>) -> Result<Option<Changes>, Error> {
    if events.iter().any(|event| canonical_bytes(&event.payload) > MAX_PAYLOAD_BYTES) {
        let most = MAX_PAYLOAD_BYTES / 1024;
        let message = format!("the change exceeds the maximum size of an audit event, {most} KiB: split the change");
        return Err(Error::TooLarge(message));
    }
    let mut events = events.into_iter();
    let Some(first) = events.next() else { return Ok(None) };
    let mut changes = Changes::new(first);
    events.for_each(|event| changes.event(event));
    changes.guards = guards;
    changes.writes = writes;
    Ok(Some(changes))
}

/// Builds a queued job for `action`, due now. Its steps follow the declared order of the environments.
pub(super) fn new_job(
    declared: &Declared,
    action: Action,
    snapshot: &TenantSnapshot,
    context: &mut DecisionContext,
) -> Job {
    let mut environments: Vec<_> = snapshot.environments.iter().collect();
    environments.sort_by_key(|environment| declared.environment_order(&environment.name));
    Job {
        job_id: context.job_id(),
        tenant_id: snapshot.tenant.tenant_id.clone(),
        action,
        state: JobState::Queued,
        progress: 0.0,
        logs: String::new(),
        steps: steps(action, snapshot, environments),
        waiting_for: None,
        due_at: context.now,
        attempt: 0,
        lease_holder: None,
        lease_epoch: 0,
        error_code: None,
        error: None,
        correlation_id: context.correlation_id.clone(),
        requested_by: context.actor.to_string(),
        created_at: context.now,
        updated_at: context.now,
        finished_at: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actor::Actor;
    use crate::ids::CorrelationId;

    #[test]
    fn must_refuse_an_event_of_more_than_64_kib() {
        let actor = Actor::system("test");
        let mut context = DecisionContext::new(jiff::Timestamp::UNIX_EPOCH, [7; 32], actor, CorrelationId::known("c"));
        // Quotes, braces and the name add 8 bytes.
        for (length, is_refused) in [(64 * 1024 - 8, false), (64 * 1024 - 7, true)] {
            let event = Event::new(&mut context, None, EventType::KeyCreated, json!({"a": "x".repeat(length)}));
            let made = changes(vec![event], Vec::new(), Vec::new());
            assert_eq!(matches!(made, Err(Error::TooLarge(_))), is_refused, "{length}");
        }
    }
}
