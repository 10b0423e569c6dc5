//! The snapshot of a tenant: its row and every row that belongs to it.

use crate::environment::Environment;
use crate::hold::Hold;
use crate::ids::Alias;
use crate::job::Job;
use crate::tenant::Tenant;
use crate::webhook::Webhook;

/// All that is kept beside a tenant's row and that a rule decides on.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSnapshot {
    /// The row.
    pub tenant: Tenant,
    /// By name.
    pub environments: Vec<Environment>,
    /// Sorted.
    pub aliases: Vec<Alias>,
    /// By name.
    pub webhooks: Vec<Webhook>,
    /// The tenant's own holds, by kind.
    pub holds: Vec<Hold>,
    /// Its organization's holds, by kind.
    pub organization_holds: Vec<Hold>,
    /// The one lifecycle job that is queued or running.
    pub open_job: Option<Job>,
}

impl TenantSnapshot {
    /// The tenant's own holds, then its organization's.
    pub fn all_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter().chain(&self.organization_holds)
    }
}
