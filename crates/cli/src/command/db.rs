//! `db`: migrates, checks and maintains the database.

use crate::command::{db_backup, db_copy, db_rotate_keys};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::{bad_config, make_data_directory, make_key, of_database, reached};
use crate::program::command;
use crate::terminal::{remark, say, write_data};
use crate::vault;
use clap::{Args, Subcommand};
use jiff::civil::Date;
use std::path::PathBuf;
use tenancy_core::apikey::Role;
use tenancy_server::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use tenancy_server::{Config, Flags};
use tenancy_store::database::Database;
use tenancy_store::upkeep::Expired;

/// Subcommands of `db`.
#[derive(Subcommand, Debug)]
pub enum Db {
    /// Run pending migrations
    #[command(
        after_help = "Examples:\n  tenancy db migrate --database postgres://tenancy@db/tenancy\n  tenancy db migrate --dry-run > what.sql\n  tenancy db migrate --database postgres://owner@db/tenancy --serve-role tenancy"
    )]
    Migrate(Migrate),
    /// Check that the database is available and has all migrations of this release
    #[command(after_help = "Examples:\n  tenancy db check --database postgres://tenancy@db/tenancy")]
    Check(Place),
    /// Create an admin key directly in the database: the first key, or a new one if all are lost
    #[command(after_help = "Examples:\n  TENANCY_TOKEN=$(tenancy db key ops --database postgres://tenancy@db/tenancy)")]
    Key(Key),
    /// Remove audit events of tenants before a month; run it as the owner of the tables, not as the serving role
    #[command(
        name = "expire-log",
        after_help = "Examples:\n  tenancy db expire-log --before 2025-01 --database postgres://owner@db/tenancy\n\nThe removal is recorded in the log before any event is removed. Events of organizations and keys are kept."
    )]
    ExpireLog(ExpireLog),
    /// Copy a SQLite database to a file, also while a server uses it; for PostgreSQL, print the commands
    #[command(
        after_help = "Examples:\n  tenancy db backup /backups/tenancy-2026-11-23.db\n  tenancy db backup tenancy.dump --database postgres://owner@db/tenancy\n\nThe file is checked, only its owner can read it, and an existing file is never replaced. On PostgreSQL no backup\nis made: the commands that make and restore one are printed."
    )]
    Backup(db_backup::Backup),
    /// Prepare a database for serving after it was restored from a backup; run it once, before any server starts
    #[command(
        name = "after-restore",
        after_help = "Examples:\n  tenancy db after-restore --data-dir .tenancy\n  tenancy db after-restore --database postgres://owner@db/tenancy --purged purged.txt\n\nIt begins a new epoch of the audit log, so that cursors that point behind a lost event are refused, ends the leases\nof jobs, tries the key of each tenant, and lists what to look at. On PostgreSQL run it as the owner of the tables."
    )]
    AfterRestore(db_backup::AfterRestore),
    /// Create a new shared key, and wrap the data keys of all tenants under it that have no key of their own
    #[command(
        name = "rotate-keys",
        after_help = "Examples:\n  tenancy db rotate-keys --database postgres://tenancy@db/tenancy --keys-dir /var/lib/tenancy-keys\n\nServers on PostgreSQL keep running. What is stored stays as it is: a data key does not change when it is wrapped\nagain. The former shared key is kept, because backups from before need it."
    )]
    RotateKeys(Place),
    /// Copy everything from a SQLite database to an empty PostgreSQL database
    #[command(
        after_help = "Examples:\n  tenancy db migrate --database postgres://owner@db/tenancy\n  tenancy db copy --from sqlite:.tenancy/tenancy.db --to postgres://owner@db/tenancy\n\nStop the server of the SQLite database first. Keys, versions, jobs and the audit log with its positions are\nkept. If the copy fails, the target stays empty."
    )]
    Copy(db_copy::Copy),
}

/// Arguments of `db expire-log`.
#[derive(Args, Debug)]
pub struct ExpireLog {
    #[command(flatten)]
    place: Place,
    /// First month to keep, such as 2025-01
    #[arg(long, value_name = "YYYY-MM", value_parser = month)]
    before: Date,
}

fn month(text: &str) -> Result<Date, String> {
    format!("{text}-01").parse().map_err(|_| format!("write a month as YYYY-MM, such as 2025-01, not {text:?}"))
}

/// Arguments of `db key`.
#[derive(Args, Debug)]
pub struct Key {
    #[command(flatten)]
    place: Place,
    /// Name of the key
    name: String,
}

