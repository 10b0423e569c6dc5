//! The tenant snapshot: the row of a tenant and all rows that belong to it.

use crate::environment::Environment;
use crate::hold::Hold;
use crate::ids::Alias;
use crate::job::Job;
use crate::tenant::Tenant;
use crate::webhook::Webhook;

/// Everything that a decision on a tenant needs, read at one point in time.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSnapshot {
    /// Row of the tenant.
    pub tenant: Tenant,
    /// Environments, by name.
    pub environments: Vec<Environment>,
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
    /// Returns the holds on the tenant itself, then those on its organization.
    pub fn all_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter().chain(&self.organization_holds)
    }
}
