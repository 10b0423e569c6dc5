//! Holds placed and released, and transitions asked for.

use super::Decision;
use super::outcome::make_way;
use super::turn::Turn;
use crate::changes::Write;
use crate::declared::Declared;
use crate::document::{self, Findings, one_of};
use crate::error::Error;
use crate::event::EventType;
use crate::hold::{Held, Hold, MAX_REASON_LENGTH_BYTES};
use crate::json::Pointer;
use crate::lifecycle::{Action, Situation, check, next_action, suspending_holds};
use crate::moment::{Moment, cut};
use crate::tenant::{Dossier, State, Wish};
use jiff::Timestamp;
use serde_json::{Value, json};

/// The hold that `suspend` places and `activate` releases when they name none.
pub const DEFAULT_HOLD: &str = "operator";

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
    dossier: &Dossier,
    suspension: &Suspension,
    moment: &mut Moment,
) -> Result<Decision, Error> {
    not_purged(dossier)?;
    suspension.checked(declared, moment.now)?;
    let kind = suspension.kind();
    let purge = dossier.open_job.as_ref().filter(|job| job.action == Action::Purge);
    if let Some(job) = purge.filter(|_| declared.keeps_data(kind)) {
        return Err(Error::NotNow(format!("hold {kind} cannot keep data that job {} (purge) destroys", job.job_id)));
    }
    let mut turn = Turn::new(declared, dossier, moment);
    let until = suspension.until.map(cut);
    let placed_by = turn.moment.actor.to_string();
    match turn.dossier.holds.iter_mut().find(|hold| hold.kind == kind) {
        Some(hold) if hold.reason == suspension.reason && hold.until == until => {
            make_way(&mut turn);
            turn.cause = Some("request");
            return turn.finish(Vec::new());
        }
        Some(hold) => {
            hold.reason.clone_from(&suspension.reason);
            hold.until = until;
            hold.placed_by = placed_by;
            turn.writes.push(Write::UpdateHold(hold.clone()));
        }
        None => {
            let hold = Hold {
                hold_id: turn.moment.hold_id(),
                held: Held::Tenant(turn.dossier.tenant.tenant_id.clone()),
                kind: kind.to_owned(),
                reason: suspension.reason.clone(),
                placed_by,
                until,
                created_at: turn.moment.now,
            };
            turn.writes.push(Write::InsertHold(hold.clone()));
            turn.dossier.holds.push(hold);
            turn.dossier.holds.sort_by(|a, b| a.kind.cmp(&b.kind));
        }
    }
    let mut payload = json!({"hold": kind});
    if let Some(until) = until {
        payload["until"] = json!(until);
    }
    turn.event(EventType::HoldPlaced, payload, json!({"reason": suspension.reason}));
    make_way(&mut turn);
    turn.facts_changed = true;
    turn.cause = Some("hold");
    turn.finish(Vec::new())
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
    dossier: &Dossier,
    hold: Option<&str>,
    moment: &mut Moment,
) -> Result<Decision, Error> {
    not_purged(dossier)?;
    let kind = hold.unwrap_or(DEFAULT_HOLD);
    let mut turn = Turn::new(declared, dossier, moment);
    if let Some(index) = turn.dossier.holds.iter().position(|hold| hold.kind == kind) {
        let released = turn.dossier.holds.remove(index);
        turn.writes.push(Write::DeleteHold(released.hold_id));
        turn.event(EventType::HoldReleased, json!({"hold": kind}), Value::Null);
        turn.facts_changed = true;
        turn.cause = Some("hold");
        return turn.finish(Vec::new());
    }
    if let Some(kind) = hold {
        return Err(Error::NotNow(format!("there is no hold {kind:?} on the tenant itself{}", standing(dossier))));
    }
    if suspending_holds(declared, dossier).next().is_some() {
        return Err(Error::NotNow(format!("name the hold to release{}", standing(dossier))));
    }
    if dossier.tenant.desired_state == Some(Wish::Suspended) {
        return Err(Error::NotNow("the manifest wishes Suspended: set desired_state: Active there".to_owned()));
    }
    if let Some(next) = next_action(Situation::of(declared, dossier)) {
        turn.queue(next, "request");
    } else if dossier.tenant.state != State::Active && !under_way(dossier) {
        check(declared, dossier, Action::Activate, turn.moment.now)?;
        turn.queue(Action::Activate, "request");
    }
    turn.finish(Vec::new())
}

/// Whether a tenant that nothing keeps out of service gets there with its open job, or of itself after it.
fn under_way(dossier: &Dossier) -> bool {
    let wished = dossier.tenant.desired_state == Some(Wish::Active) || dossier.tenant.state == State::Suspended;
    dossier.open_job.as_ref().is_some_and(|job| match job.action {
        Action::Activate => true,
        Action::Create | Action::Update | Action::Suspend => wished,
        Action::Delete | Action::Undelete | Action::Purge => false,
    })
}

fn standing(dossier: &Dossier) -> String {
    let holds: Vec<_> = dossier.all_holds().map(Hold::described).collect();
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
pub fn request(declared: &Declared, dossier: &Dossier, action: Action, moment: &mut Moment) -> Result<Decision, Error> {
    check(declared, dossier, action, moment.now)?;
    let mut turn = Turn::new(declared, dossier, moment);
    turn.queue(action, "request");
    let stands = |kind: &str| dossier.holds.iter().any(|hold| hold.kind == kind);
    if action == Action::Undelete && suspending_holds(declared, dossier).next().is_none() && !stands(DEFAULT_HOLD) {
        let hold = Hold {
            hold_id: turn.moment.hold_id(),
            held: Held::Tenant(turn.tenant_id()),
            kind: DEFAULT_HOLD.to_owned(),
            reason: Some("undeleted".to_owned()),
            placed_by: turn.moment.actor.to_string(),
            until: None,
            created_at: turn.moment.now,
        };
        turn.event(EventType::HoldPlaced, json!({"hold": DEFAULT_HOLD}), Value::Null);
        turn.writes.push(Write::InsertHold(hold.clone()));
        turn.dossier.holds.push(hold);
        turn.dossier.holds.sort_by(|a, b| a.kind.cmp(&b.kind));
    }
    turn.finish(Vec::new())
}

fn not_purged(dossier: &Dossier) -> Result<(), Error> {
    match dossier.tenant.purged_at {
        Some(_) => Err(Error::NotNow(format!("{} is purged: nothing can be done", dossier.tenant.tenant_id))),
        None => Ok(()),
    }
}
