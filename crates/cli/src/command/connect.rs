//! `connect`: opens the data of an environment.

use crate::client::Client;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::kinds::column;
use crate::naming::{self, Name};
use crate::output::{Kind, Output, one};
use crate::table::Cell;
use crate::wire::Received;
use clap::{Args, ValueEnum};
use reqwest::Method;
use std::io::ErrorKind;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::Command;
use tenancy_api::connection::Connection;
use tenancy_api::document::Connecting;

/// Program that opens SQLite files.
const SQLITE3: &str = "sqlite3";

const EXAMPLES: &str = "\
Examples:
  tenancy connect acme-eu/prod --reason 'ticket 4711'
  tenancy connect acme-eu/dev --reason 'load test data' --access full
  tenancy connect acme-eu/dev --reason 'list tables' -- .tables
  tenancy connect acme-eu/dev --reason 'backup' --print -o json

The audit log records who connects, and why. A SQLite file can only be opened on the machine of the server; the command
needs the program sqlite3. Arguments after -- are passed to it.";

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
    /// Print how to connect, and open nothing
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
    name: |connection| connection.file.as_deref().unwrap_or_default().to_owned(),
    columns: &[
        column!("KIND", |connection, _| Cell::new(&*connection.kind)),
        column!("ACCESS", |connection, _| Cell::new(&*connection.access)),
        column!("FILE", |connection, _| Cell::maybe(connection.file.as_deref())),
    ],
};

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
    let body = Connecting { reason: given.reason, access: Some(access.to_owned()) };
    let segments = ["tenants", tenant, "environments", environment, "connection"];
    let found: Received<Connection<'static>> = client
        .v1(Method::POST, &segments)
        .json(&body)
        .receive()
        .await
        .map_err(|failure| failure.of_flags(&[("/reason", "--reason"), ("/access", "--access")]))?;
    if given.print {
        one(&CONNECTION, &found, given.output.output)?;
        return Ok(Exit::Done);
    }
    match found.value.file.as_deref() {
        Some(file) => Err(open_sqlite(Path::new(file), given.access, &given.arguments)),
        None => {
            let kind = &found.value.kind;
            Err(Failure::refused(format!("this release of the command cannot open a place of kind {kind}"))
                .and("print the connection data with --print"))
        }
    }
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
    let error = program.arg(file).args(arguments).exec();
    let failure = Failure::refused(format!("cannot run {SQLITE3}: {error}"));
    match error.kind() {
        ErrorKind::NotFound => {
            failure.and(format!("install {SQLITE3}, or open {} with another program", file.display()))
        }
        _ => failure,
    }
}
