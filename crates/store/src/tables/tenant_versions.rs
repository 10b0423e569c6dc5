//! Kept versions of tenants: whole manifests.

use crate::Store;
use crate::list::{limit, number, place};
use crate::page::{Listed, Page};
use crate::rows::{WriteShape, described};
use jiff::Timestamp;
use serde_json::Value as Json;
use tenancy_core::Error;
use tenancy_core::ids::{CorrelationId, TenantId};
use tenancy_core::tenant::TenantVersion;

described!(
    /// Kept versions of tenants.
    TenantVersion as TABLE "tenant_versions" [tenant_id, version] {
        tenant_id: TenantId,
        version: i64,
        manifest: Json,
        actor: String,
        correlation_id: CorrelationId,
        created_at: Timestamp,
    }
);

/// Inserts versions.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Empties the manifests of all versions of a tenant that is purged.
pub const EMPTY_OF_TENANT: WriteShape = WriteShape::UpdateAll { table: TABLE, by: "tenant_id", set: &["manifest"] };

impl Store {
    /// Lists the kept versions of a tenant, newest first.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn tenant_versions(&self, id: &TenantId, page: &Page) -> Result<Listed<TenantVersion>, Error> {
        let mut sql = self.select::<TenantVersion>();
        sql.and("tenant_id = {}", Some(id.clone()))
            .and("version < {}", number(place("versions", page)?)?)
            .order("version DESC", limit(page) + 1);
        self.list_sealed("versions", sql, page, "version").await
    }

    /// Returns a kept version of a tenant.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn tenant_version(&self, id: &TenantId, version: i64) -> Result<Option<TenantVersion>, Error> {
        let mut sql = self.select::<TenantVersion>();
        sql.and("tenant_id = {}", Some(id.clone())).and("version = {}", Some(version));
        self.one_sealed(sql).await
    }
}
