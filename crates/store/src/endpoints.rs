//! Webhooks as those who deliver to them read them: who subscribes to the events of some tenants, and one webhook with its
//! secrets.

use crate::Store;
use crate::list::corrupt;
use crate::many_rows::bind_rows;
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

/// A webhook with its secrets.
#[derive(Debug, Clone, PartialEq)]
pub struct Endpoint {
    /// The webhook.
    pub webhook: Webhook,
    /// Its secrets.
    pub secrets: Secrets,
}

impl Store {
    /// Returns the webhooks of these tenants, of these organizations, and of the platform.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn subscribers(
        &self,
        tenants: &BTreeSet<TenantId>,
        organizations: &BTreeSet<OrganizationId>,
    ) -> Result<Vec<Subscriber>, Error> {
        let mut found = Vec::new();
        if !tenants.is_empty() {
            let mut sql = Sql::new(self.dialect(), "");
            let ids: Vec<_> = tenants.iter().map(|id| vec![id.put()]).collect();
            let from = bind_rows(&mut sql, &[("id", Type::Text)], &ids);
            sql.text = format!(
                "{} WHERE tenant_id IN (SELECT u.id FROM {from})",
                self.select_with(webhooks::TABLE, "from_position")
            );
            found.extend(self.read_with(sql, webhooks::TABLE, Type::Int, Webhook::from_values).await?);
        }
        let mut sql = Sql::new(self.dialect(), "");
        let ids: Vec<_> = organizations.iter().map(|id| vec![id.put()]).collect();
        let from = bind_rows(&mut sql, &[("id", Type::Text)], &ids);
        sql.text = format!(
            "{} WHERE organization_id IS NULL OR organization_id IN (SELECT u.id FROM {from})",
            self.select_with(platform_webhooks::TABLE, "from_position")
        );
        let of_platform = |row| PlatformWebhook::from_values(row).map(|row| row.0);
        found.extend(self.read_with(sql, platform_webhooks::TABLE, Type::Int, of_platform).await?);
        let read = |(webhook, from): (Webhook, Value)| {
            Ok(Subscriber { webhook, from_position: <Option<i64> as Field>::take(from)? })
        };
        found.into_iter().map(read).collect::<Result<_, _>>().map_err(corrupt)
    }

    /// Returns a webhook with its secrets, whoever owns it.
    ///
    /// # Errors
    /// Same as [`Store::tenants`]; [`Error::Unreadable`] if the key of the secrets was destroyed.
    pub async fn endpoint(&self, id: &WebhookId) -> Result<Option<Endpoint>, Error> {
        let Some(webhook) = self.webhooks_by_ids(std::slice::from_ref(id)).await?.pop() else { return Ok(None) };
        let secrets = self.webhook_secrets(&webhook.owner, id).await?;
        Ok(Some(Endpoint { webhook, secrets }))
    }

    /// Returns the SELECT of a table and of a column that its description does not contain.
    fn select_with(&self, table: &Table, column: &str) -> String {
        let columns: Vec<_> = table.columns.iter().map(|column| self.dialect().read(*column)).collect();
        format!("SELECT {}, {column} FROM {}", columns.join(", "), table.name)
    }

    async fn read_with(
        &self,
        sql: Sql,
        table: &Table,
        more: Type,
        read: impl Fn(Vec<Value>) -> Result<Webhook, Corrupt>,
    ) -> Result<Vec<(Webhook, Value)>, Error> {
        let mut types: Vec<_> = table.columns.iter().map(|column| column.ty).collect();
        types.push(more);
        let rows = self.rows(sql, types).await?;
        let one = |mut row: Vec<Value>| {
            let more = row.pop().unwrap_or(Value::Null);
            read(row).map(|webhook| (webhook, more))
        };
        rows.into_iter().map(one).collect::<Result<_, _>>().map_err(corrupt)
    }
}
