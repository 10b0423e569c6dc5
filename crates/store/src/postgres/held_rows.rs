//! Rows that sessions of others hold. A batch does not wait for them: the members that need one are set aside, and the
//! others go on.

use super::connection::{Connection, Sent, texts, together};
use super::fault::{Failure, Fault};
use super::flushes::begun;
use crate::batch::ReadSet;
use crate::current_rows::READS;
use crate::queue::Waiting;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Row;

/// How long members that need a row are set aside at once, after the row was last found held. Meanwhile a batch would wait for
/// nothing; a member that is set aside without need is only delayed by a moment.
const REMEMBERED: Duration = Duration::from_secs(10);

/// A row that a batch locks: the place of its read in [`READS`], and its key.
pub type RowKey = (usize, String);

/// Rows that were found held.
#[derive(Debug, Default)]
pub struct HeldRows {
    found: Mutex<HashMap<RowKey, Instant>>,
    /// Spares the lookup for each member in the usual case.
    any: AtomicBool,
}

impl HeldRows {
    fn found(&self) -> MutexGuard<'_, HashMap<RowKey, Instant>> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// These rows were found held now.
    pub fn add(&self, rows: impl IntoIterator<Item = RowKey>) {
        let mut found = self.found();
        found.extend(rows.into_iter().map(|row| (row, Instant::now())));
        self.any.store(!found.is_empty(), Ordering::Relaxed);
    }

    /// The rows that this member needs were found free.
    pub fn remove_rows_of(&self, waiting: &Waiting) {
        let mut found = self.found();
        for (place, key) in rows_of(&ReadSet::of_guards(&waiting.member.changes.guards)) {
            found.remove(&(place, key.to_owned()));
        }
        self.any.store(!found.is_empty(), Ordering::Relaxed);
    }

    /// Splits members into those that need none of the rows, and those that do.
    pub fn split(&self, members: Vec<Waiting>) -> (Vec<Waiting>, Vec<Waiting>) {
        if !self.any.load(Ordering::Relaxed) {
            return (members, Vec::new());
        }
        let mut found = self.found();
        found.retain(|_, since| since.elapsed() < REMEMBERED);
        self.any.store(!found.is_empty(), Ordering::Relaxed);
        members.into_iter().partition(|waiting| !needs_one(waiting, |row| found.contains_key(row)))
    }
}

/// Whether a member needs one of these rows.
pub fn needs_one(waiting: &Waiting, is_held: impl Fn(&RowKey) -> bool) -> bool {
    rows_of(&ReadSet::of_guards(&waiting.member.changes.guards)).any(|(place, key)| is_held(&(place, key.to_owned())))
}

/// The tenants that a member names. If it waits for a row that no guard names, the row belongs to one of them.
pub fn tenants_of(waiting: &Waiting) -> Vec<RowKey> {
    let needs = ReadSet::of_guards(&waiting.member.changes.guards);
    rows_of(&needs)
        .filter(|(place, _)| READS[*place].table == "tenants")
        .map(|(place, key)| (place, key.to_owned()))
        .collect()
}

/// The rows that a batch locks.
fn rows_of<'a>(needs: &'a ReadSet<'a>) -> impl Iterator<Item = (usize, &'a str)> {
    let locked = READS.iter().enumerate().filter(|(_, read)| read.lock);
    locked.flat_map(move |(place, read)| (read.keys)(needs).iter().map(move |key| (place, *key)))
}

/// What was found of the rows that a batch needs.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Holders {
    /// Rows that sessions of others hold.
    pub of_others: Vec<RowKey>,
    /// A row is held by a process of ours, or it is not known by whom.
    pub ours: bool,
}

/// Finds out which of these rows are held, and by whom, without waiting for them. A process of ours connects with the same
/// role and application name as this one; it holds rows only while it commits.
pub async fn holders(connection: &Connection, needs: &ReadSet<'_>) -> Result<Holders, Failure> {
    let keys: Vec<_> = READS.iter().filter(|read| read.lock).map(|read| (read.keys)(needs)).collect();
    let params: Vec<_> = keys.into_iter().map(|keys| texts(keys.iter().copied())).collect();
    let sql = sql();
    let sent: Vec<Sent<'_, Vec<Row>>> = vec![begun(connection), Box::pin(connection.query(&sql, &params))];
    let mut holders = Holders::default();
    for answer in together(sent).await {
        for row in answer.map_err(|error| Failure::before(&error))? {
            let read = || Ok((row.try_get::<_, i32>(0)?, row.try_get(1)?, row.try_get::<_, bool>(2)?));
            let (place, key, of_others): (_, String, _) =
                read().map_err(|error: tokio_postgres::Error| Failure::of_ours(Fault::Final, error.to_string()))?;
            match usize::try_from(place) {
                Ok(place) if of_others => holders.of_others.push((place, key)),
                _ => holders.ours = true,
            }
        }
    }
    Ok(holders)
}

/// Rows that can be locked now are skipped. The id of the transaction that holds a row is in the row, and every transaction
/// holds a lock on its own id.
fn sql() -> String {
    let locked: Vec<_> = READS.iter().enumerate().filter(|(_, read)| read.lock).collect();
    let free = locked.iter().zip(1..).map(|((place, read), number)| {
        let (table, key) = (read.table, read.key);
        format!(
            "free_{place} AS MATERIALIZED (SELECT {key} AS key FROM {table} WHERE {key} = any(${number}::text[]) \
             ORDER BY {key} FOR NO KEY UPDATE SKIP LOCKED)"
        )
    });
    let held = locked.iter().zip(1..).map(|((place, read), number)| {
        let (table, key) = (read.table, read.key);
        format!(
            "SELECT {place} AS place, t.{key}::text AS key, t.xmax::text AS holder FROM {table} t \
             WHERE t.{key} = any(${number}::text[]) AND t.{key} NOT IN (SELECT key FROM free_{place})"
        )
    });
    format!(
        "WITH {} SELECT h.place, h.key, l.locktype IS NOT NULL AND NOT coalesce(a.usename = current_user \
         AND a.application_name = current_setting('application_name'), false) FROM ({}) h \
         LEFT JOIN pg_locks l ON l.locktype = 'transactionid' AND l.granted AND l.transactionid::text = h.holder \
         LEFT JOIN pg_stat_activity a ON a.pid = l.pid",
        free.collect::<Vec<_>>().join(", "),
        held.collect::<Vec<_>>().join(" UNION ALL ")
    )
}
