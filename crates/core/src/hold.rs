//! Holds: named reasons, outside the manifest, that suspend a tenant or keep its data.

use crate::ids::{HoldId, OrganizationId, TenantId};
use jiff::Timestamp;

/// Maximum length of the reason of a hold, in bytes.
pub const MAX_REASON_LENGTH_BYTES: usize = 1024;

/// Default kind of hold of `suspend` and `activate`.
pub const DEFAULT_HOLD: &str = "operator";

/// Tenant or organization that a hold applies to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    /// One tenant.
    Tenant(TenantId),
    /// All tenants of an organization.
    Organization(OrganizationId),
}

/// A row of `holds`: at most one per kind and tenant, or per kind and organization.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hold {
    /// Id of the hold.
    pub hold_id: HoldId,
    /// Tenant or organization that the hold applies to.
    pub held: Held,
    /// Declared kind.
    pub kind: String,
    /// Reason, for people. A purge erases it; the log never contains it.
    pub reason: Option<String>,
    /// Actor that placed the hold.
    pub placed_by: String,
    /// Time at which the server releases the hold.
    pub until: Option<Timestamp>,
    /// Time at which the hold was placed.
    pub created_at: Timestamp,
}

impl Hold {
    /// Returns the kind and, if the hold is not on the tenant itself, the organization: `billing on organization acme`.
    pub fn described(&self) -> String {
        match &self.held {
            Held::Tenant(_) => self.kind.clone(),
            Held::Organization(id) => format!("{} on organization {id}", self.kind),
        }
    }
}
