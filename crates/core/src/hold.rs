//! Holds: named causes outside the manifest that keep a tenant suspended, or its data.

use crate::ids::{HoldId, OrganizationId, TenantId};
use jiff::Timestamp;

/// Longest reason of a hold, in bytes.
pub const MAX_REASON_LENGTH_BYTES: usize = 1024;

/// The hold that `suspend` places and `activate` releases when they name none.
pub const DEFAULT_HOLD: &str = "operator";

/// On whom a hold stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// On one tenant.
    Tenant(TenantId),
    /// On all tenants of an organization.
    Organization(OrganizationId),
}

/// A row of `holds`: at most one of a kind on one tenant or organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Its id.
    pub hold_id: HoldId,
    /// On whom.
    pub held: Held,
    /// A declared kind.
    pub kind: String,
    /// Why; emptied with a purge, never in the log.
    pub reason: Option<String>,
    /// Who placed it.
    pub placed_by: String,
    /// When it ends by itself.
    pub until: Option<Timestamp>,
    /// When it was placed.
    pub created_at: Timestamp,
}

impl Hold {
    /// Its kind, and where it must be released if not on the tenant: `billing on organization acme`.
    pub fn described(&self) -> String {
        match &self.held {
            Held::Tenant(_) => self.kind.clone(),
            Held::Organization(id) => format!("{} on organization {id}", self.kind),
        }
    }
}
