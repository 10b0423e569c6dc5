//! Kept versions of environments.

use crate::Store;
use crate::list::{limit, number, place};
use crate::page::{Listed, Page};
use crate::rows::{WriteShape, described};
use jiff::Timestamp;
use serde_json::Value as Json;
use tenancy_core::Error;
use tenancy_core::environment::EnvironmentVersion;
use tenancy_core::ids::{EnvironmentId, TenantId};

described!(
    /// Kept versions of environments.
    EnvironmentVersion as TABLE "environment_versions" [tenant_id, env_id, version] {
        tenant_id: TenantId,
        env_id: EnvironmentId,
        version: i64,
        manifest: Json,
        actor: String,
        created_at: Timestamp,
    }
);

/// Inserts versions.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Empties the manifests of all versions of a tenant that is purged.
pub const EMPTY_OF_TENANT: WriteShape = WriteShape::UpdateAll { table: TABLE, by: "tenant_id", set: &["manifest"] };

impl Store {
    /// Lists the kept versions of an environment, newest first.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn environment_versions(
        &self,
        tenant: &TenantId,
        id: &EnvironmentId,
        page: &Page,
    ) -> Result<Listed<EnvironmentVersion>, Error> {
        let mut sql = self.select::<EnvironmentVersion>();
        sql.and("tenant_id = {}", Some(tenant.clone()))
            .and("env_id = {}", Some(id.clone()))
            .and("version < {}", number(place("versions", page)?)?)
            .order("version DESC", limit(page) + 1);
        self.list_sealed("versions", sql, page, "version").await
    }
}
