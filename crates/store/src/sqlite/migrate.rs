//! Migrations of the SQLite file. The file is copied first.

use super::connection::{self, failed};
use super::triggers;
use crate::DatabaseHealth;
use crate::database::Migrated;
use crate::migration::{self, Applied, MIGRATIONS, Migration};
use crate::normal_forms::{PAGE_ROWS, Pass, Progress, Rewrite};
use crate::rows::{Dialect, Type, Value};
use rusqlite::Connection;
use std::collections::BTreeMap;
use std::path::Path;
use tenancy_core::{Error, Timestamp};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (name text PRIMARY KEY, checksum text NOT NULL, \
                     oldest_release text NOT NULL, applied_at integer NOT NULL) STRICT;";

const BEGIN: &str = "BEGIN IMMEDIATE;";
const COMMIT: &str = "COMMIT;";

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

/// Fails if the file is behind.
pub fn check(connection: &Connection) -> Result<(), Error> {
    migration::behind(&missing(MIGRATIONS, connection)?)
}

fn missing<'a>(all: &'a [Migration], connection: &Connection) -> Result<Vec<&'a Migration>, Error> {
    migration::missing(all, Dialect::Sqlite, &applied(connection).map_err(|error| failed(&error))?)
}

/// Inspects the file, even if another process has it open, and changes nothing.
///
/// # Errors
/// [`Error::NotNow`] when its schema is behind.
pub fn look(path: &Path) -> Result<DatabaseHealth, Error> {
    if !path.exists() {
        return migration::behind(&MIGRATIONS.iter().collect::<Vec<_>>()).map(|()| DatabaseHealth::default());
    }
    let connection = connection::open_to_look(path)?;
    check(&connection)?;
    let wrong = triggers::complaints(&connection).map_err(|error| failed(&error))?;
    Ok(DatabaseHealth { wrong, warnings: Vec::new() })
}

/// Whether the file exists and has this mark.
pub fn is_marked(path: &Path, name: &str) -> Result<bool, Error> {
    if !path.exists() {
        return Ok(false);
    }
    let connection = connection::open_to_look(path)?;
    let marked = || {
        let there = connection.table_exists(None, "marks")?;
        Ok(there && connection.prepare("SELECT 1 FROM marks WHERE name = ?1")?.exists([name])?)
    };
    marked().map_err(|error| failed(&error))
}

/// Migrates the file to this release, and creates it if it does not exist. With `dry_run`, only returns what would run.
///
/// # Errors
/// [`Error::NotNow`] when another process has the file open.
pub fn migrate(path: &Path, dry_run: bool, now: Timestamp) -> Result<Migrated, Error> {
    if !dry_run {
        return run(MIGRATIONS, path, now);
    }
    let missing = match path.exists() {
        true => missing(MIGRATIONS, &connection::open_to_look(path)?)?,
        false => MIGRATIONS.iter().collect(),
    };
    Ok(migration::report(&missing, script(&missing, now)))
}

/// Runs the migrations of `all` that the file lacks.
fn run(all: &[Migration], path: &Path, now: Timestamp) -> Result<Migrated, Error> {
    let path = connection::place(path)?;
    let _lock = connection::FileLock::take(&path)?;
    let connection = connection::open(&path)?;
    let missing = missing(all, &connection)?;
    if let Some(first) = missing.first() {
        if connection.table_exists(None, "schema_migrations").map_err(|error| failed(&error))? {
            copy(&connection, &path, first)?;
        }
        let run = |sql: &str| connection.execute_batch(sql).map_err(|error| failed(&error));
        // Dropping the connection rolls back its transaction.
        run(BEGIN)?;
        run(TABLE)?;
        for migration in &missing {
            run(&migration.script(Dialect::Sqlite, now))?;
            rewrite(&connection, migration.passes)?;
        }
        run(COMMIT)?;
    }
    Ok(migration::report(&missing, script(&missing, now)))
}

