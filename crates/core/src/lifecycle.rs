//! The state table, and the one rule that says what happens next.

use crate::action::Action;
use crate::declared::Declared;
use crate::error::Error;
use crate::hold::Hold;
use crate::snapshot::TenantSnapshot;
use crate::tenant::{DesiredState, State};
use jiff::Timestamp;

/// What must be true before an action may be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `deletion_protection` is off.
    Unprotected,
    /// No hold keeps the data.
    DataNotHeld,
    /// No hold keeps it suspended.
    NotHeld,
    /// The grace period after archiving is over.
    GraceOver,
    /// Its `create` job ended well, or, for one that was deleted before, the `update` job after its undeletion.
    Provisioned,
}

/// One line of the state table.
#[derive(Debug, Clone, Copy)]
pub struct Transition {
    /// From which state.
    pub from: State,
    /// By which action.
    pub action: Action,
    /// To which state.
    pub to: State,
    /// Under which conditions.
    pub conditions: &'static [Condition],
}

const fn line(from: State, action: Action, to: State, conditions: &'static [Condition]) -> Transition {
    Transition { from, action, to, conditions }
}

/// The state table: an action that has no line from a state is refused there.
pub const TABLE: &[Transition] = {
    use Action::{Activate, Create, Delete, Purge, Suspend, Undelete, Update};
    use Condition::{DataNotHeld, GraceOver, NotHeld, Provisioned, Unprotected};
    use State::{Active, Archived, Draft, Suspended};
    &[
        line(Draft, Create, Draft, &[]),
        line(Draft, Activate, Active, &[Provisioned, NotHeld]),
        line(Draft, Delete, Archived, &[Unprotected, DataNotHeld]),
        line(Draft, Update, Draft, &[Provisioned]),
        line(Active, Suspend, Suspended, &[]),
        line(Active, Update, Active, &[]),
        line(Suspended, Activate, Active, &[Provisioned, NotHeld]),
        line(Suspended, Update, Suspended, &[]),
        line(Suspended, Delete, Archived, &[Unprotected, DataNotHeld]),
        line(Archived, Undelete, Suspended, &[]),
        line(Archived, Purge, Archived, &[DataNotHeld, GraceOver]),
    ]
};

/// All that [`next_action`] looks at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// What is.
    pub state: State,
    /// What is wished.
    pub desired: Option<DesiredState>,
    /// Whether a hold keeps the tenant suspended.
    pub held: bool,
    /// Whether it was provisioned: its `create` job ended well.
    pub provisioned: bool,
    /// Whether an environment is not provisioned yet.
    pub unprovisioned_environment: bool,
    /// Whether a job is queued or running.
    pub open_job: bool,
}

impl Situation {
    /// The situation of a tenant.
    pub fn of(declared: &Declared, snapshot: &TenantSnapshot) -> Self {
        Self {
            state: snapshot.tenant.facts.state,
            desired: snapshot.tenant.terms.desired_state,
            held: suspending_holds(declared, snapshot).next().is_some(),
            provisioned: snapshot.tenant.facts.provisioned_at.is_some(),
            unprovisioned_environment: snapshot.environments.iter().any(|e| e.provisioned_at.is_none()),
            open_job: snapshot.open_job.is_some(),
        }
    }
}

/// The holds that keep a tenant suspended.
pub fn suspending_holds<'a>(declared: &'a Declared, snapshot: &'a TenantSnapshot) -> impl Iterator<Item = &'a Hold> {
    snapshot.all_holds().filter(|hold| declared.suspends(&hold.kind))
}

/// Why the data may not be destroyed that a job is about to destroy; `None` for every other job. A purge is not asked for
/// while a hold keeps the data, and none is placed on a tenant that is purged: but one may be placed on its organization,
/// which knows nothing of its tenants' jobs.
pub fn kept_from(declared: &Declared, snapshot: &TenantSnapshot, action: Action) -> Option<String> {
    let holds = || described(snapshot.all_holds().filter(|hold| declared.keeps_data(&hold.kind)));
    (action == Action::Purge).then(holds)?.map(|holds| format!("hold {holds} keeps its data"))
}

/// The holds as a sentence names them; `None` when there are none.
fn described<'a>(holds: impl Iterator<Item = &'a Hold>) -> Option<String> {
    let holds: Vec<_> = holds.map(Hold::described).collect();
    (!holds.is_empty()).then(|| holds.join(", "))
}

/// What happens next of itself: the one rule, applied in every commit that changes what it looks at.
///
/// Without a wish a tenant stays a Draft; one that is Suspended without a hold was suspended by a hold that is gone,
/// and goes back into service. Being out of service comes before anything else is provisioned, and provisioning before
/// being in service: also for a tenant that was deleted as a Draft, before its creation ended well, and undeleted.
pub fn next_action(now: Situation) -> Option<Action> {
    let wants_service = now.desired != Some(DesiredState::Suspended) && !now.held;
    if now.open_job {
        return None;
    }
    match now.state {
        State::Archived => None,
        State::Draft if !now.provisioned => Some(Action::Create),
        State::Active if !wants_service => Some(Action::Suspend),
        State::Draft | State::Active | State::Suspended if now.unprovisioned_environment || !now.provisioned => {
            Some(Action::Update)
        }
        State::Draft if now.desired == Some(DesiredState::Active) && wants_service => Some(Action::Activate),
        State::Suspended if wants_service => Some(Action::Activate),
        State::Draft | State::Active | State::Suspended => None,
    }
}

