//! Upkeep of deliveries: the leases of lanes, the outcomes of attempts, what is sent again, and what has expired.

use super::MAX_REMOVED;
use super::leases::Leased;
use crate::Store;
use crate::list::corrupt;
use crate::many_rows::{Named, bind_rows};
use crate::rows::{Dialect, Field, Record, Type, Value, take};
use crate::sql::Sql;
use crate::tables::{webhook_attempts, webhook_lanes};
use std::time::Duration;
use tenancy_core::delivery::{
    AttemptOutcome, Delivery, DeliveryAttempt, DeliveryState, expired_slots, least_delivery_id,
};
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

/// Result of one attempt: the delivery after it, and the row of the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Lease under which it was sent.
    pub lease_epoch: i64,
    /// The delivery after the attempt.
    pub delivery: Delivery,
    /// The attempt.
    pub attempt: DeliveryAttempt,
}

/// Results of attempts, and their lanes after them. They are written in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Results.
    pub outcomes: Vec<Outcome>,
    /// Lanes, each under its lease.
    pub lanes: Vec<Lane>,
}

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
const LEASE: [Named; 2] = [("webhook_id", Type::Text), ("lease_epoch", Type::Int)];

/// Columns of a delivery that an attempt changes.
const ATTEMPTED: [Named; 8] = [
    ("delivery_id", Type::Text),
    ("state", Type::Text),
    ("attempts", Type::Int),
    ("tries", Type::Int),
    ("due_at", Type::Time),
    ("last_status", Type::Int),
    ("last_error", Type::Text),
    ("last_attempt_at", Type::Time),
];

/// Columns of a lane that attempts change.
const COUNTED: [Named; 8] = [
    ("failures", Type::Int),
    ("open_until", Type::Time),
    ("failing_since", Type::Time),
    ("warned", Type::Int),
    ("last_success_at", Type::Time),
    ("last_failure_at", Type::Time),
    ("last_failure", Type::Text),
    ("seen_at", Type::Time),
];

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

    /// Returns lanes. Each is due when its next delivery is, but not before its own time; and at once if it was woken
    /// since.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn return_lanes(&self, lanes: &[LaneReturn]) -> Result<(), Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let row = |lane: &LaneReturn| {
            let (id, epoch) = &lane.lease;
            vec![id.put(), epoch.put(), lane.wakes.put(), lane.not_before.put(), lane.is_idle.put()]
        };
        let rows: Vec<_> = lanes.iter().map(row).collect();
        let columns = [LEASE[0], LEASE[1], ("wakes", Type::Int), ("not_before", Type::Time), ("is_idle", Type::Bool)];
        let from = bind_rows(&mut sql, &columns, &rows);
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

    /// Writes the results of attempts, those under leases that are still held. A delivery that no longer waits, because it
    /// was delivered under another lease, stays as it is. Returns the leases that are lost.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn record_outcomes(&self, recorded: &Recorded) -> Result<Vec<LaneLease>, Error> {
        let mut statements = Vec::new();
        if !recorded.lanes.is_empty() {
            statements.push(lanes_counted(self.dialect(), &recorded.lanes));
        }
        if !recorded.outcomes.is_empty() {
            statements.push(deliveries_attempted(self.dialect(), &recorded.outcomes));
            statements.push(attempts_inserted(self.dialect(), &recorded.outcomes));
        }
        let done = self.write_all(statements).await?;
        if done.first().is_none_or(|held| held.len() == recorded.lanes.len()) {
            return Ok(Vec::new());
        }
        let ours = |lane: &Lane| (lane.webhook_id.clone(), lane.lease_epoch);
        let leases: Vec<_> = recorded.lanes.iter().map(ours).collect();
        let ids: Vec<_> = leases.iter().map(|(id, _)| id.clone()).collect();
        let held = self.lane_epochs(&ids).await?;
        Ok(leases.into_iter().filter(|lease| !held.contains(lease)).collect())
    }

    /// Returns the numbers of the leases of lanes.
    async fn lane_epochs(&self, lanes: &[WebhookId]) -> Result<Vec<LaneLease>, Error> {
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
        let attempts =
            statement("DELETE FROM webhook_attempts WHERE slot IN ({slots}) AND delivery_id IN ({some}) RETURNING 1");
        let deliveries = statement("DELETE FROM webhook_deliveries WHERE delivery_id IN ({some}) RETURNING 1");
        let lane = statement(
            "DELETE FROM webhook_lanes WHERE webhook_id = {id} AND lease_epoch = {epoch} \
             AND NOT EXISTS (SELECT 1 FROM webhook_deliveries d WHERE d.webhook_id = {id}) RETURNING 1",
        );
        let done = self.write_all(vec![attempts, deliveries, lane]).await?;
        Ok(done.get(1).map_or(0, Vec::len))
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

/// Joins rows with the lanes whose lease they name.
const UNDER_LEASE: &str = "l.webhook_id = u.webhook_id AND l.lease_epoch = u.lease_epoch";

fn lanes_counted(dialect: Dialect, lanes: &[Lane]) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let row = |lane: &Lane| {
        let mut row = vec![lane.webhook_id.put(), lane.lease_epoch.put(), lane.failures.put(), lane.open_until.put()];
        row.extend([lane.failing_since.put(), lane.warned.put(), lane.last_success_at.put()]);
        row.extend([lane.last_failure_at.put(), lane.last_failure.put(), lane.seen_at.put()]);
        row
    };
    let rows: Vec<_> = lanes.iter().map(row).collect();
    let columns: Vec<_> = LEASE.into_iter().chain(COUNTED).collect();
    let from = bind_rows(&mut sql, &columns, &rows);
    let set: Vec<_> = COUNTED.iter().map(|(name, _)| format!("{name} = u.{name}")).collect();
    sql.text = format!("UPDATE webhook_lanes AS l SET {} FROM {from} WHERE {UNDER_LEASE} RETURNING 1", set.join(", "));
    sql
}

