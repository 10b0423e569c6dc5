//! `connect`: opens the data of an environment.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::column;
use crate::naming::{self, Name};
use crate::output::{Kind, Output, one};
use crate::table::Cell;
use crate::time::{duration, short};
use crate::wire::Received;
use clap::{Args, ValueEnum};
use reqwest::Method;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tenancy_api::connection::Connection;
use tenancy_api::document::Connecting;

/// Program that opens SQLite files.
const SQLITE3: &str = "sqlite3";
/// Program that opens PostgreSQL databases.
const PSQL: &str = "psql";

const EXAMPLES: &str = "\
Examples:
  tenancy connect acme-eu/prod --reason 'ticket 4711'
  tenancy connect acme-eu/dev --reason 'load test data' --access full
  tenancy connect acme-eu/dev --reason 'list tables' -- .tables
  tenancy connect acme-eu/dev --reason 'backup' --print -o json
  tenancy connect acme-eu/prod --reason 'migration' --access full --for 8h

The audit log records who connects, and why. On PostgreSQL, the server makes a role that can log in for an hour, or as long as
--for says, and the command runs psql with it. A SQLite file can only be opened on the machine of the server; the command
needs the program sqlite3. Arguments after -- are passed to the program.";

/// Arguments of `connect`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Connect {
    /// The environment, as TENANT/ENVIRONMENT
    #[arg(value_name = "TENANT/ENVIRONMENT")]
    name: String,
    /// Why you connect, for people
    #[arg(long)]
    reason: String,
    /// What the connection may do
    #[arg(long, value_enum, default_value_t)]
    access: Access,
    /// How long a login of PostgreSQL is valid: 30m, 8h, 7d. Default: 1h
    #[arg(long = "for", value_name = "DURATION", value_parser = duration)]
    valid_for: Option<Duration>,
    /// Print how to connect, and open nothing. Only -o json and -o yaml show the password
    #[arg(long)]
    print: bool,
    #[command(flatten)]
    output: Output,
    /// Arguments for the program that opens the data
    #[arg(last = true, value_name = "ARGUMENT")]
    arguments: Vec<String>,
}

/// What a connection may do.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
enum Access {
    /// Only read
    #[default]
    ReadOnly,
    /// Read and write
    Full,
}

/// How to connect.
const CONNECTION: Kind<Connection<'static>> = Kind {
    plural: "connections",
    name: |connection| connection.file.as_deref().or(connection.user.as_deref()).unwrap_or_default().to_owned(),
    columns: &[
        column!("KIND", |connection, _| Cell::new(&*connection.kind)),
        column!("ACCESS", |connection, _| Cell::new(&*connection.access)),
        column!("FILE", |connection, _| Cell::maybe(connection.file.as_deref())),
        column!("HOST", |connection, _| Cell::maybe(connection.host.as_deref())),
        column!("PORT", |connection, _| Cell::maybe(connection.port.map(|port| port.to_string()))),
        column!("DATABASE", |connection, _| Cell::maybe(connection.database.as_deref())),
        column!("USER", |connection, _| Cell::maybe(connection.user.as_deref())),
        column!("EXPIRES", |connection, _| Cell::maybe(connection.expires_at.map(short))),
    ],
};

/// Flags of the fields of the request.
const FLAGS: [(&str, &str); 3] = [("/reason", "--reason"), ("/access", "--access"), ("/expires_in_seconds", "--for")];

/// Runs the command. Unless it only prints, the program that opens the data takes the place of this one.
///
/// # Errors
/// Fails if the request fails, or if the data cannot be opened on this machine.
pub async fn run(client: &Client, given: Connect) -> Result<Exit, Failure> {
    let Name::Environment(tenant, environment) = naming::resolved(client, &given.name).await? else {
        return Err(
            Failure::usage(format!("{} is not an environment", given.name)).and("name it as TENANT/ENVIRONMENT")
        );
    };
    let access = match given.access {
        Access::ReadOnly => "read_only",
        Access::Full => "full",
    };
    let expires_in_seconds = given.valid_for.map(|valid| i64::try_from(valid.as_secs()).unwrap_or(i64::MAX));
    let body = Connecting { reason: given.reason, access: Some(access.to_owned()), expires_in_seconds };
    let segments = ["tenants", tenant, "environments", environment, "connection"];
    let found: Received<Connection<'static>> =
        client.v1(Method::POST, &segments).json(&body).receive().await.map_err(|failure| failure.of_flags(&FLAGS))?;
    if given.print {
        one(&CONNECTION, &found, given.output.output)?;
        return Ok(Exit::Done);
    }
    let connection = &found.value;
    match (connection.file.as_deref(), connection.user.as_deref()) {
        (Some(file), _) => Err(open_sqlite(Path::new(file), given.access, &given.arguments)),
        (None, Some(user)) => Err(open_postgres(connection, user, &given.arguments)),
        (None, None) => {
            let kind = &connection.kind;
            Err(Failure::refused(format!("this release of the command cannot open a place of kind {kind}"))
                .and("print the connection data with --print"))
        }
    }
}

/// Replaces this program by `psql`. Returns only if that fails. Other users of the machine see the arguments of a program, but not
/// its environment.
fn open_postgres(connection: &Connection<'_>, user: &str, arguments: &[String]) -> Failure {
    let (Some(host), Some(password)) = (connection.host.as_deref(), connection.password.as_deref()) else {
        return Failure::refused("the answer with the password was lost, and the server does not repeat it".to_owned())
            .and("run the command again");
    };
    let mut program = Command::new(PSQL);
    // Otherwise they would send the password to another server.
    for name in ["PGHOSTADDR", "PGSERVICE", "PGSERVICEFILE", "PGOPTIONS", "PGPASSFILE"] {
        program.env_remove(name);
    }
    if !is_here(host) && std::env::var_os("PGSSLMODE").is_none() {
        program.env("PGSSLMODE", "require");
    }
    program.env("PGHOST", host).env("PGUSER", user).env("PGPASSWORD", password);
    let port = connection.port.map(|port| port.to_string());
    let values = [("PGPORT", port.as_deref()), ("PGDATABASE", connection.database.as_deref())];
    for (name, value) in values {
        value.map(|value| program.env(name, value));
    }
    program.args(arguments);
    become_program(program, PSQL, "print how to connect with --print -o json")
}

/// Replaces this program by another one. Returns only if that fails. `instead` says what to do if it is not installed.
fn become_program(mut program: Command, name: &str, instead: &str) -> Failure {
    let error = program.exec();
    let failure = Failure::refused(format!("cannot run {name}: {error}"));
    match error.kind() {
        ErrorKind::NotFound => failure.and(format!("install {name}, or {instead}")),
        _ => failure,
    }
}

/// Whether a host of PostgreSQL is this machine.
fn is_here(host: &str) -> bool {
    let is_loopback = host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback());
    host.starts_with('/') || host == "localhost" || is_loopback
}

/// Replaces this program by the one that opens the file. Returns only if that fails.
fn open_sqlite(file: &Path, access: Access, arguments: &[String]) -> Failure {
    if !file.exists() {
        return Failure::refused(format!("{} is not on this machine", file.display()))
            .and("run the command on the machine of the server");
    }
    let mut program = Command::new(SQLITE3);
    if access == Access::ReadOnly {
        program.arg("-readonly");
    }
    program.arg(file).args(arguments);
    become_program(program, SQLITE3, &format!("open {} with another program", file.display()))
}
