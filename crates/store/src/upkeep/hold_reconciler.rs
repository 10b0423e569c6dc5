//! Upkeep for organizations whose holds have changed: finds them, fences their tenants, and records progress.

use crate::Store;
use crate::list::corrupt;
use crate::rows::{Dialect, Field, Type, Value};
use crate::sql::Sql;
use tenancy_core::Error;
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::organization::Organization;

impl Store {
    /// Returns organizations whose tenants have not yet been adjusted to a change, in order of their ids, after
    /// `after`.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn unsettled_organizations(
        &self,
        after: Option<&OrganizationId>,
        limit: usize,
    ) -> Result<Vec<Organization>, Error> {
        let mut sql = self.select::<Organization>();
        sql.also("settled_counter < counter").and("organization_id > {}", after.cloned());
        sql.order("organization_id", limit);
        self.all_readable(sql).await
    }

    /// Increases the counters of an organization's tenants, in order of their ids, after `after`. Earlier decisions on
    /// these tenants can then no longer be committed, and are repeated with the organization's current holds. Returns
    /// the ids of the tenants; an empty list means that none is left.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn move_tenants(
        &self,
        organization: &OrganizationId,
        after: Option<&TenantId>,
        limit: usize,
    ) -> Result<Vec<TenantId>, Error> {
        let mut page = Sql::new(self.dialect(), "SELECT tenant_id FROM tenants");
        page.and("organization_id = {}", Some(organization.clone())).and("tenant_id > {}", after.cloned());
        page.also("purged_at IS NULL").order("tenant_id", limit);
        page.text = match self.dialect() {
            Dialect::Sqlite => format!(
                "UPDATE tenants SET counter = counter + 1 WHERE tenant_id IN ({}) RETURNING tenant_id",
                page.text
            ),
            // Rows are locked in the same order as by batches.
            Dialect::Postgres => format!(
                "WITH page AS MATERIALIZED ({} FOR NO KEY UPDATE) UPDATE tenants t SET counter = t.counter + 1 \
                 FROM page WHERE t.tenant_id = page.tenant_id RETURNING t.tenant_id",
                page.text
            ),
        };
        let rows = self.write(page, vec![Type::Text]).await?;
        let mut moved: Vec<_> =
            rows.into_iter().flatten().map(TenantId::take).collect::<Result<_, _>>().map_err(corrupt)?;
        moved.sort();
        Ok(moved)
    }

    /// Records that all tenants of an organization have been adjusted to this counter of it.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn note_settled(&self, organization: &OrganizationId, counter: i64) -> Result<(), Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let counter = sql.bind(Type::Int, Value::Int(counter));
        let id = sql.bind(Type::Text, organization.put());
        sql.text = format!(
            "UPDATE organizations SET settled_counter = {counter} WHERE organization_id = {id} \
             AND settled_counter < {counter} RETURNING organization_id"
        );
        self.write(sql, vec![Type::Text]).await.map(drop)
    }
}
