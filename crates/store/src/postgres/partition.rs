//! Monthly partitions of the log, created ahead by a function that runs as the owner.

use super::connection::Connection;
use super::fault::failed;
use crate::DatabaseHealth;
use crate::migration::quoted;
use crate::rows::{Dialect, Field as _, Type, Value};
use crate::sql::Sql;
use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use std::time::Duration;
use tenancy_core::{Error, Timestamp};
use tokio_postgres::error::SqlState;

/// Number of months for which partitions are created ahead.
const MONTHS_AHEAD: i64 = 6;
/// Fewer months of partitions ahead than this give a warning.
const MIN_MONTHS_AHEAD: usize = 2;
/// Maximum number of attempts for one partition. Each attempt waits only briefly for the lock on the log.
const MAX_TRIES: usize = 5;
/// Pause between attempts. A waiting lock request blocks all later requests; during the pause they proceed.
const PAUSE: Duration = Duration::from_millis(200);

/// Returns the name of the partition of the month that begins on this date. A function of the database derives its
/// bounds from the name.
fn name(first: Date) -> String {
    format!("tenant_audit_{:04}_{:02}", first.year(), first.month())
}

/// Returns the names of the months from the one before `now` to [`MONTHS_AHEAD`].
fn months(now: Timestamp) -> Result<Vec<String>, Error> {
    let this = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let at = |ahead: i64| this.checked_add(Span::new().months(ahead)).map(name);
    (-1..=MONTHS_AHEAD).map(at).collect::<Result<_, _>>().map_err(|error| Error::Internal(error.to_string()))
}

/// Returns the partition of an event that happens at `now`.
fn this_month(now: Timestamp) -> String {
    name(now.to_zoned(TimeZone::UTC).date())
}

/// Returns the statements that create the missing partitions; all partitions if there is no log yet.
pub async fn missing(connection: &Connection, now: Timestamp, is_new: bool) -> Result<Vec<String>, Error> {
    let attached = if is_new { Vec::new() } else { names(connection).await? };
    let missing = months(now)?.into_iter().filter(|month| !attached.contains(month));
    Ok(missing.map(|month| format!("SELECT log_add_partition({});", quoted(&month))).collect())
}

/// Creates the missing partitions. Returns their number.
pub async fn top_up(connection: &Connection, now: Timestamp) -> Result<usize, Error> {
    let mut made = 0;
    for month in months(now)? {
        made += usize::from(tried(connection, "log_add_partition", month).await?);
    }
    Ok(made)
}

/// Creates the partition of the month that begins on this date, if it is missing.
pub async fn add(connection: &Connection, first: Date) -> Result<bool, Error> {
    tried(connection, "log_add_partition", name(first)).await
}

/// Drops the partitions that lie entirely below the floor, which is the smallest id of the time `before`. Returns their
/// number.
pub async fn drop_expired(connection: &Connection, before: Timestamp) -> Result<usize, Error> {
    let past = this_month(before);
    let mut dropped = 0;
    for name in names(connection).await?.into_iter().filter(|name| *name < past) {
        dropped += usize::from(tried(connection, "log_drop_partition", name).await?);
    }
    Ok(dropped)
}

/// Calls a function on one partition. Returns whether it changed anything. Calls it again when the lock on the log is
/// not available in time, or when another process did the same concurrently.
async fn tried(connection: &Connection, function: &str, partition: String) -> Result<bool, Error> {
    let mut sql = Sql::new(Dialect::Postgres, "");
    let partition = sql.bind(Type::Text, Value::Text(partition));
    sql.text = format!("SELECT {function}({partition})");
    let mut tries = 0;
    loop {
        tries += 1;
        match connection.run_limited(&sql, &[Type::Bool]).await {
            Err(error)
                if tries < MAX_TRIES && error.code() != Some(&SqlState::RAISE_EXCEPTION) && !connection.is_closed() =>
            {
                tokio::time::sleep(PAUSE).await;
            }
            done => return Ok(done.map_err(|error| failed(&error))? == [[Value::Bool(true)]]),
        }
    }
}

/// Names of the attached partitions, oldest first.
const NAMES: &str = "SELECT c.relname::text FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
    WHERE inhparent = 'tenant_audit'::regclass AND NOT inhdetachpending ORDER BY c.relname::text COLLATE \"C\"";

/// Returns the statement that finds the names of the partitions.
pub fn all() -> Sql {
    Sql::new(Dialect::Postgres, NAMES)
}

/// Reads the names of the partitions.
pub async fn names(connection: &Connection) -> Result<Vec<String>, Error> {
    read(connection.run(&all(), &[Type::Text]).await.map_err(|error| failed(&error))?)
}

/// Reads the names from these rows.
fn read(rows: Vec<Vec<Value>>) -> Result<Vec<String>, Error> {
    let name = |value| String::take(value).map_err(|error| Error::Internal(error.0));
    rows.into_iter().flatten().map(name).collect()
}

/// Reports the health of a log with these partitions. Without the partition of this month, no change of a tenant can be
/// committed.
pub fn health(found: Vec<Vec<Value>>, now: Timestamp) -> Result<DatabaseHealth, Error> {
    let (names, this) = (read(found)?, this_month(now));
    let mut health = DatabaseHealth::default();
    if !names.contains(&this) {
        health.wrong.push(format!(
            "the audit log has no partition {this} for this month, so no tenant can be changed: run `tenancy db \
             migrate` as the owner"
        ));
    }
    let ahead = names.iter().filter(|name| **name > this).count();
    if ahead < MIN_MONTHS_AHEAD {
        health.warnings.push(format!(
            "the audit log has partitions for only {ahead} of at least {MIN_MONTHS_AHEAD} months ahead: run `tenancy \
             db migrate` as the owner"
        ));
    }
    Ok(health)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_name_the_month_before_and_six_ahead() {
        let now: Timestamp = "2026-11-23T08:00:00Z".parse().expect("a time");
        let months = months(now).expect("in range");
        assert_eq!(months.len(), 8);
        assert_eq!((months[0].as_str(), months[7].as_str()), ("tenant_audit_2026_10", "tenant_audit_2027_05"));
    }
}
