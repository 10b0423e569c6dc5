//! Organizations.

use super::organization_usage::UsageRow;
use crate::Store;
use crate::current_rows::{Read, columns};
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Check, Corrupt, Dialect, Field, Type, Value, WriteShape, described};
use crate::search::{also_one_of, begins};
use crate::sql::Sql;
use jiff::Timestamp;
use serde_json::Value as Json;
use tenancy_core::Error;
use tenancy_core::hold::Hold;
use tenancy_core::ids::OrganizationId;
use tenancy_core::json::Object;
use tenancy_core::judge::CurrentOrganization;
use tenancy_core::normal_form::search_form;
use tenancy_core::organization::{Caps, Organization, Usage};
use tenancy_core::rules::organizations::caps_document;
use tenancy_core::scope::Scope;
use tenancy_core::tenant::Labels;
use tenancy_core::webhook::{Webhook, WebhookOwner};

described!(
    /// Organizations.
    Organization as TABLE "organizations" [organization_id] {
        organization_id: OrganizationId,
        display_name: Option<String>,
        labels: Labels,
        caps: Caps,
        version: i64,
        counter: i64,
        settled_counter: i64,
        created_at: Timestamp,
        updated_at: Timestamp,
        closed_at: Option<Timestamp>,
    } => {
        search_name: Option<String> = search_name,
    }
);

/// Form of the display name in which lists search it.
fn search_name(organization: &Organization) -> Option<String> {
    organization.display_name.as_deref().map(search_form)
}

/// Inserts organizations.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Updates the columns that the manifest sets.
pub const UPDATE_MANIFEST: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &["display_name", "search_name", "labels", "caps", "version", "updated_at"],
    check: Check::OneLess("version"),
};
/// Updates the columns that the manifest does not set.
pub const UPDATE_FACTS: WriteShape =
    WriteShape::Update { table: TABLE, set: &["counter", "closed_at", "updated_at"], check: Check::OneLess("counter") };

/// Reads organizations without their usage, which is read after they are locked.
pub const CURRENT: Read = Read {
    columns: "organization_id, version, counter, closed_at IS NULL, caps",
    table: "organizations",
    key: "organization_id",
    and: "",
    lock: true,
    types: &[Type::Text, Type::Int, Type::Int, Type::Bool, Type::Json],
    keys: |needs| &needs.organizations,
    put: |found, row| {
        let [id, version, counter, open, caps] = columns(row)?;
        let organization = CurrentOrganization {
            version: i64::take(version)?,
            counter: i64::take(counter)?,
            open: bool::take(open)?,
            caps: Caps::take(caps)?,
            usage: Usage::default(),
            usage_serial: 0,
        };
        found.organizations.insert(OrganizationId::take(id)?, organization);
        Ok(())
    },
};

/// Caps, stored as in the manifest.
impl Field for Caps {
    const TYPE: Type = Type::Json;

    fn put(&self) -> Value {
        caps_document(self).put()
    }

    fn take(value: Value) -> Result<Self, Corrupt> {
        // Most organizations have no caps, and caps are read in every batch.
        if matches!(&value, Value::Text(text) if text == "{}") {
            return Ok(Self::default());
        }
        let object = Object::take(value)?;
        let quotas = object.get("quotas").and_then(Json::as_object).into_iter().flatten();
        Ok(Self {
            tenants: object.get("tenants").and_then(Json::as_i64),
            quotas: quotas.filter_map(|(name, value)| Some((name.clone(), value.as_i64()?))).collect(),
        })
    }
}

/// Filter of organizations. Organizations are ordered by id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrganizationFilter {
    /// Only organizations whose id or display name begins with this text.
    pub q: Option<String>,
}

/// Organization with its usage, its holds and its webhooks.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganizationRecord {
    /// Row of the organization.
    pub organization: Organization,
    /// Sums over its tenants.
    pub usage: Usage,
    /// Its holds, ordered by kind.
    pub holds: Vec<Hold>,
    /// Its webhooks, ordered by name.
    pub webhooks: Vec<Webhook>,
}

/// Returns the statement that lists organizations.
pub(crate) fn listed(
    dialect: Dialect,
    scope: &Scope,
    filter: &OrganizationFilter,
    after: Option<String>,
    limit: usize,
) -> Sql {
    let mut sql = Sql::new(dialect, TABLE.select(dialect));
    sql.and("organization_id > {}", after);
    match scope {
        Scope::All => {}
        Scope::Organization(id) => drop(sql.and("organization_id = {}", Some(id.clone()))),
        Scope::Tenant(_) => drop(sql.also("1 = 0")),
    }
    if let Some(q) = &filter.q {
        let q = search_form(q);
        let columns = ["organization_id", "search_name"];
        let found = columns
            .map(|column| format!("SELECT organization_id FROM organizations WHERE {}", begins(&mut sql, column, &q)));
        also_one_of(&mut sql, "organization_id", &found.join(" UNION "));
    }
    sql.order("organization_id", limit);
    sql
}

impl Store {
    /// Lists the organizations within a scope, in order of their ids. The scope of a tenant contains none.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn organizations(
        &self,
        scope: &Scope,
        filter: &OrganizationFilter,
        page: &Page,
    ) -> Result<Listed<Organization>, Error> {
        let after = place("organizations", page)?;
        let sql = listed(self.dialect(), scope, filter, after, limit(page) + 1);
        self.list("organizations", sql, page, "organization_id").await
    }

    /// Returns an organization with its usage, its holds and its webhooks.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn organization(&self, id: &OrganizationId) -> Result<Option<OrganizationRecord>, Error> {
        let mut sql = self.select::<Organization>();
        sql.and("organization_id = {}", Some(id.clone()));
        let Some(organization) = self.one(sql).await? else { return Ok(None) };
        let mut sql = self.select::<UsageRow>();
        sql.and("organization_id = {}", Some(id.clone())).order("serial DESC", 1);
        let usage = self.one::<UsageRow>(sql).await?;
        let usage = usage.map(|row| Usage { tenants: row.tenants, quotas: row.quotas }).unwrap_or_default();
        let mut sql = self.select::<Hold>();
        sql.and("organization_id = {}", Some(id.clone())).order("kind", 256);
        let holds = self.all(sql).await?;
        let webhooks = self.all_webhooks(&WebhookOwner::Organization(id.clone())).await?;
        Ok(Some(OrganizationRecord { organization, usage, holds, webhooks }))
    }
}
