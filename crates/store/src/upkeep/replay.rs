//! Upkeep of replays: events that are sent again.

use super::Durability;
use super::dispatch::{delivery_columns, held, locked};
use crate::Store;
use crate::many_rows::bind_rows;
use crate::rows::{Dialect, Field, Record, Type, Value};
use crate::sql::Sql;
use crate::topics::Topic;
use tenancy_core::delivery::Delivery;
use tenancy_core::ids::WebhookId;
use tenancy_core::lane::Lane;
use tenancy_core::{Error, Timestamp};

impl Store {
    /// Returns the position of the last event before a time.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn position_before(&self, time: Timestamp) -> Result<i64, Error> {
        // The batches are ordered by position and, apart from jumps of the clock, by time.
        let (mut before, mut after) = (0, self.log_end().await?.newest + 1);
        while before + 1 < after {
            let middle = before + (after - before) / 2;
            let mut sql =
                Sql::new(self.dialect(), "SELECT first_position, last_position, committed_at FROM log_batches");
            sql.and("last_position >= {}", Some(middle)).order("last_position", 1);
            let row = self.rows(sql, vec![Type::Int, Type::Int, Type::Time]).await?.pop();
            match row.as_deref() {
                Some([Value::Int(_), Value::Int(last), Value::Time(at)]) if *at < time => before = (*last).max(middle),
                Some([Value::Int(first), Value::Int(_), Value::Time(_)]) => after = (*first).clamp(before + 1, middle),
                _ => after = middle,
            }
        }
        Ok(before)
    }

    /// Returns replays that are not paused, in order of their webhooks, after one of them.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn replays(&self, after: Option<&WebhookId>, limit: usize) -> Result<Vec<Lane>, Error> {
        let mut sql = self.select::<Lane>();
        if self.dialect() == Dialect::Sqlite {
            // There are few replays and many lanes: the order must not make it read all lanes.
            sql.text.push_str(" INDEXED BY webhook_lanes_replays");
        }
        sql.also("replay_position IS NOT NULL").and("replay_paused = {}", Some(false));
        sql.and("webhook_id > {}", after.cloned()).order("webhook_id", limit);
        self.all_readable(sql).await
    }

    /// Makes deliveries due again, or makes them if they do not exist, and moves the replay; `None` ends it. Returns `false` if
    /// the lease of the dispatcher is lost, or the replay was paused or replaced; nothing is written then.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn replay_part(
        &self,
        epoch: i64,
        lane: &Lane,
        deliveries: &[Delivery],
        next: Option<i64>,
    ) -> Result<bool, Error> {
        let dialect = self.dialect();
        // The order in which the dispatcher locks: its lease, then lanes, then deliveries.
        let mut statements = vec![locked(dialect, epoch), claimed(dialect, epoch, lane)];
        if !deliveries.is_empty() {
            statements.push(made_due(dialect, epoch, lane, deliveries));
        }
        statements.push(advanced(dialect, epoch, lane, next, (!deliveries.is_empty()).then(|| self.now())));
        let is_moved =
            self.write_all(statements, Durability::Synced).await?.last().is_some_and(|rows| !rows.is_empty());
        if is_moved && !deliveries.is_empty() {
            self.tell(Topic::Deliveries);
        }
        Ok(is_moved)
    }
}

/// The condition of a part: the lease is held, and the replay is still what was read.
fn is_there(sql: &mut Sql, epoch: i64, lane: &Lane) -> String {
    let held = held(sql, epoch);
    let id = sql.bind(Type::Text, lane.webhook_id.put());
    let [position, to] = [lane.replay_position, lane.replay_to].map(|value| sql.bind(Type::Int, value.put()));
    let only = sql.bind(Type::Bool, lane.replay_undelivered.put());
    format!(
        "webhook_id = {id} AND replay_position = {position} AND replay_to = {to} AND replay_undelivered = {only} \
         AND NOT replay_paused AND {held}"
    )
}

/// Locks the lane before anything is written, so that the condition holds until the commit.
fn claimed(dialect: Dialect, epoch: i64, lane: &Lane) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let condition = is_there(&mut sql, epoch, lane);
    sql.text = format!("UPDATE webhook_lanes SET replay_position = replay_position WHERE {condition} RETURNING 1");
    sql
}

fn made_due(dialect: Dialect, epoch: i64, lane: &Lane, deliveries: &[Delivery]) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let rows: Vec<_> = deliveries.iter().map(Record::values).collect();
    let columns = delivery_columns();
    let from = bind_rows(&mut sql, &columns, rows);
    let condition = is_there(&mut sql, epoch, lane);
    let only = sql.bind(Type::Bool, Value::Bool(lane.replay_undelivered));
    let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
    sql.text = format!(
        "INSERT INTO webhook_deliveries AS d ({}) SELECT u.{} FROM {from} \
         WHERE EXISTS (SELECT 1 FROM webhook_lanes WHERE {condition}) ON CONFLICT (delivery_id) DO UPDATE \
         SET state = 'waiting', tries = 0, due_at = excluded.due_at \
         WHERE d.state = 'failed' OR d.state = 'delivered' AND NOT {only} RETURNING 1",
        names.join(", "),
        names.join(", u.")
    );
    sql
}

/// Moves or ends the replay. With a time, deliveries are due since then, and the lane with them.
fn advanced(dialect: Dialect, epoch: i64, lane: &Lane, next: Option<i64>, due: Option<Timestamp>) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let next = sql.bind(Type::Int, next.put());
    let woken = due.map_or_else(String::new, |now| {
        let now = sql.bind(Type::Time, Value::Time(now));
        let greater = if dialect == Dialect::Sqlite { "max" } else { "greatest" };
        format!(
            ", wakes = wakes + 1, due_at = CASE WHEN lease_holder IS NOT NULL OR due_at <= {now} THEN due_at \
             ELSE {greater}(coalesce(open_until, {now}), {now}) END"
        )
    });
    let condition = is_there(&mut sql, epoch, lane);
    sql.text = format!(
        "UPDATE webhook_lanes SET replay_position = {next}, \
         replay_to = CASE WHEN {next} IS NULL THEN NULL ELSE replay_to END{woken} WHERE {condition} RETURNING 1"
    );
    sql
}
