//! Holds placed and released, and transitions asked for.

use super::Decision;
use super::change_builder::ChangeBuilder;
use super::outcome::make_way;
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
use crate::snapshot::TenantSnapshot;
use crate::tenant::{DesiredState, State};
use jiff::Timestamp;
use serde_json::{Value, json};

/// What `suspend` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Suspension {
    /// A declared kind of hold; [`DEFAULT_HOLD`] when it is left out.
    pub hold: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Until when; then it is released of itself.
    pub until: Option<Timestamp>,
}

/// Places a hold, or changes the reason and end of one that stands. Said again, it asks again for what a job failed at. A
/// job that only waits, and so keeps the tenant in service, is cancelled.
///
/// # Errors
/// [`Error::Invalid`] for an undeclared kind, a reason too long, an end in the past; [`Error::NotNow`] for a tombstone,
/// and for a hold that is to keep data which a purge is destroying.
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
        return Err(Error::NotNow(format!("hold {kind} cannot keep data that job {} (purge) destroys", job.job_id)));
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
            hold.reason.clone_from(&suspension.reason);
            hold.until = until;
            hold.placed_by = placed_by;
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
    /// What `document` says. A time is compared with `now`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all that is wrong with it.
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

    /// Which kind of hold.
    pub(super) fn kind(&self) -> &str {
        self.hold.as_deref().unwrap_or(DEFAULT_HOLD)
    }

    /// That it is well said, where nobody has read it.
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
            let message = format!("at most {MAX_REASON_LENGTH_BYTES} bytes, without U+0000");
            findings.bad(&at("reason"), "out_of_range", message);
        }
        if self.until.is_some_and(|until| cut(until) <= now) {
            findings.bad(&at("until"), "out_of_range", "must be in the future");
        }
    }
}

/// Releases a hold: the named one, or [`DEFAULT_HOLD`]. A Draft that nothing holds and whose manifest has no wish is
/// activated once. Where nothing stands in the way and a job failed, that job is asked for again.
///
/// # Errors
/// [`Error::NotNow`] when there is no such hold, when others or the manifest keep the tenant out of service.
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
        builder.writes.push(Write::DeleteHold(released.hold_id));
        builder.event(EventType::HoldReleased, json!({"hold": kind}), Value::Null);
        builder.facts_changed = true;
        builder.cause = Some("hold");
        return builder.finish(Vec::new());
    }
    if let Some(kind) = hold {
        return Err(Error::NotNow(format!("there is no hold {kind:?} on the tenant itself{}", standing(snapshot))));
    }
    if suspending_holds(declared, snapshot).next().is_some() {
        return Err(Error::NotNow(format!("name the hold to release{}", standing(snapshot))));
    }
    if snapshot.tenant.terms.desired_state == Some(DesiredState::Suspended) {
        return Err(Error::NotNow("the manifest wishes Suspended: set desired_state: Active there".to_owned()));
    }
    if let Some(next) = next_action(Situation::of(declared, snapshot)) {
        builder.queue(next, "request");
    } else if snapshot.tenant.facts.state != State::Active && !under_way(snapshot) {
        check(declared, snapshot, Action::Activate, builder.context.now)?;
        builder.queue(Action::Activate, "request");
    }
    builder.finish(Vec::new())
}

/// Whether a tenant that nothing keeps out of service gets there with its open job, or of itself after it.
fn under_way(snapshot: &TenantSnapshot) -> bool {
    let desired = snapshot.tenant.terms.desired_state == Some(DesiredState::Active)
        || snapshot.tenant.facts.state == State::Suspended;
    snapshot.open_job.as_ref().is_some_and(|job| match job.action {
        Action::Activate => true,
        Action::Create | Action::Update | Action::Suspend => desired,
        Action::Delete | Action::Undelete | Action::Purge => false,
    })
}

fn standing(snapshot: &TenantSnapshot) -> String {
    let holds: Vec<_> = snapshot.all_holds().map(Hold::described).collect();
    match holds.as_slice() {
        [] => "; none stands".to_owned(),
        holds => format!("; there stands {}", holds.join(", ")),
    }
}

/// Asks for `delete`, `undelete` or `purge`. An undeleted tenant that no hold keeps suspended gets an operator's hold:
/// it stays suspended until somebody activates it.
///
/// # Errors
/// [`Error::NotNow`] with every condition that is not met.
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

fn not_purged(snapshot: &TenantSnapshot) -> Result<(), Error> {
    match snapshot.tenant.facts.purged_at {
        Some(_) => Err(Error::NotNow(format!("{} is purged: nothing can be done", snapshot.tenant.tenant_id))),
        None => Ok(()),
    }
}
