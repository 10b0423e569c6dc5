//! The rules: from what was loaded and a command to [`crate::changes::Changes`].

pub mod change;
mod change_builder;
pub mod fields;
pub mod gates;
pub mod keys;
pub mod lifecycle;
pub mod log;
pub mod organization_holds;
pub mod organizations;
pub mod outcome;
mod redaction;
pub mod register;
pub mod step;

use crate::changes::Changes;
use crate::snapshot::TenantSnapshot;
use crate::violation::Violation;

/// What a rule decided on a tenant: what to commit, and the snapshot as it is once that is committed.
#[derive(Debug, Clone, PartialEq)]
pub struct Decision {
    /// The snapshot afterwards.
    pub snapshot: TenantSnapshot,
    /// What to commit; `None` when nothing changes.
    pub changes: Option<Changes>,
    /// What was kept, though it looks like a slip.
    pub warnings: Vec<Violation>,
}