fn deliveries_attempted(dialect: Dialect, outcomes: &[Outcome]) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let row = |outcome: &Outcome| {
        let delivery = &outcome.delivery;
        let mut row = vec![delivery.webhook_id.put(), outcome.lease_epoch.put(), delivery.delivery_id.put()];
        row.extend([delivery.state.put(), delivery.attempts.put(), delivery.tries.put(), delivery.due_at.put()]);
        row.extend([delivery.last_status.put(), delivery.last_error.put(), delivery.last_attempt_at.put()]);
        row
    };
    let rows: Vec<_> = outcomes.iter().map(row).collect();
    let columns: Vec<_> = LEASE.into_iter().chain(ATTEMPTED).collect();
    let from = bind_rows(&mut sql, &columns, &rows);
    let set: Vec<_> = ATTEMPTED.iter().skip(1).map(|(name, _)| format!("{name} = u.{name}")).collect();
    sql.text = format!(
        "UPDATE webhook_deliveries AS d SET {} FROM {from}, webhook_lanes AS l \
         WHERE d.delivery_id = u.delivery_id AND d.state = 'waiting' AND {UNDER_LEASE} RETURNING 1",
        set.join(", ")
    );
    sql
}

/// Attempts are recorded also if the lease was lost: the request was sent. Those of a purged tenant keep nothing of the
/// answer.
fn attempts_inserted(dialect: Dialect, outcomes: &[Outcome]) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let table = webhook_attempts::TABLE;
    let rows: Vec<_> = outcomes.iter().map(|outcome| outcome.attempt.values()).collect();
    let columns: Vec<Named> = table.columns.iter().map(|column| (column.name, column.ty)).collect();
    let from = bind_rows(&mut sql, &columns, &rows);
    let purged = "EXISTS (SELECT 1 FROM tenants t WHERE t.tenant_id = u.tenant_id AND t.purged_at IS NOT NULL)";
    let value = |(name, _): &Named| match *name {
        "answer_start" => format!("CASE WHEN {purged} THEN '' ELSE u.answer_start END"),
        "detail" => format!("CASE WHEN {purged} THEN NULL ELSE u.detail END"),
        name => format!("u.{name}"),
    };
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = columns.iter().map(value).collect();
    sql.text = format!(
        "INSERT INTO webhook_attempts ({}) SELECT {} FROM {from} WHERE true \
         ON CONFLICT (slot, delivery_id, attempt) DO NOTHING RETURNING 1",
        names.join(", "),
        values.join(", ")
    );
    sql
}

impl Outcome {
    /// Whether the receiver accepted the delivery.
    pub fn is_delivered(&self) -> bool {
        self.attempt.outcome == AttemptOutcome::Delivered && self.delivery.state == DeliveryState::Delivered
    }
}