/// Why a tenant is not as it is wished, for people: a hold, a job, or its archiving; `None` when it is as wished. What is
/// purged waits for nothing.
pub fn waits_for(declared: &Declared, snapshot: &TenantSnapshot) -> Option<String> {
    if let Some(job) = &snapshot.open_job {
        let waiting = job.waiting_for.as_ref().map(|what| format!(", which waits for {what}")).unwrap_or_default();
        return Some(format!("job {} ({}, {}){waiting}", job.job_id, job.action, job.state));
    }
    if snapshot.tenant.facts.state == State::Archived {
        let comes_back = snapshot.tenant.terms.desired_state == Some(DesiredState::Active)
            && snapshot.tenant.facts.purged_at.is_none();
        return comes_back.then(|| "its undeletion".to_owned());
    }
    let holds: Vec<_> = suspending_holds(declared, snapshot).map(Hold::described).collect();
    let kept_from_service = match (snapshot.tenant.facts.state, snapshot.tenant.terms.desired_state) {
        (State::Draft, desired) => desired == Some(DesiredState::Active),
        (State::Suspended, desired) => desired != Some(DesiredState::Suspended),
        (State::Active | State::Archived, _) => false,
    };
    if kept_from_service && !holds.is_empty() {
        let plural = if holds.len() == 1 { "hold" } else { "holds" };
        return Some(format!("the release of {plural} {}", holds.join(", ")));
    }
    next_action(Situation::of(declared, snapshot)).map(|action| format!("{action}, whose last job failed"))
}

/// Whether `action` may be asked for now.
///
/// # Errors
/// [`Error::NotNow`] with every condition that is not met, and what to do.
pub fn check(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    action: Action,
    now: Timestamp,
) -> Result<&'static Transition, Error> {
    let tenant = &snapshot.tenant;
    if tenant.facts.purged_at.is_some() {
        return Err(Error::NotNow(format!(
            "{} is purged: its id stays taken, and nothing can be done",
            tenant.tenant_id
        )));
    }
    let Some(transition) = TABLE.iter().find(|line| line.from == tenant.facts.state && line.action == action) else {
        let from: Vec<_> = TABLE.iter().filter(|line| line.action == action).map(|line| line.from.as_str()).collect();
        let need = from.join(" or ");
        return Err(Error::NotNow(format!(
            "{action} needs a tenant that is {need}; {} is {}",
            tenant.tenant_id, tenant.facts.state
        )));
    };
    if let Some(job) = &snapshot.open_job {
        return Err(Error::NotNow(format!("job {} ({}) is {}: wait for its end", job.job_id, job.action, job.state)));
    }
    let unmet: Vec<_> = transition.conditions.iter().filter_map(|c| c.unmet(declared, snapshot, now)).collect();
    if unmet.is_empty() { Ok(transition) } else { Err(Error::NotNow(unmet.join("; "))) }
}

impl Condition {
    /// Why the condition is not met; `None` when it is.
    fn unmet(self, declared: &Declared, snapshot: &TenantSnapshot, now: Timestamp) -> Option<String> {
        let tenant = &snapshot.tenant;
        match self {
            Self::Unprotected => tenant
                .terms
                .deletion_protection
                .then(|| "deletion_protection is on: turn it off in the manifest first".to_owned()),
            Self::DataNotHeld => kept_from(declared, snapshot, Action::Purge),
            Self::NotHeld => described(suspending_holds(declared, snapshot))
                .map(|holds| format!("hold {holds} keeps it suspended: release it")),
            Self::GraceOver => match tenant.facts.purge_after {
                Some(at) if now >= at => None,
                Some(at) => Some(format!("its grace period ends at {at}")),
                None => Some("it has no grace period: it was not deleted".to_owned()),
            },
            Self::Provisioned => tenant
                .facts
                .provisioned_at
                .is_none()
                .then(|| "it is not provisioned: its last job has not ended well".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_situation() -> impl Iterator<Item = Situation> {
        let flags = || [false, true].into_iter();
        let states = State::WORDS.iter().map(|(_, state)| *state);
        states.flat_map(move |state| {
            [None, Some(DesiredState::Active), Some(DesiredState::Suspended)].into_iter().flat_map(move |desired| {
                flags().flat_map(move |held| {
                    flags().flat_map(move |provisioned| {
                        flags().flat_map(move |unprovisioned_environment| {
                            flags().map(move |open_job| Situation {
                                state,
                                desired,
                                held,
                                provisioned,
                                unprovisioned_environment,
                                open_job,
                            })
                        })
                    })
                })
            })
        })
    }

    #[test]
    fn must_name_only_actions_that_the_state_table_has() {
        for situation in every_situation() {
            if let Some(action) = next_action(situation) {
                let line = TABLE.iter().find(|line| line.from == situation.state && line.action == action);
                assert!(line.is_some(), "{situation:?} {action}");
                assert!(!situation.open_job, "{situation:?}");
            }
        }
    }

    #[test]
    fn must_come_to_rest_in_the_wished_state() {
        for mut situation in every_situation().filter(|s| !s.open_job && s.state != State::Archived) {
            for _ in 0..6 {
                let Some(action) = next_action(situation) else { break };
                let line = TABLE.iter().find(|line| line.from == situation.state && line.action == action);
                situation.state = line.expect("a line").to;
                situation.provisioned |= matches!(action, Action::Create | Action::Update);
                situation.unprovisioned_environment &= !matches!(action, Action::Create | Action::Update);
            }
            assert_eq!(next_action(situation), None, "{situation:?}");
            if situation.held || situation.desired == Some(DesiredState::Suspended) {
                assert_ne!(situation.state, State::Active, "{situation:?}");
            } else if situation.desired == Some(DesiredState::Active) {
                assert_eq!(situation.state, State::Active, "{situation:?}");
            }
        }
    }
}
