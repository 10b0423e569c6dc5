//! Wrapped data keys. The keys that wrap them are never in the database.

use crate::keyed::ByKey;
use crate::rows::{WriteShape, described};
use tenancy_core::Timestamp;

/// Row of `data_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DataKeyRow {
    /// Tenant that the key belongs to; empty for the platform.
    pub tenant_id: String,
    /// Name of the wrapping key.
    pub wrapping_key: String,
    /// The wrapped key; empty once the tenant is purged.
    pub wrapped: String,
    /// Wrapping key of its own that the tenant had before, until it is destroyed.
    pub former_key: Option<String>,
    /// When the key was created.
    pub created_at: Timestamp,
    /// When upkeep is to look at the row; `None` if nothing is to be done.
    pub due_at: Option<Timestamp>,
}

described!(
    /// Wrapped data keys.
    DataKeyRow as TABLE "data_keys" [tenant_id] {
        tenant_id: String,
        wrapping_key: String,
        wrapped: String,
        former_key: Option<String>,
        created_at: Timestamp,
        due_at: Option<Timestamp>,
    }
);

/// Inserts the key of a tenant that is registered.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Asks upkeep to wrap the key as the policy of the tenant says.
pub const DUE: WriteShape = WriteShape::UpdateAll { table: TABLE, by: "tenant_id", set: &["due_at"] };
/// Erases the key of a tenant that is purged, and asks upkeep to destroy its wrapping key.
pub const ERASE: WriteShape = WriteShape::UpdateAll { table: TABLE, by: "tenant_id", set: &["wrapped", "due_at"] };

/// Finds the key of a tenant.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };
