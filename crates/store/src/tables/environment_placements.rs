//! Where the data of environments lives.

use crate::Store;
use crate::keyed::ByKey;
use crate::rows::{Check, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::ids::{EnvironmentId, TenantId};
use tenancy_core::placement::{EnvironmentPlacement, PlacementKind};

described!(
    /// Places of environments, also of removed ones.
    EnvironmentPlacement as TABLE "environment_placements" [env_id] {
        env_id: EnvironmentId,
        tenant_id: TenantId,
        name: String,
        kind: PlacementKind,
        location: String,
        fingerprint: String,
        settings: Option<String>,
        created_at: Timestamp,
        made_at: Option<Timestamp>,
        removed_at: Option<Timestamp>,
        closed_at: Option<Timestamp>,
        destroying_at: Option<Timestamp>,
    }
);

/// Inserts places that were chosen.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates the columns that say what became of a place.
pub const UPDATE: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &["settings", "made_at", "removed_at", "closed_at", "destroying_at"],
    check: Check::None,
};
/// Deletes places that were destroyed.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// Finds the places of a tenant's environments.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };

impl Store {
    /// Returns the places of a tenant's environments, also of removed ones.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn placements(&self, tenant: &TenantId) -> Result<Vec<EnvironmentPlacement>, Error> {
        let mut sql = self.select::<EnvironmentPlacement>();
        sql.and("tenant_id = {}", Some(tenant.clone()));
        self.all(sql).await
    }
}
