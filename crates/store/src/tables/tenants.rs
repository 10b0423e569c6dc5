//! Tenants, and their stamps.

use crate::Store;
use crate::current_rows::{Read, columns};
use crate::keyed::{ByKey, KeyedRead};
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Check, Dialect, Field, Type, Value, WriteShape, described};
use crate::sql::Sql;
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::json::Object;
use tenancy_core::scope::Scope;
use tenancy_core::tenant::{DesiredState, Facts, Labels, Profile, State, Tenant, Terms};

described!(
    /// Tenants.
    Tenant as TABLE "tenants" [tenant_id] {
        tenant_id: TenantId,
        organization_id: OrganizationId,
        created_at: Timestamp,
        updated_at: Timestamp,
    }
    terms: Terms as TERMS with updated_at {
        display_name: Option<String>,
        profile: Profile,
        desired_state: Option<DesiredState>,
        region: String,
        labels: Labels,
        quotas: Object,
        policies: Object,
        billing: Object,
        deletion_protection: bool,
        version: i64,
    }
    facts: Facts as FACTS with updated_at {
        state: State,
        counter: i64,
        state_since: Timestamp,
        provisioned_at: Option<Timestamp>,
        archived_at: Option<Timestamp>,
        purge_after: Option<Timestamp>,
        purged_at: Option<Timestamp>,
    }
);

/// New tenants.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// What a manifest says of a tenant.
pub const UPDATE_TERMS: WriteShape = WriteShape::Update { table: TABLE, set: TERMS, check: Check::OneLess("version") };
/// What no manifest says.
pub const UPDATE_FACTS: WriteShape = WriteShape::Update { table: TABLE, set: FACTS, check: Check::OneLess("counter") };
/// What a purge leaves of a tenant's terms.
pub const EMPTY: WriteShape = WriteShape::Update { table: TABLE, set: TERMS, check: Check::Same("version") };

/// A tenant by its id.
pub const BY_ID: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };

/// Versions and counters of tenants.
pub const CURRENT: Read = Read {
    columns: "tenant_id, version, counter",
    table: "tenants",
    key: "tenant_id",
    and: "",
    lock: true,
    types: &[Type::Text, Type::Int, Type::Int],
    keys: |needs| &needs.tenants,
    put: |found, row| {
        let [id, version, counter] = columns(row)?;
        found.tenants.insert(TenantId::take(id)?, (i64::take(version)?, i64::take(counter)?));
        Ok(())
    },
};

/// Says whether what is kept of a tenant has changed since it was read: everything that belongs to the tenant moves its
/// version or its counter, what its organization holds moves the organization's counter. (How far an open job is moves
/// neither.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// The tenant.
    pub tenant_id: TenantId,
    /// Its organization, which never changes.
    pub organization_id: OrganizationId,
    /// The tenant's version.
    pub version: i64,
    /// The tenant's counter.
    pub counter: i64,
    /// Its organization's counter.
    pub organization_counter: i64,
}

described!(
    /// Stamps of tenants: one look at two rows. Not a join: while tables are small, it would begin at another index.
    Stamp as STAMPS "(SELECT t.tenant_id, t.organization_id, t.version, t.counter, (SELECT o.counter FROM organizations o WHERE o.organization_id = t.organization_id) AS organization_counter FROM tenants t) AS stamps" [tenant_id] {
        tenant_id: TenantId,
        organization_id: OrganizationId,
        version: i64,
        counter: i64,
        organization_counter: i64,
    }
);

/// The stamp of a tenant.
pub const STAMP: ByKey = ByKey { table: STAMPS, condition: "tenant_id = {}" };

/// Which tenants; in order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantFilter {
    /// In this state.
    pub state: Option<State>,
    /// With this home region.
    pub region: Option<String>,
    /// Of this profile.
    pub profile: Option<Profile>,
    /// Of this organization.
    pub organization_id: Option<OrganizationId>,
    /// With all these labels.
    pub labels: Vec<(String, String)>,
    /// Whose id, display name or an alias (kind:value, or the value) begins so.
    pub q: Option<String>,
    /// Registered at this time or later.
    pub created_from: Option<Timestamp>,
    /// Registered before this time.
    pub created_before: Option<Timestamp>,
    /// Also tombstones.
    pub purged: bool,
}

impl Store {
    /// The tenants within a scope, in order of their ids.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a cursor that is none, [`Error::Unavailable`].
    pub async fn tenants(&self, scope: &Scope, filter: &TenantFilter, page: &Page) -> Result<Listed<Tenant>, Error> {
        let mut sql = self.select::<Tenant>();
        sql.and("tenant_id > {}", place("tenants", page)?)
            .and("state = {}", filter.state)
            .and("region = {}", filter.region.clone())
            .and("profile = {}", filter.profile)
            .and("organization_id = {}", filter.organization_id.clone())
            .and("created_at >= {}", filter.created_from)
            .and("created_at < {}", filter.created_before);
        match scope {
            Scope::All => {}
            Scope::Organization(id) => drop(sql.and("organization_id = {}", Some(id.clone()))),
            Scope::Tenant(id) => drop(sql.and("tenant_id = {}", Some(id.clone()))),
        }
        for (key, value) in &filter.labels {
            let key = sql.bind(Type::Text, Value::Text(key.clone()));
            let has = match self.dialect() {
                // `->>` takes a key for a path, if it looks like one.
                Dialect::Sqlite => {
                    format!("EXISTS (SELECT 1 FROM json_each(labels) WHERE key = {key} AND value = {{}})")
                }
                Dialect::Postgres => format!("labels ->> {key} = {{}}"),
            };
            sql.and(&has, Some(value.clone()));
        }
        if let Some(q) = &filter.q {
            beginning(&mut sql, self.dialect(), q);
        }
        if !filter.purged {
            sql.also("purged_at IS NULL");
        }
        sql.order("tenant_id", limit(page) + 1);
        self.list("tenants", sql, page, |tenant: &Tenant| tenant.tenant_id.to_string()).await
    }

    /// A tenant's stamp: equal stamps, equal snapshots, but for how far an open job is.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn stamp(&self, id: &TenantId) -> Result<Option<Stamp>, Error> {
        self.by_key(KeyedRead::Stamp, id.as_str()).await
    }
}

/// Whose id, name or alias begins with `q`.
fn beginning(sql: &mut Sql, dialect: Dialect, q: &str) {
    let n = q.chars().count();
    let q = sql.bind(Type::Text, Value::Text(q.to_owned()));
    let colon = match dialect {
        Dialect::Sqlite => "instr(a.alias, ':')",
        Dialect::Postgres => "strpos(a.alias, ':')",
    };
    let [name, given] = [format!("substr(display_name, 1, {n})"), q.clone()].map(|text| sql.lowered(&text));
    sql.also(&format!(
        "(substr(tenant_id, 1, {n}) = {q} OR {name} = {given} OR EXISTS (SELECT 1 FROM aliases a \
         WHERE a.tenant_id = tenants.tenant_id AND (substr(a.alias, 1, {n}) = {q} \
         OR substr(a.alias, {colon} + 1, {n}) = {q})))"
    ));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_must_be_written_by_one_update_or_be_one_that_stays() {
        let stays = ["tenant_id", "organization_id", "created_at"];
        for column in TABLE.columns {
            let updates = [TERMS, FACTS].iter().filter(|set| set.contains(&column.name)).count();
            let expected = match column.name {
                "updated_at" => 2,
                name => usize::from(!stays.contains(&name)),
            };
            assert_eq!(updates, expected, "{}", column.name);
        }
    }
}
