//! Tenants, and their stamps.

use crate::Store;
use crate::current_rows::{Read, columns};
use crate::keyed::{ByKey, KeyedRead};
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Check, Dialect, Field, Type, WriteShape, described};
use crate::search::Lead;
use crate::sql::Sql;
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::json::Object;
use tenancy_core::normal_form::search_form;
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
    } => {
        search_name: Option<String> = search_name,
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

/// Form of the display name in which lists search it.
fn search_name(terms: &Terms) -> Option<String> {
    terms.display_name.as_deref().map(search_form)
}

/// Inserts tenants.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates the columns that the manifest sets.
pub const UPDATE_TERMS: WriteShape = WriteShape::Update { table: TABLE, set: TERMS, check: Check::OneLess("version") };
/// Updates the columns that the manifest does not set.
pub const UPDATE_FACTS: WriteShape = WriteShape::Update { table: TABLE, set: FACTS, check: Check::OneLess("counter") };
/// Clears a tenant's terms in a purge.
pub const EMPTY: WriteShape = WriteShape::Update { table: TABLE, set: TERMS, check: Check::Same("version") };

/// Finds a tenant by its id.
pub const BY_ID: ByKey = ByKey { table: TABLE, condition: "tenant_id = {}" };

/// Reads versions and counters of tenants.
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

/// Shows whether the stored data of a tenant have changed since they were read. Every change of data that belong to the
/// tenant changes its version or its counter; a change of its organization's holds changes the organization's counter.
/// (The progress of an open job changes neither.)
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// Id of the tenant.
    pub tenant_id: TenantId,
    /// Organization of the tenant, which never changes.
    pub organization_id: OrganizationId,
    /// Version of the tenant.
    pub version: i64,
    /// Counter of the tenant.
    pub counter: i64,
    /// Counter of the organization.
    pub organization_counter: i64,
}

described!(
    /// Stamps of tenants: two lookups, not a join. While the tables are small, the planner would start a join at
    /// another index.
    Stamp as STAMPS "(SELECT t.tenant_id, t.organization_id, t.version, t.counter, (SELECT o.counter FROM organizations o WHERE o.organization_id = t.organization_id) AS organization_counter FROM tenants t) AS stamps" [tenant_id] {
        tenant_id: TenantId,
        organization_id: OrganizationId,
        version: i64,
        counter: i64,
        organization_counter: i64,
    }
);

/// Finds the stamp of a tenant.
pub const STAMP: ByKey = ByKey { table: STAMPS, condition: "tenant_id = {}" };

/// Filter of tenants. Tenants are ordered by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantFilter {
    /// Only tenants in one of these states; empty for all states.
    pub states: Vec<State>,
    /// Only tenants with this home region.
    pub region: Option<String>,
    /// Only tenants with this profile.
    pub profile: Option<Profile>,
    /// Only tenants of this organization.
    pub organization_id: Option<OrganizationId>,
    /// Only tenants with all these labels.
    pub labels: Vec<(String, String)>,
    /// Only tenants whose id, display name or alias (`kind:value` or the value) begins with this text, in any case.
    pub q: Option<String>,
    /// Only tenants created at this time or later.
    pub created_from: Option<Timestamp>,
    /// Only tenants created before this time.
    pub created_before: Option<Timestamp>,
    /// Whether tombstones are included.
    pub purged: bool,
}

impl Store {
    /// Lists the tenants within a scope, in order of their ids.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`] when the database cannot be reached.
    pub async fn tenants(&self, scope: &Scope, filter: &TenantFilter, page: &Page) -> Result<Listed<Tenant>, Error> {
        let after = place("tenants", page)?;
        let lead = match scope {
            Scope::Tenant(_) => Lead::Rows,
            _ => self.lead(filter, only(scope, filter)).await?,
        };
        let sql = listed(self.dialect(), lead, scope, filter, after, limit(page) + 1);
        self.list("tenants", sql, page, "tenant_id").await
    }

    /// Returns the stamp of a tenant. Equal stamps mean equal snapshots, except for the progress of an open job.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn stamp(&self, id: &TenantId) -> Result<Option<Stamp>, Error> {
        self.by_key(KeyedRead::Stamp, id.as_str()).await
    }
}

/// Returns the statement that lists tenants.
pub(crate) fn listed(
    dialect: Dialect,
    lead: Lead,
    scope: &Scope,
    filter: &TenantFilter,
    after: Option<String>,
    limit: usize,
) -> Sql {
    let mut sql = Sql::new(dialect, TABLE.select(dialect));
    let order = lead.begin(&mut sql, filter);
    sql.and(&format!("{order} > {{}}"), after)
        .one_of("state", &filter.states)
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
    lead.conditions(&mut sql, filter);
    if !filter.purged {
        sql.also("purged_at IS NULL");
    }
    sql.order(order, limit);
    sql
}

/// Returns the only organization whose tenants a list can contain.
fn only<'a>(scope: &'a Scope, filter: &'a TenantFilter) -> Option<&'a OrganizationId> {
    match scope {
        Scope::Organization(id) => Some(id),
        _ => filter.organization_id.as_ref(),
    }
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
