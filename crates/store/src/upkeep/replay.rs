//! Upkeep of replays: events that are sent again.

use super::dispatch::{Wake, delivery_columns, woken};
use crate::Store;
use crate::list::corrupt;
use crate::many_rows::bind_rows;
use crate::rows::{Field, Record, Type, Value};
use crate::sql::Sql;
use crate::tables::webhook_lanes;
use crate::topics::Topic;
use tenancy_core::delivery::Delivery;
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

    /// Returns replays that are not paused.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn replays(&self, limit: usize) -> Result<Vec<Lane>, Error> {
        let mut sql = self.select::<Lane>();
        sql.also("replay_position IS NOT NULL").and("replay_paused = {}", Some(false)).order("replay_position", limit);
        let types = webhook_lanes::TABLE.columns.iter().map(|column| column.ty).collect();
        let rows = self.rows(sql, types).await?;
        rows.into_iter().map(Lane::from_values).collect::<Result<_, _>>().map_err(corrupt)
    }

    /// Makes deliveries due again, or makes them if they do not exist, and moves the replay; `None` ends it. Nothing happens if
    /// the replay was paused or replaced.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn replay_part(&self, lane: &Lane, deliveries: &[Delivery], next: Option<i64>) -> Result<(), Error> {
        let dialect = self.dialect();
        let is_there = |sql: &mut Sql| {
            let id = sql.bind(Type::Text, lane.webhook_id.put());
            let position = sql.bind(Type::Int, lane.replay_position.put());
            format!("webhook_id = {id} AND replay_position = {position} AND NOT replay_paused")
        };
        let mut statements = Vec::new();
        if !deliveries.is_empty() {
            // The lane is locked before its deliveries, as by those who record results.
            let wake = Wake { webhook_id: lane.webhook_id.clone(), now: false };
            statements.push(woken(dialect, None, self.now(), &[wake]));
            let mut sql = Sql::new(dialect, "");
            let rows: Vec<_> = deliveries.iter().map(Record::values).collect();
            let columns = delivery_columns();
            let from = bind_rows(&mut sql, &columns, &rows);
            let condition = is_there(&mut sql);
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
            statements.push(sql);
        }
        let mut sql = Sql::new(dialect, "");
        let next = sql.bind(Type::Int, next.put());
        let condition = is_there(&mut sql);
        sql.text = format!(
            "UPDATE webhook_lanes SET replay_position = {next}, \
             replay_to = CASE WHEN {next} IS NULL THEN NULL ELSE replay_to END WHERE {condition} RETURNING 1"
        );
        statements.push(sql);
        self.write_all(statements).await?;
        if !deliveries.is_empty() {
            self.tell(Topic::Deliveries);
        }
        Ok(())
    }
}
