//! The tenant snapshot: the row of a tenant and all rows that belong to it.

use crate::environment::Environment;
use crate::hold::Hold;
use crate::ids::{Alias, EnvironmentId};
use crate::job::Job;
use crate::placement::{EnvironmentPlacement, Intent};
use crate::tenant::Tenant;
use crate::webhook::Webhook;

/// Everything that a decision on a tenant needs, read at one point in time.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSnapshot {
    /// Row of the tenant.
    pub tenant: Tenant,
    /// Environments, by name.
    pub environments: Vec<Environment>,
    /// Places of its environments, also of removed ones, by the ids of the environments.
    pub placements: Vec<EnvironmentPlacement>,
    /// Aliases, sorted.
    pub aliases: Vec<Alias>,
    /// Webhooks, by name.
    pub webhooks: Vec<Webhook>,
    /// Holds on the tenant itself, by kind.
    pub holds: Vec<Hold>,
    /// Holds on its organization, by kind.
    pub organization_holds: Vec<Hold>,
    /// Lifecycle job that is queued or running.
    pub open_job: Option<Job>,
}

impl TenantSnapshot {
    /// Whether an `update` job has something to do for the environment: it is not provisioned yet, or its place was given
    /// other settings, or that is not known.
    pub fn is_behind(&self, environment: &Environment) -> bool {
        let terms = &self.tenant.terms;
        environment.provisioned_at.is_none()
            || self.placement(&environment.env_id).is_some_and(|place| place.is_behind(environment, terms))
    }

    /// Returns the places of environments that are not in the manifest any more.
    pub fn removed_placements(&self) -> impl Iterator<Item = &EnvironmentPlacement> {
        let is_there = |placement: &EnvironmentPlacement| {
            self.environments.iter().any(|environment| environment.env_id == placement.env_id)
        };
        self.placements.iter().filter(move |placement| !is_there(placement))
    }

    /// Returns the place that was chosen for an environment.
    pub fn placement(&self, env_id: &EnvironmentId) -> Option<&EnvironmentPlacement> {
        self.placements.iter().find(|placement| placement.env_id == *env_id)
    }

    /// Whether the record has what a step is about to do to the place of an environment.
    pub fn is_announced(&self, env_id: &EnvironmentId, intent: &Intent) -> bool {
        self.placement(env_id).is_some_and(|placement| match intent {
            Intent::Make(..) => true,
            Intent::Destroy => placement.destroying_at.is_some(),
        })
    }

    /// Returns the holds on the tenant itself, then those on its organization.
    pub fn all_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter().chain(&self.organization_holds)
    }
}
