//! Places and releases holds, and requests transitions.

use super::change_builder::ChangeBuilder;
use super::outcome::make_way;
use super::{Decision, protections};
use crate::action::Action;
use crate::changes::Write;
use crate::decision_context::{DecisionContext, cut};
use crate::declared::Declared;
use crate::document::{self, Findings, one_of};
use crate::error::Error;
use crate::event::EventType;
use crate::hold::{DEFAULT_HOLD, Held, Hold, MAX_REASON_LENGTH_BYTES};
use crate::json::Pointer;
use crate::lifecycle::{Situation, check, next_action, suspending_holds};
use crate::permission::Operation;
use crate::snapshot::TenantSnapshot;
use crate::tenant::{DesiredState, State};
use jiff::Timestamp;
use serde_json::{Value, json};

/// Parameters of `suspend`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suspension {
    /// Declared kind of hold. Defaults to [`DEFAULT_HOLD`].
    pub hold: Option<String>,
    /// Reason, for people.
    pub reason: Option<String>,
    /// Time at which the server releases the hold.
    pub until: Option<Timestamp>,
}

/// Places a hold, or changes the reason and end of an existing hold. A repeated request retries an action that failed.
/// A job that only waits and keeps the tenant in service is cancelled.
///
/// # Errors
/// [`Error::Invalid`] for an undeclared kind, a reason that is too long, or an end in the past; [`Error::NotNow`] for a
/// tombstone, and for a hold that keeps data while a purge destroys it; [`Error::Forbidden`] if the hold keeps data and
/// would end sooner, and the actor may not release it.
pub fn suspend(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    suspension: &Suspension,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    not_purged(snapshot)?;
    suspension.checked(declared, context.now)?;
    let kind = suspension.kind();
    let purge = snapshot.open_job.as_ref().filter(|job| job.action == Action::Purge);
    if let Some(job) = purge.filter(|_| declared.keeps_data(kind)) {
        let message = format!("hold {kind} cannot keep the data: job {} (purge) is destroying it", job.job_id);
        return Err(Error::NotNow(message));
    }
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    let until = suspension.until.map(cut);
    let placed_by = builder.context.actor.to_string();
    match builder.snapshot.holds.iter_mut().find(|hold| hold.kind == kind) {
        Some(hold) if hold.reason == suspension.reason && hold.until == until => {
            make_way(&mut builder);
            builder.cause = Some("request");
            return builder.finish(Vec::new());
        }
        Some(hold) => {
            protections::end_at(declared, hold, until, builder.context)?;
            hold.reason.clone_from(&suspension.reason);
            hold.until = until;
            hold.placed_by = protections::placed_by(declared, hold, placed_by);
            builder.writes.push(Write::UpdateHold(hold.clone()));
        }
        None => {
            let hold = Hold {
                hold_id: builder.context.hold_id(),
                held: Held::Tenant(builder.snapshot.tenant.tenant_id.clone()),
                kind: kind.to_owned(),
                reason: suspension.reason.clone(),
                placed_by,
                until,
                created_at: builder.context.now,
            };
            builder.writes.push(Write::InsertHold(hold.clone()));
            builder.snapshot.holds.push(hold);
            builder.snapshot.holds.sort_by(|a, b| a.kind.cmp(&b.kind));
        }
    }
    let mut payload = json!({"hold": kind});
    if let Some(until) = until {
        payload["until"] = json!(until);
    }
    builder.event(EventType::HoldPlaced, payload, json!({"reason": suspension.reason}));
    make_way(&mut builder);
    builder.facts_changed = true;
    builder.cause = Some("hold");
    builder.finish(Vec::new())
}

impl Suspension {
    /// Reads the parameters from `document`. `until` must be after `now`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all violations.
    pub fn read(declared: &Declared, document: &Value, now: Timestamp) -> Result<Self, Error> {
        document::read(document, |fields, findings| {
            let said = Self {
                hold: fields.text("hold", 64, findings),
                reason: fields.text("reason", MAX_REASON_LENGTH_BYTES, findings),
                until: fields.time("until", findings),
            };
            said.check(declared, now, findings);
            Some(said)
        })
    }

    /// Returns the kind of hold.
    pub(super) fn kind(&self) -> &str {
        self.hold.as_deref().unwrap_or(DEFAULT_HOLD)
    }

    /// Checks parameters that were not read from a document.
    pub(super) fn checked(&self, declared: &Declared, now: Timestamp) -> Result<(), Error> {
        let mut findings = Findings::default();
        self.check(declared, now, &mut findings);
        findings.finish(Some(())).map(drop)
    }

    fn check(&self, declared: &Declared, now: Timestamp, findings: &mut Findings) {
        let at = |name: &str| Pointer::root().key(name);
        if !declared.holds.contains_key(self.kind()) {
            let known: Vec<_> = declared.holds.keys().map(String::as_str).collect();
            findings.bad(&at("hold"), "undeclared_hold", one_of(self.kind(), &known));
        }
        if self.reason.as_ref().is_some_and(|reason| reason.len() > MAX_REASON_LENGTH_BYTES || reason.contains('\0')) {
            let message = format!("must be at most {MAX_REASON_LENGTH_BYTES} bytes, without U+0000");
            findings.bad(&at("reason"), "out_of_range", message);
        }
        if self.until.is_some_and(|until| cut(until) <= now) {
            findings.bad(&at("until"), "out_of_range", "must be in the future");
        }
    }
}

