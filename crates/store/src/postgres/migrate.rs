//! Migrations of the database. Of two concurrent migrations, one runs and the other waits.

use super::clock;
use super::connection::{Connection, number, text, texts, values};
use super::fault::{described, failed};
use super::partition;
use super::roles;
use super::target::Target;
use crate::batch::key_text;
use crate::database::Migrated;
use crate::migration::{self, Applied, MIGRATIONS, Migration};
use crate::normal_forms::{PAGE_ROWS, Pass, Progress, Rewrite};
use crate::rows::{Dialect, Field, Type, Value};
use crate::sql::Sql;
use std::collections::BTreeMap;
use tenancy_core::{Error, Timestamp};
use tokio_postgres::error::SqlState;

/// The lock on the schema is a row that is locked inside the transaction. A session-level advisory lock would not work
/// behind a pooler.
const TABLES: &str = "CREATE TABLE IF NOT EXISTS schema_migrations (name varchar(64) COLLATE \"C\" PRIMARY KEY, \
    checksum varchar(64) NOT NULL, oldest_release varchar(32) NOT NULL, applied_at timestamptz NOT NULL); \
    CREATE TABLE IF NOT EXISTS schema_lock (only_row boolean PRIMARY KEY CHECK (only_row)); \
    INSERT INTO schema_lock VALUES (true) ON CONFLICT DO NOTHING;";
/// Lock that a concurrent migration waits for.
const LOCK: &str = "SELECT only_row FROM schema_lock FOR UPDATE;";

/// Maximum number of attempts to create these tables. Two processes that create them at the same time can disturb each
/// other.
const MAX_TRIES: usize = 5;

async fn applied(connection: &Connection) -> Result<BTreeMap<String, Applied>, tokio_postgres::Error> {
    let there = Sql::new(Dialect::Postgres, "SELECT to_regclass('schema_migrations') IS NOT NULL");
    if connection.run(&there, &[Type::Bool]).await? != [[Value::Bool(true)]] {
        return Ok(BTreeMap::new());
    }
    let rows = connection.query("SELECT name, checksum, oldest_release FROM schema_migrations", &[]).await?;
    let mut found = BTreeMap::new();
    for row in rows {
        let mut texts =
            values(&row, &[Type::Text; 3])?.into_iter().map(|value| String::take(value).unwrap_or_default());
        let mut next = || texts.next().unwrap_or_default();
        found.insert(next(), Applied { checksum: next(), oldest_release: next() });
    }
    Ok(found)
}

/// Fails if the database does not store text as UTF-8: other encodings refuse characters, or compare bytes that are no text.
async fn check_encoding(connection: &Connection) -> Result<(), Error> {
    let sql = "SELECT pg_encoding_to_char(encoding)::text FROM pg_database WHERE datname = current_database()";
    let rows =
        connection.run(&Sql::new(Dialect::Postgres, sql), &[Type::Text]).await.map_err(|error| failed(&error))?;
    match rows.into_iter().flatten().next() {
        Some(Value::Text(encoding)) if encoding != "UTF8" => Err(Error::NotNow(format!(
            "the database's encoding is {encoding}: it must be UTF8; create another one with CREATE DATABASE name \
             ENCODING 'UTF8' TEMPLATE template0"
        ))),
        _ => Ok(()),
    }
}

/// Fails if the database is behind, or cannot be used.
pub async fn check(target: &Target) -> Result<(), Error> {
    let connection = Connection::open(target, &Target::shared_settings()).await.map_err(|error| failed(&error))?;
    check_encoding(&connection).await?;
    // Without the right to read this table, the rest is missing, too, and is named below.
    let rows = match applied(&connection).await {
        Err(error) if is_forbidden(&error) => return roles::check(&connection).await,
        rows => rows.map_err(|error| failed(&error))?,
    };
    migration::behind(&migration::missing(MIGRATIONS, Dialect::Postgres, &rows)?)?;
    roles::check(&connection).await
}

fn is_forbidden(error: &tokio_postgres::Error) -> bool {
    error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE)
}

/// Explains an error of the first statements of a migration.
fn not_created(error: &tokio_postgres::Error, target: &Target) -> Error {
    if !is_forbidden(error) {
        return failed(error);
    }
    let role = target.config.get_user().unwrap_or("of this URL");
    Error::NotNow(format!(
        "the role {role} cannot create tables ({}): as the owner of the database, run GRANT CREATE, USAGE ON SCHEMA public \
         TO {role}, or create the database with CREATE DATABASE … OWNER {role}",
        described(error)
    ))
}

