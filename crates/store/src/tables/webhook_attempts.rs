//! Attempts to send deliveries. Upkeep writes them, and a purge removes those of the tenant's events.

use crate::Store;
use crate::rows::{Record, Type, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::delivery::{AttemptOutcome, DeliveryAttempt, SLOTS};
use tenancy_core::ids::{DeliveryId, TenantId, WebhookId};

described!(
    /// Attempts.
    DeliveryAttempt as TABLE "webhook_attempts" [slot, delivery_id, attempt] {
        delivery_id: DeliveryId,
        attempt: i64,
        slot: i64,
        webhook_id: WebhookId,
        tenant_id: Option<TenantId>,
        started_at: Timestamp,
        outcome: AttemptOutcome,
        status: Option<i64>,
        connect_ms: Option<i64>,
        total_ms: i64,
        answer_start: String,
        error: Option<String>,
        detail: Option<String>,
        next_at: Option<Timestamp>,
    }
);

/// Deletes the attempts that sent events of a tenant that is purged: the start of an answer may contain anything.
pub const DELETE_OF_TENANT: WriteShape = WriteShape::DeleteAll { table: TABLE, by: "tenant_id" };

/// Maximum number of attempts of one delivery that are read.
const MAX_ATTEMPTS: usize = 200;

impl Store {
    /// Returns the attempts of a delivery that are kept, newest first, up to a limit.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn delivery_attempts(&self, id: &DeliveryId) -> Result<Vec<DeliveryAttempt>, Error> {
        let mut sql = self.select::<DeliveryAttempt>();
        let slots = (0..SLOTS).map(|slot| slot.to_string()).collect::<Vec<_>>().join(", ");
        sql.also(&format!("slot IN ({slots})"))
            .and("delivery_id = {}", Some(id.clone()))
            .order("attempt DESC", MAX_ATTEMPTS);
        let types: Vec<Type> = TABLE.columns.iter().map(|column| column.ty).collect();
        let rows = self.rows(sql, types).await?;
        rows.into_iter().map(DeliveryAttempt::from_values).collect::<Result<_, _>>().map_err(crate::list::corrupt)
    }
}
