//! The rules: each takes loaded rows and a command and returns [`crate::changes::Changes`].

pub mod change;
mod change_builder;
pub mod connection;
pub mod fields;
pub mod gates;
pub mod keys;
pub mod lifecycle;
pub mod log;
pub mod organization_holds;
pub mod organizations;
pub mod outcome;
pub mod placement_manifest;
pub mod placements;
mod protections;
mod redaction;
pub mod refusals;
pub mod register;
pub mod step;
mod steps;
pub mod webhook_failures;
pub mod webhook_requests;
mod webhook_rows;
pub mod webhooks;

use crate::changes::Changes;
use crate::snapshot::TenantSnapshot;
use crate::violation::Violation;

/// Decision on a tenant: the changes to commit, and the snapshot after the commit.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The snapshot after the change.
    pub snapshot: TenantSnapshot,
    /// Changes to commit; `None` if nothing changes.
    pub changes: Option<Changes>,
    /// Values that were accepted but look like mistakes.
    pub warnings: Vec<Violation>,
}
