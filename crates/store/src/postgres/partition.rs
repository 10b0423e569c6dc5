//! Partitions of the log: one a month, made ahead by a function that runs as the owner.

use super::connection::Connection;
use super::fault::failed;
use crate::rows::{Dialect, Type, Value};
use crate::sql::Sql;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Span, ToSpan as _};
use tenancy_core::moment::least_audit_id;
use tenancy_core::{Error, Timestamp};

/// How many months ahead there are partitions.
pub const MONTHS_AHEAD: i64 = 6;
/// Fewer than so many months ahead is worth a warning.
pub const MIN_MONTHS_AHEAD: usize = 2;
/// How often one partition is tried: it waits only shortly for the log's lock.
const MAX_TRIES: usize = 5;

/// One month's partition.
struct Month {
    name: String,
    least: String,
    past: String,
}

fn month(first: Date) -> Result<Month, Error> {
    let bound = |date: Date| {
        let start = date.to_zoned(TimeZone::UTC).map_err(|error| Error::Internal(error.to_string()))?;
        Ok::<_, Error>(least_audit_id(start.timestamp()).to_string())
    };
    let next = first.checked_add(1.month()).map_err(|error| Error::Internal(error.to_string()))?;
    let name = format!("tenant_audit_{:04}_{:02}", first.year(), first.month());
    Ok(Month { name, least: bound(first)?, past: bound(next)? })
}

/// The months from the one before `now` to [`MONTHS_AHEAD`].
fn months(now: Timestamp) -> Result<Vec<Month>, Error> {
    let this = now.to_zoned(TimeZone::UTC).date().first_of_month();
    let at = |ahead: i64| {
        let first = this.checked_add(Span::new().months(ahead)).map_err(|error| Error::Internal(error.to_string()))?;
        month(first)
    };
    (-1..=MONTHS_AHEAD).map(at).collect()
}

/// Makes the partitions that are missing; returns how many.
pub async fn top_up(connection: &Connection, now: Timestamp) -> Result<usize, Error> {
    let mut made = 0;
    for month in months(now)? {
        let mut sql = Sql::new(Dialect::Postgres, "");
        let [name, least, past] =
            [month.name, month.least, month.past].map(|text| sql.bind(Type::Text, Value::Text(text)));
        sql.text = format!("SELECT log_add_partition({name}, {least}, {past})");
        let mut tries = 0;
        let added = loop {
            tries += 1;
            match connection.run(&sql, &[Type::Bool]).await {
                Err(_) if tries < MAX_TRIES && !connection.is_closed() => {}
                done => break done.map_err(|error| failed(&error))?,
            }
        };
        made += usize::from(added == [[Value::Bool(true)]]);
    }
    Ok(made)
}

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
    fn must_leave_no_gap_between_months() {
        let now: Timestamp = "2026-11-23T08:00:00Z".parse().expect("a time");
        let months = months(now).expect("in range");
        assert_eq!(months.len(), 8);
        assert_eq!(months[0].name, "tenant_audit_2026_10");
        assert_eq!(months[7].name, "tenant_audit_2027_05");
        assert!(months.windows(2).all(|pair| pair[0].past == pair[1].least));
        assert!(months.iter().all(|month| month.least < month.past));
    }
}
