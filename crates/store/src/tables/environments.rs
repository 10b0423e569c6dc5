//! Environments of tenants.

use crate::Store;
use crate::keyed::ByKey;
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Check, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::environment::{Environment, IsolationLevel};
use tenancy_core::ids::{EnvironmentId, TenantId};
use tenancy_core::json::Object;
use tenancy_core::tenant::State;

described!(
    /// Environments.
    Environment as TABLE "environments" [env_id] {
        env_id: EnvironmentId,
        tenant_id: TenantId,
        name: String,
        region: String,
        region_given: bool,
        isolation_level: IsolationLevel,
        quotas: Object,
        retention_days: Option<i64>,
        version: i64,
        state: State,
        provisioned_at: Option<Timestamp>,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
);

/// Inserts environments.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Deletes environments.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);
/// Updates the columns that the manifest sets.
pub const UPDATE_MANIFEST: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &["region", "region_given", "isolation_level", "quotas", "retention_days", "version", "updated_at"],
    check: Check::OneLess("version"),
};
/// Updates the columns that jobs set.
pub const UPDATE_STATE: WriteShape =
    WriteShape::Update { table: TABLE, set: &["state", "provisioned_at", "updated_at"], check: Check::None };

/// Finds the environments of a tenant.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };

impl Store {
    /// Lists the environments of a tenant, in order of their names.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn environments(&self, tenant: &TenantId, page: &Page) -> Result<Listed<Environment>, Error> {
        let mut sql = self.select::<Environment>();
        sql.and("tenant_id = {}", Some(tenant.clone()))
            .and("name > {}", place("environments", page)?)
            .order("name", limit(page) + 1);
        self.list("environments", sql, page, "name").await
    }
}
