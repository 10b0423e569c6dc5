//! Holds on organizations, which apply to all their tenants: placing, releasing, and settling each tenant afterwards.
//!
//! Placing or releasing such a hold writes one row in one commit, regardless of the number of tenants. The tenants
//! follow one by one, each in its own commit, by the same rule as every commit of a tenant.

use super::Decision;
use super::change_builder::{ChangeBuilder, changes};
use super::lifecycle::Suspension;
use super::organizations::{at, event};
use super::outcome::make_way;
use super::protections;
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

/// Decision on the holds of an organization.
#[derive(Debug, Clone, PartialEq)]
pub struct HoldsDecision {
    /// The organization after the change.
    pub organization: Organization,
    /// Holds of the organization after the change, by kind.
    pub holds: Vec<Hold>,
    /// Changes to commit; `None` if nothing changes.
    pub changes: Option<Changes>,
}

/// Places a hold on all tenants of an organization, or changes the reason and end of an existing hold.
///
/// # Errors
/// [`Error::Invalid`] for an undeclared kind, a reason that is too long, or an end in the past; [`Error::Forbidden`] if
/// the hold keeps data and would end sooner, and the actor may not release it.
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
            protections::end_at(declared, hold, until, context)?;
            let placed_by = protections::placed_by(declared, hold, placed_by);
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
    changed(before, holds, write, event, context)
}

/// Releases a hold on an organization: the named kind, or [`DEFAULT_HOLD`].
///
/// # Errors
/// [`Error::NotNow`] if the hold does not exist; [`Error::Forbidden`] if the actor may not release it.
pub fn release(
    declared: &Declared,
    before: &Organization,
    holds: &[Hold],
    hold: Option<&str>,
    context: &mut DecisionContext,
) -> Result<HoldsDecision, Error> {
    let (kind, mut holds) = (hold.unwrap_or(DEFAULT_HOLD), holds.to_vec());
    let Some(index) = holds.iter().position(|hold| hold.kind == kind) else {
        let kinds: Vec<_> = holds.iter().map(|hold| hold.kind.as_str()).collect();
        let present = if kinds.is_empty() { "it has none".to_owned() } else { format!("it has {}", kinds.join(", ")) };
        let id = &before.organization_id;
        return Err(Error::NotNow(format!("organization {id} has no hold {kind:?}: {present}")));
    };
    let released = holds.remove(index);
    protections::release(declared, &released, context)?;
    let id = &before.organization_id;
    let event = event(EventType::OrganizationHoldReleased, id, json!({"hold": kind}), Value::Null, context);
    changed(before, holds, Write::DeleteHold(released.hold_id), event, context)
}

/// Increases the counter, which marks that the tenants have not followed yet.
fn changed(
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

/// Queues the next action of a tenant after the holds of its organization changed at `changed_at`. A job that only
/// waits is cancelled if it conflicts with a hold. No changes are needed if the tenant has no next action, if a job is
/// open (its end decides the next action), or if the newest job has tried the same action since `changed_at` and
/// failed: each change of the holds is tried once, regardless of how often this is called.
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
