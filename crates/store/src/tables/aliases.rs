//! Aliases: other names of tenants, each unique.

use crate::Store;
use crate::current_rows::{Read, columns};
use crate::keyed::{ByKey, KeyedRead};
use crate::rows::{Field, Type, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::ids::{Alias, OrganizationId, TenantId};
use tenancy_core::normal_form::search_form;

/// Row of `aliases`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasRow {
    /// `kind:value`.
    pub alias: Alias,
    /// Tenant that the alias names.
    pub tenant_id: TenantId,
    /// When the alias was added.
    pub created_at: Timestamp,
}

described!(
    /// Aliases.
    AliasRow as TABLE "aliases" [alias] {
        alias: Alias,
        tenant_id: TenantId,
        created_at: Timestamp,
    } => {
        search_value: Option<String> = search_value,
    }
);

/// Form of the value in which lists search it.
fn search_value(row: &AliasRow) -> Option<String> {
    Some(search_form(row.alias.value()))
}

/// Inserts aliases.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Deletes aliases.
pub const DELETE: WriteShape = WriteShape::Delete(TABLE);

/// Finds an alias by its text.
pub const BY_ALIAS: ByKey = ByKey { table: TARGETS, condition: "alias = {}" };
/// Finds the aliases of a tenant.
pub const OF_TENANT: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };

/// Reads which aliases are taken.
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

/// Tenant and organization of an alias, which decide whether a caller can see the tenant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AliasTarget {
    /// `kind:value`.
    pub alias: Alias,
    /// Tenant that the alias names.
    pub tenant_id: TenantId,
    /// Organization of the tenant.
    pub organization_id: OrganizationId,
}

described!(
    /// Targets of aliases: two lookups, not a join, for the same reason as stamps.
    AliasTarget as TARGETS "(SELECT a.alias, a.tenant_id, (SELECT t.organization_id FROM tenants t WHERE t.tenant_id = a.tenant_id) AS organization_id FROM aliases a) AS targets" [alias] {
        alias: Alias,
        tenant_id: TenantId,
        organization_id: OrganizationId,
    }
);

impl Store {
    /// Returns the tenant that an alias names.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
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
