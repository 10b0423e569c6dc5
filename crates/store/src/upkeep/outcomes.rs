//! Upkeep of the results of attempts. They are written in batches, those of all webhooks together.

use super::Durability;
use super::deliveries::{LEASE, LaneLease};
use crate::Store;
use crate::many_rows::{Named, bind_rows};
use crate::rows::{Dialect, Field, Record, Type, Value};
use crate::sql::Sql;
use crate::tables::webhook_attempts;
use std::collections::{BTreeSet, HashMap};
use tenancy_core::delivery::{AttemptOutcome, Delivery, DeliveryAttempt, DeliveryState};
use tenancy_core::lane::Lane;
use tenancy_core::{Error, Timestamp};

/// Result of one attempt: the delivery after it, and the row of the attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Lease under which it was sent.
    pub lease_epoch: i64,
    /// When the delivery was due, as it was read before the attempt. If it is due at another time now, it was asked for
    /// again meanwhile: it stays due, with its whole retry policy.
    pub was_due_at: Timestamp,
    /// The delivery after the attempt.
    pub delivery: Delivery,
    /// The attempt. It gets the next number of the delivery, whatever its own one is.
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

/// Columns that an attempt changes in its delivery.
const ATTEMPTED: [Named; 8] = [
    ("delivery_id", Type::Text),
    ("was_due_at", Type::Time),
    ("state", Type::Text),
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

/// Joins rows with the lanes whose lease they name.
const UNDER_LEASE: &str = "l.webhook_id = u.webhook_id AND l.lease_epoch = u.lease_epoch";

impl Store {
    /// Writes the results of attempts. Every attempt is logged, also one whose lease was lost meanwhile, because it was sent.
    /// The delivery takes the result only under a lease that is still held, and only if it still waits as it did before
    /// the attempt: one that was delivered under another lease, or that was asked for again, stays as it is. Writing
    /// the same results twice is the same as once. Returns the leases that are lost.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn record_outcomes(&self, recorded: &Recorded) -> Result<Vec<LaneLease>, Error> {
        let dialect = self.dialect();
        let ours = |lane: &Lane| (lane.webhook_id.clone(), lane.lease_epoch);
        let leases: Vec<_> = recorded.lanes.iter().map(ours).collect();
        let mut statements = Vec::new();
        if dialect == Dialect::Postgres {
            statements.extend(data_keys_locked(dialect, &recorded.outcomes));
            statements.extend((!leases.is_empty()).then(|| lanes_locked(dialect, &leases)));
        }
        let counted = statements.len();
        if !recorded.lanes.is_empty() {
            statements.push(lanes_counted(dialect, &recorded.lanes));
        }
        match dialect {
            Dialect::Sqlite => {
                statements
                    .extend(recorded.outcomes.iter().flat_map(|one| [delivery_attempted(one), attempt_inserted(one)]));
            }
            Dialect::Postgres => {
                let parts = once_each(&recorded.outcomes);
                statements.extend(parts.iter().map(|part| deliveries_attempted_and_logged(part)));
            }
        }
        let done = self.write_all(statements, Durability::Synced).await?;
        if recorded.lanes.is_empty() || done.get(counted).is_some_and(|held| held.len() == recorded.lanes.len()) {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = leases.iter().map(|(id, _)| id.clone()).collect();
        let held = self.lane_epochs(&ids).await?;
        Ok(leases.into_iter().filter(|lease| !held.contains(lease)).collect())
    }
}

/// Divides results so that each delivery is in a part once: a statement changes a row once. A process that lost a lease and
/// has it again may have two results of one delivery.
fn once_each(outcomes: &[Outcome]) -> Vec<Vec<&Outcome>> {
    let (mut parts, mut counts): (Vec<Vec<_>>, HashMap<_, usize>) = (Vec::new(), HashMap::new());
    for outcome in outcomes {
        let count = counts.entry(&outcome.delivery.delivery_id).or_default();
        if *count == parts.len() {
            parts.push(Vec::new());
        }
        parts[*count].push(outcome);
        *count += 1;
    }
    parts
}

/// Locks lanes under their leases, in the order in which all processes lock lanes; the statements after it find them locked.
/// An UPDATE of many rows locks them in any order, so that two of them could wait for each other.
pub(super) fn lanes_locked(dialect: Dialect, leases: &[LaneLease]) -> Sql {
    let mut sql = Sql::kept(dialect);
    let rows: Vec<_> = leases.iter().map(|(id, epoch)| vec![id.put(), epoch.put()]).collect();
    let from = bind_rows(&mut sql, &LEASE, rows);
    sql.text = format!(
        "SELECT 1 FROM webhook_lanes AS l JOIN {from} ON {UNDER_LEASE} ORDER BY l.webhook_id FOR NO KEY UPDATE OF l"
    );
    sql
}

/// Locks the data keys of tenants about which something is kept that a receiver said. A purge changes the key before it
/// deletes attempts: it therefore waits and deletes these, or the statements after this one see that the tenant is purged.
fn data_keys_locked(dialect: Dialect, outcomes: &[Outcome]) -> Option<Sql> {
    let said = |outcome: &&Outcome| !outcome.attempt.answer_start.is_empty() || outcome.attempt.detail.is_some();
    let tenants: BTreeSet<_> = outcomes.iter().filter(said).filter_map(|one| one.attempt.tenant_id.as_ref()).collect();
    if tenants.is_empty() {
        return None;
    }
    let mut sql = Sql::kept(dialect);
    let rows: Vec<_> = tenants.into_iter().map(|id| vec![id.put()]).collect();
    let from = bind_rows(&mut sql, &[("tenant_id", Type::Text)], rows);
    sql.text = format!(
        "SELECT 1 FROM data_keys AS k JOIN {from} ON k.tenant_id = u.tenant_id ORDER BY k.tenant_id FOR SHARE OF k"
    );
    Some(sql)
}

fn lanes_counted(dialect: Dialect, lanes: &[Lane]) -> Sql {
    let mut sql = Sql::kept(dialect);
    let row = |lane: &Lane| {
        let mut row = vec![lane.webhook_id.put(), lane.lease_epoch.put(), lane.failures.put(), lane.open_until.put()];
        row.extend([lane.failing_since.put(), lane.warned.put(), lane.last_success_at.put()]);
        row.extend([lane.last_failure_at.put(), lane.last_failure.put(), lane.seen_at.put()]);
        row
    };
    let rows: Vec<_> = lanes.iter().map(row).collect();
    let columns: Vec<_> = LEASE.into_iter().chain(COUNTED).collect();
    let from = bind_rows(&mut sql, &columns, rows);
    let set: Vec<_> = COUNTED.iter().map(|(name, _)| format!("{name} = u.{name}")).collect();
    sql.text = format!("UPDATE webhook_lanes AS l SET {} FROM {from} WHERE {UNDER_LEASE} RETURNING 1", set.join(", "));
    sql
}

/// Changes deliveries. A delivery whose last attempt is this one has the result already: the answer to the commit was lost.
fn attempted(from: &str) -> String {
    let held = "l.webhook_id IS NOT NULL AND d.state = 'waiting'";
    let set = |column: &str| match column {
        "last_attempt_at" => "last_attempt_at = u.last_attempt_at".to_owned(),
        "last_status" | "last_error" => format!("{column} = CASE WHEN {held} THEN u.{column} ELSE d.{column} END"),
        _ => format!("{column} = CASE WHEN {held} AND d.due_at = u.was_due_at THEN u.{column} ELSE d.{column} END"),
    };
    let set: Vec<_> = ATTEMPTED.iter().skip(2).map(|(name, _)| set(name)).collect();
    format!(
        "UPDATE webhook_deliveries AS d SET attempts = d.attempts + 1, {} \
         FROM {from} LEFT JOIN webhook_lanes AS l ON {UNDER_LEASE} WHERE d.delivery_id = u.delivery_id \
         AND (d.last_attempt_at IS NULL OR d.last_attempt_at <> u.last_attempt_at)",
        set.join(", ")
    )
}

fn attempted_row(outcome: &Outcome) -> Vec<Value> {
    let delivery = &outcome.delivery;
    let mut row = vec![delivery.webhook_id.put(), outcome.lease_epoch.put(), delivery.delivery_id.put()];
    row.extend([outcome.was_due_at.put(), delivery.state.put(), delivery.tries.put(), delivery.due_at.put()]);
    row.extend([delivery.last_status.put(), delivery.last_error.put(), delivery.last_attempt_at.put()]);
    row
}

/// The names of the columns of attempts, and the values to insert. An attempt gets the number that its delivery, `d`, has just
/// got. Attempts of a purged tenant keep nothing of the answer.
///
/// The inserts pass over an attempt that exists: a delivery that expired, and that a replay made again, counts from one again.
fn logged(d: &str, u: &str) -> (String, String) {
    let purged =
        format!("EXISTS (SELECT 1 FROM tenants t WHERE t.tenant_id = {u}.tenant_id AND t.purged_at IS NOT NULL)");
    let value = |name: &str| match name {
        "answer_start" => format!("CASE WHEN {u}.answer_start = '' OR {purged} THEN '' ELSE {u}.answer_start END"),
        "detail" => format!("CASE WHEN {u}.detail IS NULL OR {purged} THEN NULL ELSE {u}.detail END"),
        "attempt" => format!("{d}.attempts"),
        "next_at" => format!("CASE WHEN {d}.state = 'waiting' THEN {d}.due_at END"),
        name => format!("{u}.{name}"),
    };
    let names = || webhook_attempts::TABLE.columns.iter().map(|column| column.name);
    (names().collect::<Vec<_>>().join(", "), names().map(value).collect::<Vec<_>>().join(", "))
}

fn delivery_attempted(outcome: &Outcome) -> Sql {
    let mut sql = Sql::new(Dialect::Sqlite, "");
    let columns: Vec<_> = LEASE.into_iter().chain(ATTEMPTED).collect();
    let from = bind_rows(&mut sql, &columns, vec![attempted_row(outcome)]);
    sql.text = format!("{} RETURNING 1", attempted(&from));
    sql
}

/// Logs an attempt. That of a delivery that was removed with its webhook is not kept.
fn attempt_inserted(outcome: &Outcome) -> Sql {
    let mut sql = Sql::new(Dialect::Sqlite, "");
    let mut row = outcome.attempt.values();
    row.push(outcome.delivery.last_attempt_at.put());
    let table = webhook_attempts::TABLE;
    let mut columns: Vec<Named> = table.columns.iter().map(|column| (column.name, column.ty)).collect();
    columns.push(("last_attempt_at", Type::Time));
    let from = bind_rows(&mut sql, &columns, vec![row]);
    let (names, values) = logged("d", "u");
    sql.text = format!(
        "INSERT INTO webhook_attempts ({names}) SELECT {values} FROM {from} JOIN webhook_deliveries AS d \
         ON d.delivery_id = u.delivery_id WHERE d.last_attempt_at = u.last_attempt_at \
         ON CONFLICT (slot, delivery_id, attempt) DO NOTHING RETURNING 1"
    );
    sql
}

/// Both for many deliveries as one statement, which finds each delivery once. SQLite cannot insert the rows that an UPDATE
/// returns.
fn deliveries_attempted_and_logged(outcomes: &[&Outcome]) -> Sql {
    let mut sql = Sql::kept(Dialect::Postgres);
    let changed = LEASE.into_iter().chain(ATTEMPTED);
    let is_new = |name: &str| changed.clone().all(|(other, _)| other != name);
    let columns_of_attempt = webhook_attempts::TABLE.columns;
    let row = |outcome: &&Outcome| {
        let values = columns_of_attempt.iter().zip(outcome.attempt.values());
        let logged = values.filter(|(column, _)| is_new(column.name)).map(|(_, value)| value);
        attempted_row(outcome).into_iter().chain(logged).collect()
    };
    let logged_columns = columns_of_attempt.iter().filter(|column| is_new(column.name));
    let logged_columns: Vec<Named> = logged_columns.map(|column| (column.name, column.ty)).collect();
    let columns: Vec<Named> = changed.clone().chain(logged_columns.iter().copied()).collect();
    let from = bind_rows(&mut sql, &columns, outcomes.iter().map(row).collect());
    // The attempt's own number and next time are not used: those of its delivery are.
    let returned = logged_columns.iter().filter(|(name, _)| !matches!(*name, "attempt" | "next_at"));
    let returned: Vec<_> = returned.map(|(name, _)| format!("u.{name}")).collect();
    let (names, values) = logged("a", "a");
    sql.text = format!(
        "WITH a AS ({} RETURNING d.delivery_id, d.webhook_id, d.attempts, d.state, d.due_at, {}) \
         INSERT INTO webhook_attempts ({names}) SELECT {values} FROM a \
         ON CONFLICT (slot, delivery_id, attempt) DO NOTHING RETURNING 1",
        attempted(&from),
        returned.join(", ")
    );
    sql
}

impl Outcome {
    /// Whether the receiver accepted the delivery.
    pub fn is_delivered(&self) -> bool {
        self.attempt.outcome == AttemptOutcome::Delivered && self.delivery.state == DeliveryState::Delivered
    }
}
