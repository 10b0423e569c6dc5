//! The state table, and the rule that decides the next action of a tenant.

use crate::action::Action;
use crate::declared::Declared;
use crate::environment::Environment;
use crate::error::Error;
use crate::hold::Hold;
use crate::ids::EnvironmentId;
use crate::placement::EnvironmentPlacement;
use crate::snapshot::TenantSnapshot;
use crate::tenant::{DesiredState, State};
use jiff::Timestamp;

/// Condition that must hold before an action can be requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// `deletion_protection` is off.
    Unprotected,
    /// No hold keeps the data of the tenant.
    DataNotHeld,
    /// No hold keeps the tenant suspended.
    NotHeld,
    /// The grace period after archiving has ended.
    GraceOver,
    /// The tenant is provisioned: its `create` job succeeded, or, if it was deleted before that, the `update` job after
    /// its undeletion.
    Provisioned,
    /// No purge has begun to destroy data.
    NothingDestroyed,
}

/// One line of the state table.
#[derive(Debug, Clone, Copy)]
pub struct Transition {
    /// State before the action.
    pub from: State,
    /// The action.
    pub action: Action,
    /// State after the action.
    pub to: State,
    /// Conditions that must hold.
    pub conditions: &'static [Condition],
}

const fn line(from: State, action: Action, to: State, conditions: &'static [Condition]) -> Transition {
    Transition { from, action, to, conditions }
}

/// The state table. An action without a line for the current state is refused.
pub const TABLE: &[Transition] = {
    use Action::{Activate, Create, Delete, Purge, Suspend, Undelete, Update};
    use Condition::{DataNotHeld, GraceOver, NotHeld, NothingDestroyed, Provisioned, Unprotected};
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
        line(Archived, Undelete, Suspended, &[NothingDestroyed]),
        line(Archived, Purge, Archived, &[DataNotHeld, GraceOver]),
    ]
};

/// Input of [`next_action`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Situation {
    /// Current state.
    pub state: State,
    /// Desired state in the manifest.
    pub desired: Option<DesiredState>,
    /// Whether a hold keeps the tenant suspended.
    pub held: bool,
    /// Whether the tenant is provisioned: its `create` job succeeded.
    pub provisioned: bool,
    /// Whether an environment is not provisioned yet or was given other settings, or a removed one is not closed yet.
    pub environments_behind: bool,
    /// Whether a job is queued or running.
    pub open_job: bool,
}

impl Situation {
    /// Reads the situation of a tenant from its snapshot.
    pub fn of(declared: &Declared, snapshot: &TenantSnapshot) -> Self {
        Self {
            state: snapshot.tenant.facts.state,
            desired: snapshot.tenant.terms.desired_state,
            held: suspending_holds(declared, snapshot).next().is_some(),
            provisioned: snapshot.tenant.facts.provisioned_at.is_some(),
            environments_behind: snapshot.environments.iter().any(|environment| snapshot.is_behind(environment))
                || snapshot.removed_placements().any(EnvironmentPlacement::is_left_open),
            open_job: snapshot.open_job.is_some(),
        }
    }

    /// The same without the places of which a failed or cancelled job has left in doubt what they were given.
    pub fn without_doubt(declared: &Declared, snapshot: &TenantSnapshot) -> Self {
        let is_known = |id: &EnvironmentId| snapshot.placement(id).is_none_or(|placement| placement.settings.is_some());
        let is_behind = |one: &Environment| match one.provisioned_at {
            None => true,
            Some(_) => is_known(&one.env_id) && snapshot.is_behind(one),
        };
        let environments_behind = snapshot.environments.iter().any(is_behind)
            || snapshot.removed_placements().any(EnvironmentPlacement::is_left_open);
        Self { environments_behind, ..Self::of(declared, snapshot) }
    }
}

/// Returns the holds that keep a tenant suspended.
pub fn suspending_holds<'a>(declared: &'a Declared, snapshot: &'a TenantSnapshot) -> impl Iterator<Item = &'a Hold> {
    snapshot.all_holds().filter(|hold| declared.suspends(&hold.kind))
}

/// Returns the reason why a purge must not destroy the data of the tenant; `None` for all other actions. A purge cannot
/// be requested while a hold keeps the data, and no such hold can be placed on a tenant during its purge. But a hold
/// can be placed on its organization at any time, because that does not check the jobs of its tenants.
pub fn kept_from(declared: &Declared, snapshot: &TenantSnapshot, action: Action) -> Option<String> {
    let holds = || described(snapshot.all_holds().filter(|hold| declared.keeps_data(&hold.kind)));
    (action == Action::Purge).then(holds)?.map(|holds| format!("the data is held by {holds}"))
}

/// Formats holds for messages; `None` if there are none.
fn described<'a>(holds: impl Iterator<Item = &'a Hold>) -> Option<String> {
    let holds: Vec<_> = holds.map(Hold::described).collect();
    (!holds.is_empty()).then(|| holds.join(", "))
}