/// Releases a hold: the named kind, or [`DEFAULT_HOLD`]. A Draft without holds and without a desired state is activated
/// once. If there is no hold to release and the last job failed, its action is requested again.
///
/// # Errors
/// [`Error::Forbidden`] if the actor may not release the hold; [`Error::NotNow`] if it does not exist, or if other holds or the manifest keep the tenant out of
/// service.
pub fn activate(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    hold: Option<&str>,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    not_purged(snapshot)?;
    let kind = hold.unwrap_or(DEFAULT_HOLD);
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    if let Some(index) = builder.snapshot.holds.iter().position(|hold| hold.kind == kind) {
        let released = builder.snapshot.holds.remove(index);
        protections::release(declared, &released, builder.context)?;
        builder.writes.push(Write::DeleteHold(released.hold_id));
        builder.event(EventType::HoldReleased, json!({"hold": kind}), Value::Null);
        builder.facts_changed = true;
        builder.cause = Some("hold");
        return builder.finish(Vec::new());
    }
    if let Some(kind) = hold {
        return Err(Error::NotNow(format!("the tenant itself has no hold {kind:?}: {}", existing_holds(snapshot))));
    }
    if suspending_holds(declared, snapshot).next().is_some() {
        return Err(Error::NotNow(format!("name the hold to release: {}", existing_holds(snapshot))));
    }
    if snapshot.tenant.terms.desired_state == Some(DesiredState::Suspended) {
        return Err(Error::NotNow("the manifest has desired_state: Suspended; set it to Active there".to_owned()));
    }
    if let Some(next) = next_action(Situation::of(declared, snapshot)) {
        builder.queue(next, "request");
    } else if snapshot.tenant.facts.state != State::Active && !under_way(snapshot) {
        check(declared, snapshot, Action::Activate, builder.context.now)?;
        builder.queue(Action::Activate, "request");
    }
    builder.finish(Vec::new())
}

/// Whether the open job of a tenant, or the next action after it, puts the tenant in service.
fn under_way(snapshot: &TenantSnapshot) -> bool {
    let desired = snapshot.tenant.terms.desired_state == Some(DesiredState::Active)
        || snapshot.tenant.facts.state == State::Suspended;
    snapshot.open_job.as_ref().is_some_and(|job| match job.action {
        Action::Activate => true,
        Action::Create | Action::Update | Action::Suspend => desired,
        Action::Delete | Action::Undelete | Action::Purge => false,
    })
}

fn existing_holds(snapshot: &TenantSnapshot) -> String {
    let holds: Vec<_> = snapshot.all_holds().map(Hold::described).collect();
    match holds.as_slice() {
        [] => "there are no holds".to_owned(),
        holds => format!("the holds are {}", holds.join(", ")),
    }
}

/// Requests `delete`, `undelete` or `purge`. An undeleted tenant without a suspending hold gets an `operator` hold, so
/// that it stays suspended until a caller activates it.
///
/// # Errors
/// [`Error::NotNow`] with all conditions that are not met.
pub fn request(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    action: Action,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    check(declared, snapshot, action, context.now)?;
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    builder.queue(action, "request");
    let stands = |kind: &str| snapshot.holds.iter().any(|hold| hold.kind == kind);
    if action == Action::Undelete && suspending_holds(declared, snapshot).next().is_none() && !stands(DEFAULT_HOLD) {
        let hold = Hold {
            hold_id: builder.context.hold_id(),
            held: Held::Tenant(builder.tenant_id()),
            kind: DEFAULT_HOLD.to_owned(),
            reason: Some("undeleted".to_owned()),
            placed_by: builder.context.actor.to_string(),
            until: None,
            created_at: builder.context.now,
        };
        builder.event(EventType::HoldPlaced, json!({"hold": DEFAULT_HOLD}), Value::Null);
        builder.writes.push(Write::InsertHold(hold.clone()));
        builder.snapshot.holds.push(hold);
        builder.snapshot.holds.sort_by(|a, b| a.kind.cmp(&b.kind));
    }
    builder.finish(Vec::new())
}

/// Requests a purge regardless of the end of the grace period.
///
/// # Errors
/// [`Error::Forbidden`] if the grace period has not ended and the actor may not purge before; [`Error::NotNow`] with
/// all other conditions that are not met.
pub fn purge_early(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let ends_at = snapshot.tenant.facts.purge_after.filter(|at| *at > context.now);
    let Some(ends_at) = ends_at else { return request(declared, snapshot, Action::Purge, context) };
    protections::require(Operation::PurgeEarly, &format!("the grace period ends at {ends_at}"), context)?;
    check(declared, snapshot, Action::Purge, ends_at)?;
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    builder.queue(Action::Purge, "early request");
    builder.finish(Vec::new())
}

fn not_purged(snapshot: &TenantSnapshot) -> Result<(), Error> {
    match snapshot.tenant.facts.purged_at {
        Some(_) => Err(Error::purged(&snapshot.tenant.tenant_id)),
        None => Ok(()),
    }
}