/// Options that select the database.
#[derive(Args, Debug)]
pub struct Place {
    /// Database: sqlite:PATH or postgres://…. Default: a SQLite file in the data directory
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Directory of the SQLite database. Default: ./.tenancy
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Directory of the keys that encrypt private data, outside the data directory
    #[arg(long, value_name = "DIR")]
    keys_dir: Option<PathBuf>,
    /// Configuration file of the server
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Arguments of `db migrate`.
#[derive(Args, Debug)]
pub struct Migrate {
    #[command(flatten)]
    place: Place,
    /// Print the SQL for psql or sqlite3 and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Grant a PostgreSQL role the privileges that `serve` needs; the role can read and append the audit log, but not
    /// change it
    #[arg(long, value_name = "ROLE", conflicts_with = "dry_run")]
    serve_role: Option<String>,
}

impl Place {
    /// Loads the configuration with these options.
    pub(super) fn config(self) -> Result<Config, Failure> {
        let flags =
            Flags { database: self.database, data_dir: self.data_dir, keys_dir: self.keys_dir, ..Flags::default() };
        Config::load(self.config.as_deref(), flags).map_err(bad_config)
    }

    /// Returns the selected database.
    pub(super) fn find(self) -> Result<Database, Failure> {
        self.config()?.database().map_err(bad_config)
    }
}

/// Runs the command.
///
/// # Errors
/// Fails if the database reports an error.
pub async fn run(given: Db) -> Result<Exit, Failure> {
    match given {
        Db::Migrate(given) => migrate(given).await,
        Db::Check(place) => check(&place.find()?).await,
        Db::Key(given) => key(given).await,
        Db::ExpireLog(given) => expire_log(given).await,
        Db::Backup(given) => db_backup::backup(given).await,
        Db::AfterRestore(place) => db_backup::after_restore(place).await,
        Db::RotateKeys(place) => db_rotate_keys::run(place).await,
        Db::Copy(given) => db_copy::run(given).await,
    }
}

async fn migrate(given: Migrate) -> Result<Exit, Failure> {
    let config = given.place.config()?;
    let database = config.database().map_err(bad_config)?;
    reached(&database).await?;
    if matches!(database, Database::Sqlite(_)) && !given.dry_run {
        make_data_directory(&config)?;
    }
    let done = database.migrate(given.dry_run).await.map_err(of_database)?;
    if given.dry_run {
        for sql in &done.sql {
            write_data(&format!("{sql}\n\n"))?;
        }
    } else {
        for name in &done.applied {
            say(&format!("applied migration {name}"))?;
        }
    }
    match given.dry_run {
        true if done.sql.is_empty() => say("-- no pending migrations")?,
        false if done.applied.is_empty() => say("no pending migrations")?,
        _ => {}
    }
    if let Some(role) = &given.serve_role {
        database.grant(role).await.map_err(of_database)?;
        say(&format!(
            "granted to role {role}: the privileges of a server; it can read and append the audit log, but not change it"
        ))?;
    }
    Ok(Exit::Done)
}

async fn check(database: &Database) -> Result<Exit, Failure> {
    reached(database).await?;
    let missing = database.migrate(true).await.map_err(of_database)?.applied;
    if !missing.is_empty() {
        let mut failure =
            Failure::refused(format!("the database lacks {} of this release", counted(missing.len(), "migration")));
        failure.details = missing;
        return Err(failure.and(format!("run {} with the same options", command("db migrate"))));
    }
    let condition = database.look().await.map_err(of_database)?;
    for warning in &condition.warnings {
        remark(&format!("warning: {warning}"));
    }
    if condition.wrong.is_empty() {
        say("the database is available and has all migrations of this release")?;
        return Ok(Exit::Done);
    }
    let mut failure = Failure::refused("the database is available but not ready");
    failure.details = condition.wrong;
    Err(failure)
}

async fn key(given: Key) -> Result<Exit, Failure> {
    let config = given.place.config()?;
    let database = config.database().map_err(bad_config)?;
    if let Database::Sqlite(file) = &database
        && !file.exists()
    {
        let message = format!("there is no database at {}", file.display());
        return Err(Failure::refused(message).and(format!("run {} with the same options", command("db migrate"))));
    }
    reached(&database).await?;
    let store = vault::open(&config, &database).await?;
    let made = make_key(&store, &config, &given.name, Role::Admin, "db").await;
    store.close().await;
    say(&made?)?;
    remark("this token is shown only once: store it now");
    Ok(Exit::Done)
}

async fn expire_log(given: ExpireLog) -> Result<Exit, Failure> {
    let config = given.place.config()?;
    let database = config.database().map_err(bad_config)?;
    reached(&database).await?;
    let store = vault::open(&config, &database).await?;
    let tenancy = Tenancy::new(store.clone(), config.declared);
    let request = RequestContext::by_part("db", fresh_correlation_id());
    let expired = tenancy.expire_log(given.before, &request).await;
    store.close().await;
    let gone = match expired.map_err(of_database)? {
        Expired::Partitions(months) => counted(months, "monthly partition"),
        Expired::Events(events) => counted(events, "event"),
    };
    say(&format!("removed from the audit log before {}: {gone}", given.before.strftime("%Y-%m")))?;
    Ok(Exit::Done)
}

/// Writes a number with its noun.
pub(super) fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
