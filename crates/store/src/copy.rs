//! Copies a SQLite database to PostgreSQL with everything in it: ids, versions, keys, the audit log with its positions.
//! Tables and types come from the descriptions of the tables, so a new table is copied without a change here.

use crate::list::corrupt;
use crate::postgres::{CopyTarget, Target};
use crate::rows::{Column, Dialect, Field as _, Table, Type, Value};
use crate::sql::Sql;
use crate::sqlite::CopySource;
use crate::tables::{TABLES, log_batches, log_epochs, platform_webhooks, webhook_dispatch, webhooks};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use tenancy_core::Error;
use tenancy_core::decision_context::least_audit_id;

/// Maximum number of rows of a batch.
const BATCH_ROWS: usize = 1000;
/// Maximum size of a batch, in bytes.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// Marks on the database. They have no description elsewhere, because no change writes them.
const MARKS: &Table = &Table {
    name: "marks",
    key: &["name"],
    columns: &[
        Column { name: "name", ty: Type::Text },
        Column { name: "value", ty: Type::Text },
        Column { name: "created_at", ty: Type::Time },
    ],
};

/// Columns that no description contains, because they are never read back.
const NEVER_READ: &[(&str, Column)] = &[
    (webhooks::TABLE.name, Column { name: "secret", ty: Type::Text }),
    (webhooks::TABLE.name, Column { name: "from_position", ty: Type::Int }),
    (platform_webhooks::TABLE.name, Column { name: "secret", ty: Type::Text }),
    (platform_webhooks::TABLE.name, Column { name: "from_position", ty: Type::Int }),
];

/// A copied table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    /// Name of the table.
    pub table: &'static str,
    /// Number of its rows, which is the same in both databases.
    pub rows: i64,
}

/// Every table that is copied.
fn tables() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().copied().chain([MARKS])
}

/// Every column of a table.
pub(crate) fn columns(table: &Table) -> Vec<Column> {
    let hidden = NEVER_READ.iter().filter(|(name, _)| *name == table.name).map(|(_, column)| *column);
    table.columns.iter().copied().chain(hidden).collect()
}

/// Copies `source` to `target`, and calls `told` after each table.
///
/// # Errors
/// [`Error::NotNow`] when the target is in use, or when the numbers of rows differ afterwards. Nothing is copied then.
pub async fn copy(source: &CopySource, target: &Target, mut told: impl FnMut(&Copied)) -> Result<Vec<Copied>, Error> {
    let target = CopyTarget::open(target).await?;
    must_be_empty(&target).await?;
    for month in months(source)? {
        target.add_month(month).await?;
    }
    must_have_the_same_keys(source, &target).await?;
    target.begin().await?;
    // Nothing else can commit from here on. An error drops the connection, which rolls back.
    must_be_empty(&target).await?;
    let mut all = Vec::new();
    for table in tables() {
        copy_table(source, &target, table).await?;
        let copied = compared(source, &target, table).await?;
        told(&copied);
        all.push(copied);
    }
    let floor = source.rows(&Sql::new(Dialect::Sqlite, "SELECT audit_id FROM log_floor"), &[Type::Text])?;
    for floor in floor.into_iter().flatten() {
        target.raise_floor(&String::take(floor).map_err(corrupt)?).await?;
    }
    let dispatched = source.rows(&Sql::new(Dialect::Sqlite, "SELECT position FROM webhook_dispatch"), &[Type::Int])?;
    for position in dispatched.into_iter().flatten() {
        target.set_dispatched(i64::take(position).map_err(corrupt)?).await?;
    }
    target.commit().await?;
    Ok(all)
}

/// Fails if a table has rows. A server that was started marks its database, and migrations insert the first rows of the
/// log's lists; these rows do not count.
async fn must_be_empty(target: &CopyTarget) -> Result<(), Error> {
    for table in TABLES {
        let but = match table.name {
            name if name == log_batches::TABLE.name => " WHERE last_position > 0",
            name if name == log_epochs::TABLE.name => " WHERE epoch > 1",
            name if name == webhook_dispatch::TABLE.name => " WHERE position > 0",
            _ => "",
        };
        let sql = Sql::new(Dialect::Postgres, format!("SELECT 1::bigint FROM {}{but} LIMIT 1", table.name));
        if target.number(&sql).await?.is_some() {
            return Err(Error::NotNow(format!(
                "the target is in use: its table {} has rows. Name a new database, and run `tenancy db migrate` on it",
                table.name
            )));
        }
    }
    Ok(())
}

/// Fails if a server was started on the target with other keys than those of the source: private data is copied as it is
/// stored.
async fn must_have_the_same_keys(source: &CopySource, target: &CopyTarget) -> Result<(), Error> {
    let select = format!("SELECT value FROM marks WHERE name = '{}'", crate::sealing::MARK);
    let ours = source.rows(&Sql::new(Dialect::Sqlite, select), &[Type::Text])?.into_iter().flatten().next();
    let Some(ours) = ours.map(String::take).transpose().map_err(corrupt)? else { return Ok(()) };
    let mut sql = Sql::new(Dialect::Postgres, "SELECT 1::bigint FROM marks");
    sql.and("name = {}", Some(crate::sealing::MARK.to_owned())).and("value <> {}", Some(ours));
    match target.number(&sql).await? {
        None => Ok(()),
        Some(_) => Err(Error::NotNow(
            "the target was used with other keys than the source: name a new database, or serve the target with the keys \
             of the source"
                .to_owned(),
        )),
    }
}

