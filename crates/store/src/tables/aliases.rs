//! Aliases: other names of tenants, each unique.

use crate::Store;
use crate::current_rows::{Read, columns};
use crate::keyed::{ByKey, KeyedRead};
use crate::rows::{Field, Type, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::ids::{Alias, OrganizationId, TenantId};

/// A row of `aliases`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRow {
    /// `kind:value`.
    pub alias: Alias,
    /// The tenant that it names.
    pub tenant_id: TenantId,
    /// When it was added.
    pub created_at: Timestamp,
}

described!(
    /// Aliases.
    AliasRow as TABLE "aliases" [alias] {
        alias: Alias,
        tenant_id: TenantId,
        created_at: Timestamp,
    }
);

/// New aliases.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Aliases that go.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// An alias by its text.
pub const BY_ALIAS: ByKey = ByKey { table: TARGETS, condition: "alias = {}" };
/// The aliases of a tenant.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };

/// Which aliases are taken.
pub const CURRENT: Read = Read {
    columns: "alias",
    table: "aliases",
    key: "alias",
    and: "",
    lock: false,
    types: &[Type::Text],
    keys: |needs| &needs.aliases,
    put: |found, row| {
        let [alias] = columns(row)?;
        found.aliases.insert(Alias::take(alias)?);
        Ok(())
    },
};

/// Where an alias leads: enough to say for whom the tenant exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasTarget {
    /// `kind:value`.
    pub alias: Alias,
    /// The tenant that it names.
    pub tenant_id: TenantId,
    /// The tenant's organization.
    pub organization_id: OrganizationId,
}

described!(
    /// Where aliases lead: one look at two rows. Not a join, as for stamps.
    AliasTarget as TARGETS "(SELECT a.alias, a.tenant_id, (SELECT t.organization_id FROM tenants t WHERE t.tenant_id = a.tenant_id) AS organization_id FROM aliases a) AS targets" [alias] {
        alias: Alias,
        tenant_id: TenantId,
        organization_id: OrganizationId,
    }
);

impl Store {
    /// The tenant that an alias names.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn aliased(&self, alias: &Alias) -> Result<Option<AliasTarget>, Error> {
        #[cfg(feature = "model")]
        if matches!(self.engine, crate::Engine::Model(_)) {
            return self.aliased_in_model(alias).await;
        }
        self.by_key(KeyedRead::Alias, alias.as_str()).await
    }

    /// The in-memory model reads whole rows of one table only.
    #[cfg(feature = "model")]
    async fn aliased_in_model(&self, alias: &Alias) -> Result<Option<AliasTarget>, Error> {
        let mut sql = self.select::<AliasRow>();
        sql.and("alias = {}", Some(alias.clone()));
        let Some(AliasRow { alias, tenant_id, .. }) = self.one(sql).await? else { return Ok(None) };
        let mut sql = self.select::<tenancy_core::tenant::Tenant>();
        sql.and("tenant_id = {}", Some(tenant_id.clone()));
        let tenant = self.one::<tenancy_core::tenant::Tenant>(sql).await?;
        Ok(tenant.map(|tenant| AliasTarget { alias, tenant_id, organization_id: tenant.organization_id }))
    }
}