/// Whether the database has this mark.
pub async fn is_marked(target: &Target, name: &str) -> Result<bool, Error> {
    let connection = Connection::open(target, &Target::shared_settings()).await.map_err(|error| failed(&error))?;
    let there = Sql::new(Dialect::Postgres, "SELECT to_regclass('marks') IS NOT NULL");
    let there = connection.run_limited(&there, &[Type::Bool]).await.map_err(|error| failed(&error))?;
    if there != [[Value::Bool(true)]] {
        return Ok(false);
    }
    let mut sql = Sql::new(Dialect::Postgres, "SELECT name FROM marks");
    sql.and("name = {}", Some(name.to_owned()));
    let rows = connection.run_limited(&sql, &[Type::Text]).await.map_err(|error| failed(&error))?;
    Ok(!rows.is_empty())
}

/// Migrates the database to this release. With `dry_run`, only returns what would run, in an executable order.
pub async fn migrate(target: &Target, dry_run: bool) -> Result<Migrated, Error> {
    // Without limits: a migration, or the wait for another migration, can take any time.
    let connection = Connection::open(target, &[]).await.map_err(|error| failed(&error))?;
    check_encoding(&connection).await?;
    let now = clock::ask(&connection).await?;
    if dry_run {
        let rows = applied(&connection).await.map_err(|error| failed(&error))?;
        let missing = migration::missing(MIGRATIONS, Dialect::Postgres, &rows)?;
        let mut sql = script(&missing, now);
        sql.extend(partition::missing(&connection, now, rows.is_empty()).await?);
        return Ok(migration::report(&missing, sql));
    }
    prepare(&connection, target).await?;
    let (begun, failed) =
        (|error| failed(&error), |error| Error::Internal(format!("migration: {}", described(&error))));
    connection.begin("").await.map_err(begun)?;
    connection.query(LOCK, &[]).await.map_err(begun)?;
    let missing = migration::missing(MIGRATIONS, Dialect::Postgres, &applied(&connection).await.map_err(begun)?)?;
    for migration in &missing {
        connection.execute(&migration.script(Dialect::Postgres, now)).await.map_err(failed)?;
        rewrite(&connection, migration.passes).await?;
    }
    connection.execute("COMMIT").await.map_err(failed)?;
    partition::top_up(&connection, now).await?;
    Ok(migration::report(&missing, script(&missing, now)))
}

/// Runs the passes of a migration.
async fn rewrite(connection: &Connection, passes: &[Pass]) -> Result<(), Error> {
    let mut progress = Progress::default();
    for pass in passes {
        let mut after = Some(String::new());
        while let Some(key) = after {
            let params = [text(&key), number(i64::try_from(PAGE_ROWS).unwrap_or(i64::MAX))];
            let page = connection.query(pass.postgres, &params).await.map_err(|error| failed(&error))?;
            let types = vec![Type::Text; pass.columns];
            let page = page.iter().map(|row| values(row, &types)).collect::<Result<Vec<_>, _>>();
            let page = page.map_err(|error| failed(&error))?;
            after = page.last().and_then(|row| key_text(row)).map(str::to_owned);
            write(connection, (pass.page)(&mut progress, page)?).await?;
        }
        write(connection, (pass.end)(&mut progress)?).await?;
    }
    Ok(())
}

async fn write(connection: &Connection, rewrites: Vec<Rewrite>) -> Result<(), Error> {
    for Rewrite { postgres, rows, .. } in rewrites.iter().filter(|rewrite| !rewrite.rows.is_empty()) {
        let columns = rows.first().map_or(0, Vec::len);
        let column = |index: usize| {
            texts(rows.iter().map(move |row| match row.get(index) {
                Some(Value::Text(text)) => text.as_str(),
                _ => "",
            }))
        };
        let params: Vec<_> = (0..columns).map(column).collect();
        connection.query(postgres, &params).await.map_err(|error| failed(&error))?;
    }
    Ok(())
}

/// Returns the script for these missing migrations, as it is printed.
fn script(missing: &[&Migration], now: Timestamp) -> Vec<String> {
    if missing.is_empty() {
        return Vec::new();
    }
    let before = [TABLES, "BEGIN;", LOCK].map(str::to_owned);
    let is_new = migration::is_new(missing);
    let migrations = missing.iter().map(|migration| migration.printed(Dialect::Postgres, now, is_new));
    before.into_iter().chain(migrations).chain(["COMMIT;".to_owned()]).collect()
}

async fn prepare(connection: &Connection, target: &Target) -> Result<(), Error> {
    let mut tries = 0;
    loop {
        tries += 1;
        match connection.execute(TABLES).await {
            Ok(()) => return Ok(()),
            // Another process created the tables at the same time; they exist now.
            Err(error) if tries < MAX_TRIES && !connection.is_closed() && !is_forbidden(&error) => {
                tracing::debug!(error = %described(&error), "retrying to create the tables of the migrations");
            }
            Err(error) => return Err(not_created(&error, target)),
        }
    }
}
