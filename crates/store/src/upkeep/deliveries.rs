//! Upkeep of deliveries: the leases of lanes, and the removal of what has expired or belongs to a webhook that is gone.

use super::Durability;
use super::MAX_REMOVED;
use super::leases::Leased;
use super::outcomes::lanes_locked;
use crate::Store;
use crate::list::corrupt;
use crate::many_rows::{Named, bind_rows};
use crate::rows::{Dialect, Field, Type, Value, take};
use crate::sql::Sql;
use crate::tables::{webhook_attempts, webhook_lanes};
use std::time::Duration;
use tenancy_core::delivery::{expired_slots, least_delivery_id};
use tenancy_core::ids::WebhookId;
use tenancy_core::lane::Lane;
use tenancy_core::{Error, Timestamp};

/// How lanes are leased.
const LEASED_LANES: Leased = Leased {
    table: webhook_lanes::TABLE,
    key: "webhook_id",
    open: "due_at IS NOT NULL",
    held: "lease_holder IS NOT NULL",
    due_in_the_past: "false",
    claim: "",
};

/// Held lease of a lane.
pub type LaneLease = (WebhookId, i64);

/// A lane that its process returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LaneReturn {
    /// The lease.
    pub lease: LaneLease,
    /// Number of wakes that the process knows of. After further ones, the lane is due at once.
    pub wakes: i64,
    /// Time before which nothing may be sent.
    pub not_before: Option<Timestamp>,
    /// Whether nothing may be sent until the lane is woken.
    pub is_idle: bool,
}

impl LaneReturn {
    /// A lane whose work was aborted: it is due at once.
    pub fn at_once(lease: LaneLease) -> Self {
        // No lane has this number of wakes.
        Self { lease, wakes: -1, not_before: None, is_idle: false }
    }
}

/// Columns of the lease of a lane.
pub(super) const LEASE: [Named; 2] = [("webhook_id", Type::Text), ("lease_epoch", Type::Int)];

