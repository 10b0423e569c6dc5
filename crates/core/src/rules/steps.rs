//! The steps of a job.

use crate::action::Action;
use crate::environment::Environment;
use crate::job::{Job, Step, Target, Verb};
use crate::placement::EnvironmentPlacement;
use crate::snapshot::TenantSnapshot;

/// Returns the steps of `action` on a tenant: one for each environment that the action affects, in order, then those for
/// places of removed environments, then [`Verb::Record`]. Environments that are provisioned are not provisioned again,
/// because a failed creation can have provisioned some.
pub(super) fn steps<'a>(
    action: Action,
    snapshot: &TenantSnapshot,
    environments: impl IntoIterator<Item = &'a Environment>,
) -> Vec<Step> {
    let verb = |environment: &Environment| match action {
        Action::Create | Action::Update if environment.provisioned_at.is_none() => Some(Verb::Provision),
        Action::Create | Action::Update => snapshot.is_behind(environment).then_some(Verb::Update),
        Action::Activate => Some(Verb::Open),
        Action::Suspend => Some(Verb::Close),
        Action::Delete => Some(Verb::Detach),
        Action::Undelete => Some(Verb::Attach),
        Action::Purge => Some(Verb::Destroy),
    };
    let removed = |placement: &EnvironmentPlacement| match action {
        Action::Purge => Some(Verb::Destroy),
        Action::Create | Action::Update | Action::Delete => placement.is_left_open().then_some(Verb::Detach),
        Action::Activate | Action::Suspend | Action::Undelete => None,
    };
    let of_environment = |one: &Environment| Some(Step::new(verb(one)?, Target::Environment(one.name.clone())));
    let of_removed = |one: &EnvironmentPlacement| Some(Step::new(removed(one)?, Target::Removed(one.env_id.clone())));
    let steps = environments.into_iter().filter_map(of_environment);
    let steps = steps.chain(snapshot.removed_placements().filter_map(of_removed));
    steps.chain([Step::new(Verb::Record, Target::Tenant)]).collect()
}

/// Returns the steps that undo an activation: they close each place that was made.
pub(super) fn undo_steps(snapshot: &TenantSnapshot) -> Vec<Step> {
    let is_made = |one: &&Environment| snapshot.placement(&one.env_id).is_some_and(|place| place.made_at.is_some());
    let made = snapshot.environments.iter().filter(is_made);
    let steps = made.map(|one| Step::new(Verb::Close, Target::Environment(one.name.clone())));
    steps.chain([Step::new(Verb::Record, Target::Tenant)]).collect()
}

/// Whether the job undoes an activation. Otherwise only a suspension closes an environment.
pub(super) fn is_undo(job: &Job) -> bool {
    job.action == Action::Update && job.steps.iter().any(|step| step.verb == Verb::Close)
}
