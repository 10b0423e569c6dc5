//! Partitions of the log: one a month, made ahead by a function that runs as the owner.

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

/// How many months ahead there are partitions.
const MONTHS_AHEAD: i64 = 6;
/// Fewer than so many months ahead is worth a warning.
const MIN_MONTHS_AHEAD: usize = 2;
/// How often one partition is tried: it waits only shortly for the log's lock.
const MAX_TRIES: usize = 5;
/// How long it waits before it tries again: who waits for a lock holds up whoever comes behind, and they come through now.
const PAUSE: Duration = Duration::from_millis(200);

/// The name of the partition of the month that begins so; a function of the database knows its bounds by it.
fn name(first: Date) -> String {
    format!("tenant_audit_{:04}_{:02}", first.year(), first.month())
}

/// The names of the months from the one before `now` to [`MONTHS_AHEAD`].
fn months(now: Timestamp) -> Result<Vec<String>, Error> {
    let this = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let at = |ahead: i64| this.checked_add(Span::new().months(ahead)).map(name);
    (-1..=MONTHS_AHEAD).map(at).collect::<Result<_, _>>().map_err(|error| Error::Internal(error.to_string()))
}

/// The month's partition in which an event of `now` would stand.
fn this_month(now: Timestamp) -> String {
    name(now.to_zoned(TimeZone::UTC).date())
}

/// The statements that make the partitions that are missing: all of them where there is no log yet.
pub async fn missing(connection: &Connection, now: Timestamp, is_new: bool) -> Result<Vec<String>, Error> {
    let attached = if is_new { Vec::new() } else { names(connection).await? };
    let missing = months(now)?.into_iter().filter(|month| !attached.contains(month));
    Ok(missing.map(|month| format!("SELECT log_add_partition({});", quoted(&month))).collect())
}

/// Makes the partitions that are missing; returns how many.
pub async fn top_up(connection: &Connection, now: Timestamp) -> Result<usize, Error> {
    let mut made = 0;
    for month in months(now)? {
        made += usize::from(tried(connection, "log_add_partition", month).await?);
    }
    Ok(made)
}

/// Drops the partitions that lie below the floor as a whole, where `before` is the time that the floor is the least id of;
/// returns how many.
pub async fn drop_expired(connection: &Connection, before: Timestamp) -> Result<usize, Error> {
    let past = this_month(before);
    let mut dropped = 0;
    for name in names(connection).await?.into_iter().filter(|name| *name < past) {
        dropped += usize::from(tried(connection, "log_drop_partition", name).await?);
    }
    Ok(dropped)
}

/// Calls a function on one partition; returns whether it had something to do. It is called again when the log's lock is not to
/// be had soon, or when another process was quicker by a moment.
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

/// The names of the partitions that take rows, from the oldest on.
const NAMES: &str = "SELECT c.relname::text FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
    WHERE inhparent = 'tenant_audit'::regclass AND NOT inhdetachpending ORDER BY c.relname::text COLLATE \"C\"";

/// The statement that finds the partitions' names.
pub fn all() -> Sql {
    Sql::new(Dialect::Postgres, NAMES)
}

/// The partitions' names.
pub async fn names(connection: &Connection) -> Result<Vec<String>, Error> {
    read(connection.run(&all(), &[Type::Text]).await.map_err(|error| failed(&error))?)
}

/// The names among these rows.
fn read(rows: Vec<Vec<Value>>) -> Result<Vec<String>, Error> {
    let name = |value| String::take(value).map_err(|error| Error::Internal(error.0));
    rows.into_iter().flatten().map(name).collect()
}

/// What is to be said of a log with these partitions: without this month's, no tenant's change can be committed.
pub fn health(found: Vec<Vec<Value>>, now: Timestamp) -> Result<DatabaseHealth, Error> {
    let (names, this) = (read(found)?, this_month(now));
    let mut health = DatabaseHealth::default();
    if !names.contains(&this) {
        health.wrong.push(format!(
            "the audit log lacks this month's partition {this}, so no tenant can be changed: run `tenancy db migrate` as the owner"
        ));
    }
    let ahead = names.iter().filter(|name| **name > this).count();
    if ahead < MIN_MONTHS_AHEAD {
        health
            .warnings
            .push(format!("fewer than {MIN_MONTHS_AHEAD} months of the audit log's partitions lie ahead: {ahead}"));
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
