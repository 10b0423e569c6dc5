//! Reads of webhooks of all owners. Those of a tenant are also a part of its snapshot.

use crate::Store;
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Table, Type, Value};
use crate::sql::Sql;
use crate::tables::platform_webhooks::{self, PlatformWebhook};
use crate::tables::webhooks;
use tenancy_core::Error;
use tenancy_core::ids::WebhookId;
use tenancy_core::webhook::{Webhook, WebhookOwner};

/// Maximum number of webhooks of one owner that are read. Owners may have fewer: this only bounds the read.
const MAX_OF_OWNER: usize = 1024;
/// Maximum number of ids in one statement. SQLite limits the number of parameters.
const MAX_IDS: usize = 500;

impl Store {
    /// Returns the webhook of an owner with this name or id, if it exists.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn webhook(&self, owner: &WebhookOwner, name_or_id: &str) -> Result<Option<Webhook>, Error> {
        let mut sql = self.of_owner(owner);
        let wanted = sql.bind(Type::Text, Value::Text(name_or_id.to_owned()));
        sql.also(&format!("(name = {wanted} OR webhook_id = {wanted})"));
        let mut found = self.webhooks_found(owner, sql).await?;
        // A name can look like an id. Nobody chooses ids.
        found.sort_by_key(|webhook| webhook.webhook_id.as_str() != name_or_id);
        Ok(found.into_iter().next())
    }

    /// Lists the webhooks of an owner, in order of their names.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn webhooks(&self, owner: &WebhookOwner, page: &Page) -> Result<Listed<Webhook>, Error> {
        let mut sql = self.of_owner(owner);
        sql.and("name > {}", place("webhooks", page)?).order("name", limit(page) + 1);
        if owner.tenant_id().is_some() {
            return self.list("webhooks", sql, page, "name").await;
        }
        let listed = self.list::<PlatformWebhook>("webhooks", sql, page, "name").await?;
        let items = listed.items.into_iter().map(|row| row.0).collect();
        Ok(Listed { items, unreadable: listed.unreadable, next: listed.next })
    }

    /// Returns all webhooks of an owner, in order of their names. Owners have a limited number.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn all_webhooks(&self, owner: &WebhookOwner) -> Result<Vec<Webhook>, Error> {
        let mut sql = self.of_owner(owner);
        sql.order("name", MAX_OF_OWNER);
        self.webhooks_found(owner, sql).await
    }

    /// Returns the webhooks with these ids, of all owners. Those that do not exist are omitted.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn webhooks_by_ids(&self, ids: &[WebhookId]) -> Result<Vec<Webhook>, Error> {
        let mut found = Vec::with_capacity(ids.len());
        for ids in ids.chunks(MAX_IDS) {
            let mut sql = self.select::<Webhook>();
            sql.one_of("webhook_id", ids);
            found.extend(self.all_readable::<Webhook>(sql).await?);
            let mut sql = self.select::<PlatformWebhook>();
            sql.one_of("webhook_id", ids);
            found.extend(self.all_readable::<PlatformWebhook>(sql).await?.into_iter().map(|row| row.0));
        }
        Ok(found)
    }

    /// Begins a query of the webhooks of an owner.
    fn of_owner(&self, owner: &WebhookOwner) -> Sql {
        let mut sql = Sql::new(self.dialect(), table(owner).select(self.dialect()));
        match owner {
            WebhookOwner::Tenant(id) => drop(sql.and("tenant_id = {}", Some(id.clone()))),
            WebhookOwner::Organization(id) => drop(sql.and("organization_id = {}", Some(id.clone()))),
            WebhookOwner::Platform => drop(sql.also("organization_id IS NULL")),
        }
        sql
    }

    async fn webhooks_found(&self, owner: &WebhookOwner, sql: Sql) -> Result<Vec<Webhook>, Error> {
        if owner.tenant_id().is_some() {
            return self.all(sql).await;
        }
        Ok(self.all::<PlatformWebhook>(sql).await?.into_iter().map(|row| row.0).collect())
    }
}

/// Returns the table with the webhooks of an owner.
pub(crate) fn table(owner: &WebhookOwner) -> &'static Table {
    match owner {
        WebhookOwner::Tenant(_) => webhooks::TABLE,
        WebhookOwner::Platform | WebhookOwner::Organization(_) => platform_webhooks::TABLE,
    }
}
