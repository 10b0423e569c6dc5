//! Webhooks as those who deliver to them read them: who subscribes to the events of some tenants, and one webhook with its
//! secrets.

use crate::Store;
use crate::list::text_of;
use crate::many_rows::bind_rows;
use crate::page::Unreadable;
use crate::rows::{Corrupt, Field, Record, Table, Type, Value};
use crate::sql::Sql;
use crate::tables::platform_webhooks::{self, PlatformWebhook};
use crate::tables::webhooks;
use std::collections::BTreeSet;
use tenancy_core::Error;
use tenancy_core::ids::{OrganizationId, TenantId, WebhookId};
use tenancy_core::webhook::{Secrets, Webhook};

/// A webhook, and the position after which it receives events.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscriber {
    /// The webhook.
    pub webhook: Webhook,
    /// The position; `None` until the dispatcher has read that the webhook was added.
    pub from_position: Option<i64>,
}

/// Webhooks that may receive events.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Subscribed {
    /// The webhooks.
    pub subscribers: Vec<Subscriber>,
    /// Webhooks whose rows cannot be read. They do not keep others from being read.
    pub unreadable: Vec<Unreadable>,
}

/// A webhook with its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// The webhook.
    pub webhook: Webhook,
    /// Its secrets.
    pub secrets: Secrets,
}

impl Store {
    /// Returns the webhooks of the platform.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn platform_subscribers(&self) -> Result<Subscribed, Error> {
        let mut sql = Sql::new(self.dialect(), self.select_with(platform_webhooks::TABLE, "from_position"));
        sql.also("organization_id IS NULL");
        self.subscribed(sql, platform_webhooks::TABLE, of_platform).await
    }

    /// Returns the webhooks of these tenants and of these organizations.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn subscribers(
        &self,
        tenants: &BTreeSet<TenantId>,
        organizations: &BTreeSet<OrganizationId>,
    ) -> Result<Subscribed, Error> {
        let among = |table: &Table, owner: &str, ids: Vec<Vec<Value>>| {
            let mut sql = Sql::new(self.dialect(), "");
            let from = bind_rows(&mut sql, &[("id", Type::Text)], ids);
            let select = self.select_with(table, "from_position");
            sql.text = format!("{select} WHERE {owner} IN (SELECT u.id FROM {from})");
            sql
        };
        let mut found = Subscribed::default();
        if !tenants.is_empty() {
            let ids = tenants.iter().map(|id| vec![id.put()]).collect();
            let sql = among(webhooks::TABLE, "tenant_id", ids);
            found.extend(self.subscribed(sql, webhooks::TABLE, Webhook::from_values).await?);
        }
        if !organizations.is_empty() {
            let ids = organizations.iter().map(|id| vec![id.put()]).collect();
            let sql = among(platform_webhooks::TABLE, "organization_id", ids);
            found.extend(self.subscribed(sql, platform_webhooks::TABLE, of_platform).await?);
        }
        Ok(found)
    }

    /// Returns a webhook with its secrets, whoever owns it. `None` only if it does not exist: its deliveries are then removed.
    ///
    /// # Errors
    /// Same as [`Store::tenants`]; [`Error::Unreadable`] if the key of the secrets was destroyed.
    pub async fn endpoint(&self, id: &WebhookId) -> Result<Option<Endpoint>, Error> {
        let mut sql = self.select::<Webhook>();
        sql.and("webhook_id = {}", Some(id.clone()));
        let mut found = self.one::<Webhook>(sql).await?;
        if found.is_none() {
            let mut sql = self.select::<PlatformWebhook>();
            sql.and("webhook_id = {}", Some(id.clone()));
            found = self.one::<PlatformWebhook>(sql).await?.map(|row| row.0);
        }
        let Some(webhook) = found else { return Ok(None) };
        let secrets = self.webhook_secrets(&webhook.owner, id).await?;
        Ok(Some(Endpoint { webhook, secrets }))
    }

    /// Returns the SELECT of a table and of a column that its description does not contain.
    fn select_with(&self, table: &Table, column: &str) -> String {
        let columns: Vec<_> = table.columns.iter().map(|column| self.dialect().read(*column)).collect();
        format!("SELECT {}, {column} FROM {}", columns.join(", "), table.name)
    }

    async fn subscribed(
        &self,
        sql: Sql,
        table: &Table,
        read: fn(Vec<Value>) -> Result<Webhook, Corrupt>,
    ) -> Result<Subscribed, Error> {
        let mut types: Vec<_> = table.columns.iter().map(|column| column.ty).collect();
        types.push(Type::Int);
        let mut found = Subscribed::default();
        for mut row in self.rows(sql, types).await? {
            let from_position = row.pop().unwrap_or(Value::Null);
            let id = row.first().and_then(text_of).unwrap_or_default();
            let subscriber = read(row).and_then(|webhook| {
                Ok(Subscriber { webhook, from_position: <Option<i64> as Field>::take(from_position)? })
            });
            match subscriber {
                Ok(subscriber) => found.subscribers.push(subscriber),
                Err(error) => found.unreadable.push(Unreadable { id, place: error.place().to_owned() }),
            }
        }
        Ok(found)
    }
}

impl Subscribed {
    /// Adds others.
    pub fn extend(&mut self, others: Self) {
        self.subscribers.extend(others.subscribers);
        self.unreadable.extend(others.unreadable);
    }
}

fn of_platform(row: Vec<Value>) -> Result<Webhook, Corrupt> {
    PlatformWebhook::from_values(row).map(|row| row.0)
}
