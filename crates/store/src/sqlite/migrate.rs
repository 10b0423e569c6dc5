//! Migrations of the file. A copy is made before.

use super::connection::{self, failed};
use crate::database::Migrated;
use crate::migration::{self, Applied, Migration};
use crate::rows::Dialect;
use rusqlite::{Connection, TransactionBehavior};
use std::collections::BTreeMap;
use std::path::Path;
use tenancy_core::{Error, Timestamp};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, checksum text NOT NULL, \
                     oldest_release text NOT NULL, applied_at integer NOT NULL) STRICT";

fn applied(connection: &Connection) -> rusqlite::Result<BTreeMap<String, Applied>> {
    let exists = connection.table_exists(None, "schema_migrations")?;
    if !exists {
        return Ok(BTreeMap::new());
    }
    let mut statement = connection.prepare("SELECT name, checksum, oldest_release FROM schema_migrations")?;
    let rows = statement
        .query_map([], |row| Ok((row.get(0)?, Applied { checksum: row.get(1)?, oldest_release: row.get(2)? })))?;
    rows.collect()
}

/// That the file is not behind.
pub fn check(connection: &Connection) -> Result<(), Error> {
    migration::behind(&migration::missing(Dialect::Sqlite, &applied(connection).map_err(|e| failed(&e))?)?)
}

/// Whether the file, if it is there, has this mark.
pub fn is_marked(path: &Path, name: &str) -> Result<bool, Error> {
    if !path.exists() {
        return Ok(false);
    }
    let connection = connection::open_reader(path)?;
    let marked = || {
        let there = connection.table_exists(None, "marks")?;
        Ok(there && connection.prepare("SELECT 1 FROM marks WHERE name = ?1")?.exists([name])?)
    };
    marked().map_err(|error| failed(&error))
}

/// Brings the file up to this release; makes it if it is not there.
///
/// # Errors
/// [`Error::NotNow`] when another process has it open.
pub fn migrate(path: &Path, dry_run: bool, now: Timestamp) -> Result<Migrated, Error> {
    if dry_run && !path.exists() {
        return Ok(migration::report(Dialect::Sqlite, &migration::MIGRATIONS.iter().collect::<Vec<_>>()));
    }
    let path = connection::place(path)?;
    let _lock = connection::FileLock::take(&path)?;
    let mut connection = connection::open(&path)?;
    let rows = applied(&connection).map_err(|error| failed(&error))?;
    let missing = migration::missing(Dialect::Sqlite, &rows)?;
    if !dry_run && !missing.is_empty() {
        if !rows.is_empty() {
            copy(&connection, &path, missing[0])?;
        }
        run(&mut connection, &missing, now).map_err(|error| failed(&error))?;
    }
    Ok(migration::report(Dialect::Sqlite, &missing))
}

fn run(connection: &mut Connection, missing: &[&Migration], now: Timestamp) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(TABLE)?;
    for migration in missing {
        transaction.execute_batch(migration.sql(Dialect::Sqlite))?;
        let row = (migration.name, migration.checksum(Dialect::Sqlite), migration.oldest_release, now.as_microsecond());
        transaction.execute(
            "INSERT INTO schema_migrations (name, checksum, oldest_release, applied_at) VALUES (?1, ?2, ?3, ?4)",
            row,
        )?;
    }
    transaction.commit()
}

/// A copy of the file as it is before `first`, beside it.
fn copy(connection: &Connection, path: &Path, first: &Migration) -> Result<(), Error> {
    let to = path.with_extension(format!("before-{}.db", first.name));
    connection::make(&to)?;
    connection.backup("main", &to, None::<fn(rusqlite::backup::Progress)>).map_err(|error| failed(&error))
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn must_copy_for_the_owner_alone() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("tenancy.db");
        let connection = connection::open(&path).expect("opened");
        copy(&connection, &path, &migration::MIGRATIONS[0]).expect("copied");
        let to = path.with_extension(format!("before-{}.db", migration::MIGRATIONS[0].name));
        assert_eq!(std::fs::metadata(to).expect("there").permissions().mode() & 0o777, 0o600);
    }
}