impl Store {
    /// Claims up to `limit` due lanes.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn claim_lanes(&self, holder: &str, limit: usize, lease: Duration) -> Result<Vec<Lane>, Error> {
        self.claim_rows(&LEASED_LANES, holder, limit, lease).await
    }

    /// Extends the leases of lanes. Returns those that are still held.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn extend_lanes(
        &self,
        leases: &[LaneLease],
        lease: Duration,
        within: Duration,
    ) -> Result<Vec<LaneLease>, Error> {
        self.extend_leases(&LEASED_LANES, leases, lease, within).await
    }

    /// Returns a lane. It is due when its next delivery is, but not before its own time; and at once if it was woken since.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn return_lane(&self, lane: &LaneReturn) -> Result<(), Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let (id, epoch) = &lane.lease;
        let rows = vec![vec![id.put(), epoch.put(), lane.wakes.put(), lane.not_before.put(), lane.is_idle.put()]];
        let columns = [LEASE[0], LEASE[1], ("wakes", Type::Int), ("not_before", Type::Time), ("is_idle", Type::Bool)];
        let from = bind_rows(&mut sql, &columns, rows);
        let now = sql.bind(Type::Time, Value::Time(self.now()));
        let greater = if self.dialect() == Dialect::Sqlite { "max" } else { "greatest" };
        sql.text = format!(
            "UPDATE webhook_lanes AS l SET lease_holder = NULL, due_at = CASE WHEN l.wakes <> u.wakes THEN {now} \
             WHEN u.is_idle THEN NULL ELSE (SELECT {greater}(min(d.due_at), coalesce(u.not_before, min(d.due_at))) \
             FROM webhook_deliveries d WHERE d.webhook_id = u.webhook_id AND d.state = 'waiting') END \
             FROM {from} WHERE l.webhook_id = u.webhook_id AND l.lease_epoch = u.lease_epoch RETURNING 1"
        );
        self.write(sql, vec![Type::Int]).await.map(drop)
    }

    /// Returns the number of wakes of the lanes that a process has.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn lane_wakes(&self, lanes: &[WebhookId]) -> Result<Vec<(WebhookId, i64)>, Error> {
        self.lane_numbers("wakes", lanes).await
    }

    /// Returns the numbers of the leases of lanes.
    pub(super) async fn lane_epochs(&self, lanes: &[WebhookId]) -> Result<Vec<LaneLease>, Error> {
        self.lane_numbers("lease_epoch", lanes).await
    }

    /// Returns a number of each lane.
    async fn lane_numbers(&self, column: &str, lanes: &[WebhookId]) -> Result<Vec<(WebhookId, i64)>, Error> {
        if lanes.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new(self.dialect(), format!("SELECT webhook_id, {column} FROM webhook_lanes"));
        sql.one_of("webhook_id", lanes);
        let rows = self.rows(sql, vec![Type::Text, Type::Int]).await?;
        let read = |row: Vec<Value>| {
            let mut values = row.into_iter();
            Ok((take(&mut values, "webhook_lanes", "webhook_id")?, take(&mut values, "webhook_lanes", column)?))
        };
        rows.into_iter().map(read).collect::<Result<_, _>>().map_err(corrupt)
    }

    /// Removes up to [`MAX_REMOVED`] deliveries of a webhook that no longer exists, with their attempts; and the lane when
    /// no delivery is left. Returns the number of deliveries.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn remove_deliveries(&self, lease: &LaneLease) -> Result<usize, Error> {
        let dialect = self.dialect();
        let statement = |text: &str| {
            let mut sql = Sql::new(dialect, "");
            let id = sql.bind(Type::Text, lease.0.put());
            let epoch = sql.bind(Type::Int, Value::Int(lease.1));
            let some = format!(
                "SELECT delivery_id FROM webhook_deliveries WHERE webhook_id = {id} \
                 AND EXISTS (SELECT 1 FROM webhook_lanes WHERE webhook_id = {id} AND lease_epoch = {epoch}) \
                 ORDER BY state, delivery_id LIMIT {MAX_REMOVED}"
            );
            let slots = (0..tenancy_core::delivery::SLOTS).map(|slot| slot.to_string()).collect::<Vec<_>>().join(", ");
            sql.text = text
                .replace("{some}", &some)
                .replace("{slots}", &slots)
                .replace("{id}", &id)
                .replace("{epoch}", &epoch);
            sql
        };
        // What is recorded at the same time about these deliveries is recorded before its removal or not at all: the rows are
        // locked first, the lane before its deliveries, as everywhere.
        let mut statements = Vec::new();
        if dialect == Dialect::Postgres {
            statements.push(lanes_locked(dialect, std::slice::from_ref(lease)));
            statements.push(statement("SELECT 1 FROM webhook_deliveries WHERE delivery_id IN ({some}) FOR UPDATE"));
        }
        let attempts =
            statement("DELETE FROM webhook_attempts WHERE slot IN ({slots}) AND delivery_id IN ({some}) RETURNING 1");
        let deliveries = statement("DELETE FROM webhook_deliveries WHERE delivery_id IN ({some}) RETURNING 1");
        let lane = statement(
            "DELETE FROM webhook_lanes WHERE webhook_id = {id} AND lease_epoch = {epoch} \
             AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.webhook_id = {id}) RETURNING 1",
        );
        let removed = statements.len() + 1;
        statements.extend([attempts, deliveries, lane]);
        let done = self.write_all(statements, Durability::Synced).await?;
        Ok(done.get(removed).map_or(0, Vec::len))
    }

    /// Removes deliveries and attempts that are older than `retention_days`. Returns the number of deliveries. On
    /// PostgreSQL whole parts of the table of attempts are emptied.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn remove_expired_deliveries(&self, retention_days: u32) -> Result<u64, Error> {
        let now = self.now();
        for slot in expired_slots(now, retention_days) {
            self.empty_slot(slot).await?;
        }
        let oldest = now.checked_sub(jiff::SignedDuration::from_hours(24 * i64::from(retention_days)));
        let mut sql = Sql::new(self.dialect(), "");
        let least = sql.bind(Type::Text, least_delivery_id(oldest.unwrap_or(Timestamp::MIN)).put());
        let expired = format!("old.delivery_id < {least}");
        self.remove_portion(sql, "webhook_deliveries", "delivery_id", &expired).await
    }

    /// Empties a part of the table of attempts, if it is not empty.
    async fn empty_slot(&self, slot: i64) -> Result<(), Error> {
        let mut any = Sql::new(self.dialect(), "");
        let number = any.bind(Type::Int, Value::Int(slot));
        any.text = format!("SELECT 1 FROM webhook_attempts WHERE slot = {number} LIMIT 1");
        loop {
            if self.rows(any.clone(), vec![Type::Int]).await?.is_empty() {
                return Ok(());
            }
            let mut sql = Sql::new(self.dialect(), "");
            match self.dialect() {
                Dialect::Postgres => sql.text = format!("TRUNCATE {}_{slot:02}", webhook_attempts::TABLE.name),
                Dialect::Sqlite => {
                    let number = sql.bind(Type::Int, Value::Int(slot));
                    let most = sql.bind(Type::Int, Value::Int(i64::from(MAX_REMOVED)));
                    let some = format!(
                        "SELECT slot, delivery_id, attempt FROM webhook_attempts WHERE slot = {number} LIMIT {most}"
                    );
                    sql.text = format!(
                        "DELETE FROM webhook_attempts WHERE (slot, delivery_id, attempt) IN ({some}) RETURNING 1"
                    );
                }
            }
            self.write(sql, vec![Type::Int]).await?;
        }
    }
}