/// Runs the passes of a migration.
fn rewrite(connection: &Connection, passes: &[Pass]) -> Result<(), Error> {
    let failed = |error: rusqlite::Error| failed(&error);
    let write = |rewrites: Vec<Rewrite>| {
        for Rewrite { sqlite, rows, .. } in rewrites {
            let mut statement = connection.prepare_cached(sqlite).map_err(failed)?;
            for row in rows {
                statement.execute(rusqlite::params_from_iter(row)).map_err(failed)?;
            }
        }
        Ok::<_, Error>(())
    };
    let mut progress = Progress::default();
    for pass in passes {
        let mut after = Some(Value::Text(String::new()));
        while let Some(key) = after {
            let params = [key, Value::Int(i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX))];
            let page = connection::rows(connection, pass.sqlite, &params, &vec![Type::Text; pass.columns]);
            let page = page.map_err(failed)?;
            after = page.last().and_then(|row| row.first()).cloned();
            write((pass.page)(&mut progress, page)?)?;
        }
        write((pass.end)(&mut progress)?)?;
    }
    Ok(())
}

/// Returns the script for these missing migrations, as it is printed.
fn script(missing: &[&Migration], now: Timestamp) -> Vec<String> {
    if missing.is_empty() {
        return Vec::new();
    }
    let before = [BEGIN, TABLE].map(str::to_owned);
    let is_new = migration::is_new(missing);
    let migrations = missing.iter().map(|migration| migration.printed(Dialect::Sqlite, now, is_new));
    before.into_iter().chain(migrations).chain([COMMIT.to_owned()]).collect()
}

/// Copies the file as it is before migration `first` to a file beside it.
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
    fn must_copy_the_file_as_it_was_for_the_owner_alone_before_it_migrates() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("tenancy.db");
        let now = Timestamp::UNIX_EPOCH;
        let next = Migration {
            name: "9999_next",
            oldest_release: "0.1.0",
            sqlite: "ALTER TABLE marks ADD COLUMN later text; DELETE FROM marks;",
            postgres: "",
            passes: &[],
        };
        let all = [MIGRATIONS, &[next]].concat();
        let to = path.with_extension("before-9999_next.db");
        let row = |path: &Path, sql: &str| Connection::open(path)?.query_row(sql, [], |row| row.get::<_, String>(0));
        migrate(&path, false, now).expect("migrated");
        assert_eq!(std::fs::read_dir(place.path()).expect("there").count(), 2, "a new file and its lock, and no copy");
        Connection::open(&path)
            .and_then(|file| file.execute_batch("INSERT INTO marks VALUES ('served', 'yes', 0)"))
            .expect("written");

        assert_eq!(run(&all, &path, now).expect("migrated").applied, ["9999_next"]);
        assert_eq!(std::fs::metadata(&to).expect("a copy").permissions().mode() & 0o777, 0o600);
        let marks = "SELECT group_concat(name || '=' || value) FROM marks";
        assert_eq!(row(&to, marks), Ok("served=yes".to_owned()));
        let before: Vec<_> = MIGRATIONS.iter().map(|migration| migration.name).collect();
        assert_eq!(row(&to, "SELECT group_concat(name) FROM schema_migrations"), Ok(before.join(",")));
        let later = "SELECT count(*) || '' FROM pragma_table_info('marks') WHERE name = 'later'";
        assert_eq!((row(&to, later), row(&path, later)), (Ok("0".to_owned()), Ok("1".to_owned())));

        std::fs::remove_file(&to).expect("removed");
        assert_eq!(run(&all, &path, now), Ok(Migrated::default()));
        assert!(!to.exists(), "nothing ran, nothing is copied");
    }

    #[test]
    fn must_leave_the_file_as_it_was_when_a_migration_fails() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("tenancy.db");
        let now = Timestamp::UNIX_EPOCH;
        migrate(&path, false, now).expect("migrated");
        let next = Migration {
            name: "9999_next",
            oldest_release: "0.1.0",
            sqlite: "DROP TABLE marks; SELECT none;",
            postgres: "",
            passes: &[],
        };
        run(&[MIGRATIONS, &[next]].concat(), &path, now).expect_err("it fails");
        assert!(Connection::open(&path).and_then(|file| file.table_exists(None, "marks")).expect("open"));
        assert_eq!(migrate(&path, false, now), Ok(Migrated::default()));
    }
}
