//! Checks that the triggers that keep the log append-only are as the migrations created them. Whoever can write the
//! file can also drop them.

use crate::migration::MIGRATIONS;
use crate::trigger_missing;
use rusqlite::Connection;
use std::collections::BTreeMap;

/// Returns a sentence for each trigger that is missing or was changed.
pub fn complaints(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let as_migrated = Connection::open_in_memory()?;
    for migration in MIGRATIONS {
        as_migrated.execute_batch(migration.sqlite)?;
    }
    let found = triggers(connection)?;
    let expected = triggers(&as_migrated)?;
    let complaint = |(name, (table, sql)): (String, (String, String))| match found.get(&name) {
        None => Some(trigger_missing(&name, &table)),
        Some(found) if *found != (table.clone(), sql) => Some(format!(
            "trigger {name} of table {table} was changed, so the audit log may have been changed: run `tenancy audit \
             verify`, and restore the trigger"
        )),
        Some(_) => None,
    };
    Ok(expected.into_iter().filter_map(complaint).collect())
}

/// Returns table and SQL of each trigger.
fn triggers(connection: &Connection) -> rusqlite::Result<BTreeMap<String, (String, String)>> {
    let mut statement = connection.prepare("SELECT name, tbl_name, sql FROM sqlite_schema WHERE type = 'trigger'")?;
    let rows = statement.query_map([], |row| Ok((row.get(0)?, (row.get(1)?, row.get(2)?))))?;
    rows.collect()
}