/// Decides which action the server takes next by itself. It is applied in every commit that changes its input.
///
/// Without a desired state, a Draft stays a Draft, and a Suspended tenant without a hold is activated: the hold that
/// suspended it was released. The order is: suspend, then provision, then activate. It also applies to a tenant that
/// was deleted as a Draft, before its creation succeeded, and then undeleted.
pub fn next_action(now: Situation) -> Option<Action> {
    let wants_service = now.desired != Some(DesiredState::Suspended) && !now.held;
    if now.open_job {
        return None;
    }
    match now.state {
        State::Archived => None,
        State::Draft if !now.provisioned => Some(Action::Create),
        State::Active if !wants_service => Some(Action::Suspend),
        State::Draft | State::Active | State::Suspended if now.environments_behind || !now.provisioned => {
            Some(Action::Update)
        }
        State::Draft if now.desired == Some(DesiredState::Active) && wants_service => Some(Action::Activate),
        State::Suspended if wants_service => Some(Action::Activate),
        State::Draft | State::Active | State::Suspended => None,
    }
}

/// Returns what keeps a tenant from its desired state, for people: a job, the archive, holds, or an action that failed.
/// `None` if the tenant is in its desired state, or is purged.
pub fn waits_for(declared: &Declared, snapshot: &TenantSnapshot) -> Option<String> {
    if let Some(job) = &snapshot.open_job {
        // No more than this: what else changes of a job does not change the ETag of its tenant.
        return Some(format!("job {} ({})", job.job_id, job.action));
    }
    if snapshot.tenant.facts.state == State::Archived {
        let comes_back = snapshot.tenant.terms.desired_state == Some(DesiredState::Active)
            && snapshot.tenant.facts.purged_at.is_none();
        return comes_back.then(|| "undelete it first".to_owned());
    }
    let kept_from_service = match (snapshot.tenant.facts.state, snapshot.tenant.terms.desired_state) {
        (State::Draft, desired) => desired == Some(DesiredState::Active),
        (State::Suspended, desired) => desired != Some(DesiredState::Suspended),
        (State::Active | State::Archived, _) => false,
    };
    if let Some(holds) = described(suspending_holds(declared, snapshot)).filter(|_| kept_from_service) {
        return Some(format!("held by {holds}"));
    }
    let failed = |action| format!("{action}, which failed last time: see the error of its last job");
    let next = next_action(Situation::without_doubt(declared, snapshot));
    next.or_else(|| next_action(Situation::of(declared, snapshot))).map(failed)
}

/// Checks whether `action` can be requested at `now`.
///
/// # Errors
/// [`Error::NotNow`] with all conditions that are not met, and what to do.
pub fn check(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    action: Action,
    now: Timestamp,
) -> Result<&'static Transition, Error> {
    let tenant = &snapshot.tenant;
    if tenant.facts.purged_at.is_some() {
        return Err(Error::purged(&tenant.tenant_id));
    }
    let Some(transition) = TABLE.iter().find(|line| line.from == tenant.facts.state && line.action == action) else {
        let from: Vec<_> = TABLE.iter().filter(|line| line.action == action).map(|line| line.from.as_str()).collect();
        let need = from.join(" or ");
        return Err(Error::NotNow(format!(
            "{} is {}: {action} requires a tenant that is {need}",
            tenant.tenant_id, tenant.facts.state
        )));
    };
    if let Some(job) = &snapshot.open_job {
        return Err(Error::NotNow(format!("job {} ({}) is {}: wait until it ends", job.job_id, job.action, job.state)));
    }
    let unmet: Vec<_> = transition.conditions.iter().filter_map(|c| c.unmet(declared, snapshot, now)).collect();
    if unmet.is_empty() { Ok(transition) } else { Err(Error::NotNow(unmet.join("; "))) }
}

impl Condition {
    /// Returns the reason why the condition is not met; `None` if it is met.
    fn unmet(self, declared: &Declared, snapshot: &TenantSnapshot, now: Timestamp) -> Option<String> {
        let tenant = &snapshot.tenant;
        match self {
            Self::Unprotected => tenant
                .terms
                .deletion_protection
                .then(|| "deletion_protection is on: turn it off in the manifest first".to_owned()),
            Self::DataNotHeld => {
                kept_from(declared, snapshot, Action::Purge).map(|held| format!("{held}: release the hold first"))
            }
            Self::NotHeld => described(suspending_holds(declared, snapshot))
                .map(|holds| format!("the tenant is held by {holds}: release the hold first")),
            Self::GraceOver => match tenant.facts.purge_after {
                Some(at) if now >= at => None,
                Some(at) => Some(format!("the grace period has not ended: wait until {at}")),
                None => Some("the tenant has no grace period: delete it first".to_owned()),
            },
            Self::Provisioned => tenant
                .facts
                .provisioned_at
                .is_none()
                .then(|| "the tenant is not provisioned: see the error of its last job".to_owned()),
            Self::NothingDestroyed => {
                let destroyed = snapshot.placements.iter().find(|placement| placement.destroying_at.is_some())?;
                let name = &destroyed.name;
                Some(format!("a purge has begun to destroy the data of environment {name}: only the purge can go on"))
            }
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
                        flags().flat_map(move |environments_behind| {
                            flags().map(move |open_job| Situation {
                                state,
                                desired,
                                held,
                                provisioned,
                                environments_behind,
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
    fn must_come_to_rest_in_the_desired_state() {
        for mut situation in every_situation().filter(|s| !s.open_job && s.state != State::Archived) {
            for _ in 0..6 {
                let Some(action) = next_action(situation) else { break };
                let line = TABLE.iter().find(|line| line.from == situation.state && line.action == action);
                situation.state = line.expect("a line").to;
                situation.provisioned |= matches!(action, Action::Create | Action::Update);
                situation.environments_behind &= !matches!(action, Action::Create | Action::Update);
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