async fn copy_table(source: &CopySource, target: &CopyTarget, table: &'static Table) -> Result<(), Error> {
    let columns = columns(table);
    let types: Vec<_> = columns.iter().map(|column| column.ty).collect();
    let key: Vec<_> =
        table.key.iter().filter_map(|name| columns.iter().position(|column| column.name == *name)).collect();
    let mut after: Option<Vec<Value>> = None;
    loop {
        let rows = source.rows(&page(table, &columns, after.as_deref()), &types)?;
        let Some(last) = rows.last() else { return Ok(()) };
        after = Some(key.iter().map(|index| last[*index].clone()).collect());
        target.insert(table, &columns, &rows).await?;
    }
}

/// Returns the statement that reads the rows after a key, in the order of the key.
fn page(table: &Table, columns: &[Column], after: Option<&[Value]>) -> Sql {
    let names: Vec<_> = columns.iter().map(|column| column.name).collect();
    let key = table.key.join(", ");
    let mut sql = Sql::new(Dialect::Sqlite, format!("SELECT {} FROM {}", names.join(", "), table.name));
    if let Some(after) = after {
        let places: Vec<_> =
            table.key.iter().zip(after).map(|(name, value)| sql.bind(table.column(name).ty, value.clone())).collect();
        sql.also(&format!("({key}) > ({})", places.join(", ")));
    }
    sql.order(&key, BATCH_ROWS);
    sql.most_bytes = BATCH_BYTES;
    sql
}

/// Compares the numbers of rows of a table.
async fn compared(source: &CopySource, target: &CopyTarget, table: &'static Table) -> Result<Copied, Error> {
    let count = |dialect| Sql::new(dialect, format!("SELECT count(*) FROM {}", table.name));
    let ours = source.rows(&count(Dialect::Sqlite), &[Type::Int])?.into_iter().flatten().next();
    let ours = ours.map(i64::take).transpose().map_err(corrupt)?.unwrap_or_default();
    let theirs = target.number(&count(Dialect::Postgres)).await?.unwrap_or_default();
    // The target may have marks of its own.
    if theirs == ours || table.name == MARKS.name && theirs > ours {
        return Ok(Copied { table: table.name, rows: ours });
    }
    Err(Error::NotNow(format!(
        "{} has {ours} rows in the source and {theirs} in the target: nothing was copied; please report this",
        table.name
    )))
}

/// Returns the first days of the months that have events of tenants. The log is partitioned by the time in their ids.
fn months(source: &CopySource) -> Result<Vec<Date>, Error> {
    let (mut months, mut from) = (Vec::new(), String::new());
    loop {
        let mut sql = Sql::new(Dialect::Sqlite, "");
        let least = sql.bind(Type::Text, Value::Text(from));
        sql.text = format!("SELECT min(audit_id) FROM tenant_audit WHERE audit_id >= {least}");
        let id = source.rows(&sql, &[Type::Text])?.into_iter().flatten().next().unwrap_or(Value::Null);
        let Some(id) = <Option<String> as crate::rows::Field>::take(id).map_err(corrupt)? else { return Ok(months) };
        let begins =
            month(&id).ok_or_else(|| Error::NotNow(format!("the audit log has an event with the id {id:?}")))?;
        months.push(begins);
        let next = begins.saturating_add(1.month()).to_zoned(TimeZone::UTC);
        from = next.map_or_else(|_| "z".to_owned(), |next| least_audit_id(next.timestamp()).to_string());
    }
}

/// Returns the first day of the month in which an event happened, by its id.
fn month(audit_id: &str) -> Option<Date> {
    let millisecond = i64::from_str_radix(audit_id.strip_prefix("aud_")?.get(..12)?, 16).ok()?;
    let time = Timestamp::from_millisecond(millisecond).ok()?;
    Some(time.to_zoned(TimeZone::UTC).date().first_of_month())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_know_the_month_of_an_event_by_its_id() {
        let of = |time: &str| {
            let time: Timestamp = time.parse().expect("a time");
            month(least_audit_id(time).as_str()).map(|date| date.to_string())
        };
        assert_eq!(of("2026-11-30T23:59:59.999Z").as_deref(), Some("2026-11-01"));
        assert_eq!(of("2024-12-01T00:00:00Z").as_deref(), Some("2024-12-01"));
        assert_eq!(month("forged"), None);
    }

    #[test]
    fn must_read_pages_in_the_order_of_the_whole_key() {
        let table = crate::tables::tenant_versions::TABLE;
        let after = [Value::Text("t".to_owned()), Value::Int(3)];
        let sql = page(table, &columns(table), Some(&after));
        let end = " FROM tenant_versions WHERE (tenant_id, version) > (?1, ?2) ORDER BY tenant_id, version LIMIT ?3";
        assert!(sql.text.ends_with(end), "{}", sql.text);
    }
}
