//! Holds on organizations, which hold all their tenants: placed, released, and each tenant brought to where it belongs.
//!
//! A hold on an organization is one row and one commit, however many tenants there are. They follow one after the other,
//! each in a commit of its own, by the rule that every commit of a tenant follows.

use super::Decision;
use super::change_builder::{ChangeBuilder, changes};
use super::lifecycle::Suspension;
use super::organizations::{at, event};
use super::outcome::make_way;
use crate::changes::{Changes, Write};
use crate::decision_context::{DecisionContext, cut};
use crate::declared::Declared;
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::hold::{DEFAULT_HOLD, Held, Hold};
use crate::job::{Job, JobState};
use crate::lifecycle::{Situation, next_action};
use crate::organization::Organization;
use crate::snapshot::TenantSnapshot;
use jiff::Timestamp;
use serde_json::{Value, json};

/// What a rule decided on an organization's holds.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldsDecision {
    /// The organization afterwards.
    pub organization: Organization,
    /// Its holds afterwards, by kind.
    pub holds: Vec<Hold>,
    /// What to commit; `None` when nothing changes.
    pub changes: Option<Changes>,
}

/// Places a hold on all tenants of an organization, or changes the reason and end of one that stands.
///
/// # Errors
/// [`Error::Invalid`] for an undeclared kind, a reason too long, an end in the past.
pub fn place(
    declared: &Declared,
    before: &Organization,
    holds: &[Hold],
    suspension: &Suspension,
    context: &mut DecisionContext,
) -> Result<HoldsDecision, Error> {
    suspension.checked(declared, context.now)?;
    let kind = suspension.kind();
    let (until, placed_by) = (suspension.until.map(cut), context.actor.to_string());
    let mut holds = holds.to_vec();
    let write = match holds.iter_mut().find(|hold| hold.kind == kind) {
        Some(hold) if hold.reason == suspension.reason && hold.until == until => {
            return Ok(HoldsDecision { organization: before.clone(), holds, changes: None });
        }
        Some(hold) => {
            *hold = Hold { reason: suspension.reason.clone(), until, placed_by, ..hold.clone() };
            Write::UpdateHold(hold.clone())
        }
        None => {
            let hold = Hold {
                hold_id: context.hold_id(),
                held: Held::Organization(before.organization_id.clone()),
                kind: kind.to_owned(),
                reason: suspension.reason.clone(),
                placed_by,
                until,
                created_at: context.now,
            };
            holds.push(hold.clone());
            holds.sort_by(|a, b| a.kind.cmp(&b.kind));
            Write::InsertHold(hold)
        }
    };
    let mut payload = json!({"hold": kind});
    if let Some(until) = until {
        payload["until"] = json!(until);
    }
    let private = json!({"reason": suspension.reason});
    let event = event(EventType::OrganizationHoldPlaced, &before.organization_id, payload, private, context);
    moved(before, holds, write, event, context)
}

/// Releases a hold on an organization: the named one, or [`DEFAULT_HOLD`].
///
/// # Errors
/// [`Error::NotNow`] when there is no such hold.
pub fn release(
    before: &Organization,
    holds: &[Hold],
    hold: Option<&str>,
    context: &mut DecisionContext,
) -> Result<HoldsDecision, Error> {
    let (kind, mut holds) = (hold.unwrap_or(DEFAULT_HOLD), holds.to_vec());
    let Some(index) = holds.iter().position(|hold| hold.kind == kind) else {
        let kinds: Vec<_> = holds.iter().map(|hold| hold.kind.as_str()).collect();
        let standing =
            if kinds.is_empty() { "none stands".to_owned() } else { format!("there stands {}", kinds.join(", ")) };
        let id = &before.organization_id;
        return Err(Error::NotNow(format!("there is no hold {kind:?} on organization {id}; {standing}")));
    };
    let released = holds.remove(index);
    let id = &before.organization_id;
    let event = event(EventType::OrganizationHoldReleased, id, json!({"hold": kind}), Value::Null, context);
    moved(before, holds, Write::DeleteHold(released.hold_id), event, context)
}

/// The counter goes up, and that is how it is known that tenants have yet to follow.
fn moved(
    before: &Organization,
    holds: Vec<Hold>,
    write: Write,
    event: Event,
    context: &DecisionContext,
) -> Result<HoldsDecision, Error> {
    let organization = Organization { counter: before.counter + 1, updated_at: context.now, ..before.clone() };
    let writes = vec![Write::UpdateOrganizationFacts(organization.clone()), write];
    let changes = changes(vec![event], vec![at(before)], writes)?;
    Ok(HoldsDecision { organization, holds, changes })
}

/// Brings a tenant to where it belongs after its organization's holds changed, which was at `changed_at`. Nothing when it
/// is there, when a job is open (whose end asks again; one that only waits is cancelled where it is in the way), or when
/// the newest job tried just that since, and failed: it is tried once for a change, however often this is asked.
///
/// # Errors
/// None today.
pub fn settle(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    newest_job: Option<&Job>,
    changed_at: Timestamp,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    make_way(&mut builder);
    if let Some(action) = next_action(Situation::of(declared, &builder.snapshot)) {
        let failed = newest_job
            .is_some_and(|job| job.action == action && job.state == JobState::Failed && job.created_at >= changed_at);
        if !failed {
            builder.queue(action, "organization hold");
        }
    }
    builder.finish(Vec::new())
}
