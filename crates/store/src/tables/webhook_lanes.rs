//! Lanes: the deliveries of one webhook, which one process at a time sends. Their leases are written by upkeep.

use crate::Store;
use crate::rows::described;
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::ids::WebhookId;
use tenancy_core::lane::Lane;

described!(
    /// Lanes.
    Lane as TABLE "webhook_lanes" [webhook_id] {
        webhook_id: WebhookId,
        due_at: Option<Timestamp>,
        wakes: i64,
        lease_holder: Option<String>,
        lease_epoch: i64,
        failures: i64,
        open_until: Option<Timestamp>,
        failing_since: Option<Timestamp>,
        warned: i64,
        last_success_at: Option<Timestamp>,
        last_failure_at: Option<Timestamp>,
        last_failure: Option<String>,
        seen_at: Option<Timestamp>,
        replay_position: Option<i64>,
        replay_to: Option<i64>,
        replay_undelivered: bool,
        replay_paused: bool,
    }
);

impl Store {
    /// Returns the lane of a webhook; `None` if it never had a delivery.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn lane(&self, webhook: &WebhookId) -> Result<Option<Lane>, Error> {
        let mut sql = self.select::<Lane>();
        sql.and("webhook_id = {}", Some(webhook.clone()));
        self.one(sql).await
    }

    /// Returns the lanes of webhooks, of those that had deliveries.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn lanes(&self, webhooks: &[WebhookId]) -> Result<Vec<Lane>, Error> {
        if webhooks.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = self.select::<Lane>();
        sql.one_of("webhook_id", webhooks);
        self.all(sql).await
    }
}
