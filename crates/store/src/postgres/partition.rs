//! Partitions of the log: one a month, made ahead by a function that runs as the owner.

use super::connection::Connection;
use super::fault::failed;
use crate::rows::{Dialect, Field as _, Type, Value};
use crate::sql::Sql;
use jiff::Span;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use tenancy_core::{Error, Timestamp};
use tokio_postgres::error::SqlState;

/// How many months ahead there are partitions.
pub const MONTHS_AHEAD: i64 = 6;
/// Fewer than so many months ahead is worth a warning.
pub const MIN_MONTHS_AHEAD: usize = 2;
/// How often one partition is tried: it waits only shortly for the log's lock.
const MAX_TRIES: usize = 5;

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
    let past = name(before.to_zoned(TimeZone::UTC).date());
    let mut sql = Sql::new(Dialect::Postgres, "");
    let past = sql.bind(Type::Text, Value::Text(past));
    sql.text = format!("{NAMES} AND c.relname::text COLLATE \"C\" < {past} ORDER BY 1");
    let expired = connection.run(&sql, &[Type::Text]).await.map_err(|error| failed(&error))?;
    let mut dropped = 0;
    for name in expired.into_iter().flatten() {
        let name = String::take(name).map_err(|error| Error::Internal(error.0))?;
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
                if tries < MAX_TRIES && error.code() != Some(&SqlState::RAISE_EXCEPTION) && !connection.is_closed() => {
            }
            done => return Ok(done.map_err(|error| failed(&error))? == [[Value::Bool(true)]]),
        }
    }
}

/// The partitions' names.
const NAMES: &str = "SELECT c.relname::text FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
    WHERE inhparent = 'tenant_audit'::regclass";

/// The statement that counts the partitions after this month, and its parameter.
pub fn ahead(now: Timestamp) -> Sql {
    let name = format!("tenant_audit_{}", now.to_zoned(TimeZone::UTC).strftime("%Y_%m"));
    let mut sql = Sql::new(Dialect::Postgres, "");
    let name = sql.bind(Type::Text, Value::Text(name));
    sql.text = format!(
        "SELECT count(*) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
         WHERE inhparent = 'tenant_audit'::regclass AND c.relname::text COLLATE \"C\" > {name}"
    );
    sql
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
