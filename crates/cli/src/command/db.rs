//! `db`: brings the database up to this release.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::{bad_config, make_data_directory, make_key, of_database, reached};
use crate::program::command;
use crate::terminal::{remark, say, write};
use clap::{Args, Subcommand};
use jiff::civil::Date;
use std::path::PathBuf;
use tenancy_core::apikey::Role;
use tenancy_server::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use tenancy_server::{Config, Flags};
use tenancy_store::database::Database;
use tenancy_store::upkeep::Expired;

/// The commands on the database.
#[derive(Subcommand, Debug)]
pub enum Db {
    /// Run the migrations that are missing
    #[command(
        after_help = "Examples:\n  tenancy db migrate --database postgres://tenancy@db/tenancy\n  tenancy db migrate --dry-run > what.sql\n  tenancy db migrate --database postgres://owner@db/tenancy --serve-role tenancy"
    )]
    Migrate(Migrate),
    /// Say whether the database is up to this release, and answers
    #[command(after_help = "Examples:\n  tenancy db check --database postgres://tenancy@db/tenancy")]
    Check(Place),
    /// Make an admin key with the database itself in hand: the first one, or when all are lost
    #[command(after_help = "Examples:\n  TENANCY_TOKEN=$(tenancy db key ops --database postgres://tenancy@db/tenancy)")]
    Key(Key),
    /// Remove tenants' audit events of before a month; as the owner of the log, not as the role that serves
    #[command(
        name = "expire-log",
        after_help = "Examples:\n  tenancy db expire-log --before 2025-01 --database postgres://owner@db/tenancy\n\nThe log records that they go before any of them does. What is no tenant's (organizations, keys) stays."
    )]
    ExpireLog(ExpireLog),
}

/// Arguments of `db expire-log`.
#[derive(Args, Debug)]
pub struct ExpireLog {
    #[command(flatten)]
    place: Place,
    /// The first month that is kept, such as 2025-01
    #[arg(long, value_name = "YYYY-MM", value_parser = month)]
    before: Date,
}

fn month(text: &str) -> Result<Date, String> {
    format!("{text}-01").parse().map_err(|_| format!("a month is written like 2025-01, not {text:?}"))
}

/// Arguments of `db key`.
#[derive(Args, Debug)]
pub struct Key {
    #[command(flatten)]
    place: Place,
    /// The key's name, for people
    name: String,
}

/// Which database.
#[derive(Args, Debug)]
pub struct Place {
    /// sqlite:PATH or postgres://…; the embedded one in the data directory when left out
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where the embedded database is kept
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The server's configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

/// Arguments of `db migrate`.
#[derive(Args, Debug)]
pub struct Migrate {
    #[command(flatten)]
    place: Place,
    /// Print all SQL that would run, for psql or sqlite3; nothing is changed
    #[arg(long)]
    dry_run: bool,
    /// A role of PostgreSQL that `serve` runs as: gets the rights it needs, and may only read and append the audit log
    #[arg(long, value_name = "ROLE", conflicts_with = "dry_run")]
    serve_role: Option<String>,
}

impl Place {
    fn config(self) -> Result<Config, Failure> {
        let flags = Flags { database: self.database, data_dir: self.data_dir, ..Flags::default() };
        Config::load(self.config.as_deref(), flags).map_err(bad_config)
    }

    fn find(self) -> Result<Database, Failure> {
        self.config()?.database().map_err(bad_config)
    }
}

/// Runs it.
///
/// # Errors
/// What the database says.
pub async fn run(given: Db) -> Result<Exit, Failure> {
    match given {
        Db::Migrate(given) => migrate(given).await,
        Db::Check(place) => check(&place.find()?).await,
        Db::Key(given) => key(given).await,
        Db::ExpireLog(given) => expire_log(given).await,
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
            write(&format!("{sql}\n\n"))?;
        }
    } else {
        for name in &done.applied {
            say(&format!("migrated: {name}"))?;
        }
    }
    match given.dry_run {
        true if done.sql.is_empty() => say("-- nothing to do")?,
        false if done.applied.is_empty() => say("nothing to do: the database is up to this release")?,
        _ => {}
    }
    if let Some(role) = &given.serve_role {
        database.grant(role).await.map_err(of_database)?;
        say(&format!("{role} may serve: it reads and appends the audit log, and cannot change it"))?;
    }
    Ok(Exit::Done)
}

async fn check(database: &Database) -> Result<Exit, Failure> {
    reached(database).await?;
    let missing = database.migrate(true).await.map_err(of_database)?.applied;
    if !missing.is_empty() {
        let mut failure = Failure::refused(format!("the database is behind this release by {}", missing.len()));
        failure.details = missing;
        return Err(failure.and(format!("{}, with the same flags", command("db migrate"))));
    }
    let condition = database.look().await.map_err(of_database)?;
    for warning in &condition.warnings {
        remark(&format!("warning: {warning}"));
    }
    if condition.wrong.is_empty() {
        say("the database is up to this release, and answers")?;
        return Ok(Exit::Done);
    }
    let mut failure = Failure::refused("the database answers, and is not ready");
    failure.details = condition.wrong;
    Err(failure)
}

async fn key(given: Key) -> Result<Exit, Failure> {
    let config = given.place.config()?;
    let database = config.database().map_err(bad_config)?;
    reached(&database).await?;
    let store = database.open().await.map_err(of_database)?;
    let made = make_key(&store, &config, &given.name, Role::Admin, "db").await;
    store.close().await;
    say(&made?)?;
    remark("this token is shown once and kept nowhere: store it now");
    Ok(Exit::Done)
}

async fn expire_log(given: ExpireLog) -> Result<Exit, Failure> {
    let config = given.place.config()?;
    let database = config.database().map_err(bad_config)?;
    reached(&database).await?;
    let store = database.open().await.map_err(of_database)?;
    let tenancy = Tenancy::new(store.clone(), config.declared);
    let request = RequestContext::by_part("db", fresh_correlation_id());
    let expired = tenancy.expire_log(given.before, &request).await;
    store.close().await;
    let gone = match expired.map_err(of_database)? {
        Expired::Partitions(months) => counted(months, "monthly partition"),
        Expired::Events(events) => counted(events, "event"),
    };
    say(&format!("removed from the audit log, before {}: {gone}", given.before.strftime("%Y-%m")))?;
    Ok(Exit::Done)
}

fn counted(count: usize, what: &str) -> String {
    if count == 1 { format!("1 {what}") } else { format!("{count} {what}s") }
}
