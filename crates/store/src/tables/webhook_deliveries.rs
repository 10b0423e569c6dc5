//! Deliveries of events to webhooks. Upkeep writes them: a delivery is no change of a tenant.

use crate::Store;
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Record, Type, Value, described, take};
use crate::sql::Sql;
use jiff::Timestamp;
use std::collections::HashMap;
use tenancy_core::Error;
use tenancy_core::delivery::{Delivery, DeliveryState};
use tenancy_core::event::EventType;
use tenancy_core::ids::{AuditId, DeliveryId, TenantId, WebhookId};

described!(
    /// Deliveries.
    Delivery as TABLE "webhook_deliveries" [delivery_id] {
        delivery_id: DeliveryId,
        webhook_id: WebhookId,
        tenant_id: Option<TenantId>,
        audit_id: AuditId,
        position: i64,
        event_type: EventType,
        state: DeliveryState,
        attempts: i64,
        tries: i64,
        due_at: Timestamp,
        last_status: Option<i64>,
        last_error: Option<String>,
        last_attempt_at: Option<Timestamp>,
        created_at: Timestamp,
    }
);

/// Filter of deliveries. They are listed in the order of their events, newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryFilter {
    /// Only deliveries in one of these states; empty for all states.
    pub states: Vec<DeliveryState>,
}

/// Place of a delivery in the order in which deliveries are due: when, and the position of its event.
pub type DuePlace = (Timestamp, i64);

impl Store {
    /// Lists the deliveries of a webhook, those of the newest events first.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn deliveries(
        &self,
        webhook: &WebhookId,
        filter: &DeliveryFilter,
        page: &Page,
    ) -> Result<Listed<Delivery>, Error> {
        let after = place("deliveries", page)?;
        let every: Vec<_> = DeliveryState::WORDS.iter().map(|(_, state)| *state).collect();
        let states = if filter.states.is_empty() { every } else { filter.states.clone() };
        let mut params = Vec::new();
        // One read of the index for each state: the index is ordered by state first.
        let one = |state: &DeliveryState| {
            let mut sql = self.select::<Delivery>();
            sql.params = std::mem::take(&mut params);
            sql.and("webhook_id = {}", Some(webhook.clone()))
                .and("state = {}", Some(*state))
                .and("delivery_id < {}", after.clone())
                .order("delivery_id DESC", limit(page) + 1);
            params = std::mem::take(&mut sql.params);
            format!("SELECT * FROM ({}) AS {state}", sql.text)
        };
        let parts = states.iter().map(one).collect::<Vec<_>>().join(" UNION ALL ");
        let mut sql = Sql::new(self.dialect(), format!("SELECT * FROM ({parts}) AS deliveries"));
        sql.params = params;
        sql.order("delivery_id DESC", limit(page) + 1);
        self.list("deliveries", sql, page, "delivery_id").await
    }

    /// Returns a delivery of a webhook.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn delivery(&self, webhook: &WebhookId, id: &DeliveryId) -> Result<Option<Delivery>, Error> {
        let mut sql = self.select::<Delivery>();
        sql.and("delivery_id = {}", Some(id.clone())).and("webhook_id = {}", Some(webhook.clone()));
        self.one(sql).await
    }

    /// Returns up to `limit` deliveries of a webhook that are due now, in order, from the first one or after a place.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn due_deliveries(
        &self,
        webhook: &WebhookId,
        after: Option<DuePlace>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let mut sql = self.select::<Delivery>();
        sql.is_kept = true;
        sql.also("state = 'waiting'")
            .and("webhook_id = {}", Some(webhook.clone()))
            .and("due_at <= {}", Some(self.now()));
        if let Some((due_at, position)) = after {
            let due_at = sql.bind(Type::Time, Value::Time(due_at));
            let position = sql.bind(Type::Int, Value::Int(position));
            sql.also(&format!("(due_at, position) > ({due_at}, {position})"));
        }
        sql.order("due_at, position", limit);
        let types: Vec<Type> = TABLE.columns.iter().map(|column| column.ty).collect();
        let rows = self.rows(sql, types).await?;
        rows.into_iter().map(Delivery::from_values).collect::<Result<_, _>>().map_err(crate::list::corrupt)
    }

    /// Returns the number of deliveries of a webhook in a state, counted up to `most`.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn count_deliveries(&self, webhook: &WebhookId, state: DeliveryState, most: usize) -> Result<i64, Error> {
        let mut sql = Sql::new(self.dialect(), "SELECT delivery_id FROM webhook_deliveries");
        sql.and("webhook_id = {}", Some(webhook.clone())).and("state = {}", Some(state)).order("delivery_id", most);
        sql.text = format!("SELECT count(*) FROM ({}) AS counted", sql.text);
        let rows = self.rows(sql, vec![Type::Int]).await?;
        let count = rows.into_iter().flatten().next().map(crate::rows::Field::take).transpose();
        count.map_err(crate::list::corrupt).map(Option::unwrap_or_default)
    }

    /// Returns for each of these webhooks that had deliveries how many wait, each counted up to `most`.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn waiting_deliveries(
        &self,
        webhooks: &[WebhookId],
        most: usize,
    ) -> Result<HashMap<WebhookId, i64>, Error> {
        if webhooks.is_empty() {
            return Ok(HashMap::new());
        }
        let mut sql = Sql::new(self.dialect(), "");
        let most = sql.bind(Type::Int, Value::Int(i64::try_from(most).unwrap_or(i64::MAX)));
        sql.text = format!(
            "SELECT l.webhook_id, (SELECT count(*) FROM (SELECT 1 FROM webhook_deliveries d \
             WHERE d.webhook_id = l.webhook_id AND d.state = 'waiting' LIMIT {most}) AS counted) FROM webhook_lanes l"
        );
        sql.one_of("l.webhook_id", webhooks);
        let rows = self.rows(sql, vec![Type::Text, Type::Int]).await?;
        let read = |row: Vec<Value>| {
            let mut values = row.into_iter();
            Ok((take(&mut values, "webhook_lanes", "webhook_id")?, take(&mut values, "webhook_deliveries", "count")?))
        };
        rows.into_iter().map(read).collect::<Result<_, _>>().map_err(crate::list::corrupt)
    }
}
