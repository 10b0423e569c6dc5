//! Why a server cannot be reached, in words for the person who starts the process or reads its log.

use super::connection::Connection;
use super::target::{CONNECT_TIMEOUT, Target};
use crate::database::Unreached;
use crate::rows::{Dialect, Type, Value};
use crate::sql::Sql;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;

const IS_READ_ONLY: &str = "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'";

/// Connects once, and checks that the database can be written to.
///
/// # Errors
/// Returns the address and the reason, never the password.
pub async fn reach(target: &Target) -> Result<(), Unreached> {
    let places = places(&target.config).join(", ");
    let opened = match Connection::open_soon(target, &Target::shared_settings()).await {
        Some(Ok(connection)) => connection.run_limited(&is_read_only(), &READ_ONLY_TYPES).await,
        Some(Err(error)) => Err(error),
        None => {
            let message = format!("{places}: no answer within {} seconds", 2 * CONNECT_TIMEOUT.as_secs());
            return Err(Unreached { message, is_refused: false, create: Vec::new(), next: None });
        }
    };
    let rows = opened.map_err(|error| unreached(&error, &target.config, &places))?;
    let Some((why, next)) = why_read_only(&rows) else { return Ok(()) };
    let message = format!("{places}: {why}");
    Err(Unreached { message, is_refused: true, create: Vec::new(), next: Some(next.to_owned()) })
}

/// Types of the columns of [`is_read_only`].
pub const READ_ONLY_TYPES: [Type; 2] = [Type::Bool, Type::Bool];

/// Asks whether the server is a standby, and whether transactions are read-only by default.
pub fn is_read_only() -> Sql {
    Sql::new(Dialect::Postgres, IS_READ_ONLY)
}

/// Returns why the database cannot be written to, and what to do.
pub fn why_read_only(rows: &[Vec<Value>]) -> Option<(&'static str, &'static str)> {
    match rows.first().map(Vec::as_slice) {
        Some([Value::Bool(true), _]) => {
            Some(("the server is a standby, which only reads", "name the primary in the database URL"))
        }
        Some([_, Value::Bool(true)]) => Some((
            "the database is read-only (default_transaction_read_only is on)",
            "find out why: many managed databases do this when the disk is full; then run \
             ALTER DATABASE … RESET default_transaction_read_only",
        )),
        _ => None,
    }
}

fn unreached(error: &tokio_postgres::Error, config: &Config, places: &str) -> Unreached {
    let state = error.code();
    let is_missing = state == Some(&SqlState::INVALID_CATALOG_NAME);
    let next = advice(error);
    let is_refused = is_missing || next.is_some() || state.is_some_and(|state| state.code().starts_with("28"));
    let create = if is_missing { createdb(config) } else { Vec::new() };
    Unreached { message: format!("{places}: {}", reason(error)), is_refused, create, next }
}

/// Returns what to do about a refusal of a pooler or a server that is known to puzzle people.
fn advice(error: &tokio_postgres::Error) -> Option<String> {
    let text = reason(error);
    let is = |state: SqlState| error.code() == Some(&state);
    if text.contains("startup parameter") {
        return Some(
            "a pooler is between this program and the server: add pooler=transaction to the database URL, as \
                     in postgres://…?pooler=transaction"
                .to_owned(),
        );
    }
    if is(SqlState::INSUFFICIENT_PRIVILEGE) {
        return Some("as the owner of the database, run GRANT CONNECT ON DATABASE … TO the role".to_owned());
    }
    is(SqlState::INVALID_PASSWORD).then(|| {
        "set the password with PGPASSWORD, in a password file, or in the file that database_file names".to_owned()
    })
}

/// Returns where the server was looked for, and why it cannot be reached.
pub fn places_and_reason(error: &tokio_postgres::Error, config: &Config) -> String {
    format!("{}: {}", places(config).join(", "), reason(error))
}

/// Returns the message of the server, or the innermost cause of the driver's error.
pub fn reason(error: &tokio_postgres::Error) -> String {
    if let Some(server) = error.as_db_error() {
        return server.message().to_owned();
    }
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    let text = cause.to_string();
    let text = text.split(" (os error ").next().unwrap_or_default();
    match text.split_once(' ') {
        // A message of the operating system starts with a capital letter; it is lowered, except in an abbreviation.
        Some((first, rest)) if first.chars().skip(1).all(char::is_lowercase) => {
            format!("{} {rest}", first.to_lowercase())
        }
        _ => text.to_owned(),
    }
}

/// Hosts with their ports.
fn places(config: &Config) -> Vec<String> {
    let places = hosts(config).into_iter().map(|(host, port)| match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    });
    places.collect()
}

fn hosts(config: &Config) -> Vec<(String, u16)> {
    let port = |index: usize| {
        let ports = config.get_ports();
        ports.get(index).or(ports.first()).copied().unwrap_or(5432)
    };
    let named = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.to_string_lossy().into_owned(),
    });
    let named: Vec<_> = named.collect();
    let addressed = || config.get_hostaddrs().iter().map(ToString::to_string).collect();
    let hosts: Vec<String> = if named.is_empty() { addressed() } else { named };
    hosts.into_iter().enumerate().map(|(index, host)| (host, port(index))).collect()
}

/// Returns the arguments of the command that creates the database.
fn createdb(config: &Config) -> Vec<String> {
    let mut words = vec!["createdb".to_owned()];
    if let Some((host, port)) = hosts(config).into_iter().next() {
        words.extend([format!("--host={host}"), format!("--port={port}")]);
    }
    words.extend(config.get_user().map(|user| format!("--username={user}")));
    words.extend(config.get_dbname().or(config.get_user()).map(str::to_owned));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn refusal(url: &str) -> Unreached {
        reach(&Target::parse(url).expect("a URL")).await.expect_err("not reached")
    }

    #[tokio::test]
    async fn must_say_where_a_server_is_not_and_why() {
        let refused = refusal("postgres://u:zz-secret@127.0.0.1:5/t").await;
        assert_eq!(refused.message, "127.0.0.1:5: connection refused");
        assert!(!refused.is_refused);
        let unknown = refusal("postgres://u:zz-secret@127.0.0.1:5,localhost:6/t").await;
        assert!(unknown.message.starts_with("127.0.0.1:5, localhost:6: "), "{unknown}");
        assert!(!format!("{unknown:?}").contains("zz-secret"));
    }

    #[tokio::test]
    async fn must_say_what_a_server_refuses_and_what_makes_the_database() {
        let database = tenancy_testkit::Postgres::shared().database("reached");
        reach(&Target::parse(&database.url()).expect("a URL")).await.expect("reached");
        let missing = refusal(&database.url().replace(database.name(), "nodb")).await;
        assert!(missing.message.ends_with(": database \"nodb\" does not exist"), "{missing}");
        assert!(missing.is_refused);
        let (first, last) = (missing.create.first(), missing.create.last());
        assert_eq!((first.map(String::as_str), last.map(String::as_str)), (Some("createdb"), Some("nodb")));
        let nobody = refusal(&database.url_as("nobody").replace("nobody@", "nobody:zz-secret@")).await;
        assert!(nobody.is_refused && nobody.message.contains("\"nobody\" does not exist"), "{nobody}");
        assert!(nobody.create.is_empty());
        assert!(!nobody.message.contains("zz-secret"));
        database.execute(&format!("ALTER DATABASE \"{}\" SET default_transaction_read_only = on", database.name()));
        let read_only = refusal(&database.url()).await;
        assert!(read_only.is_refused && read_only.message.contains("the database is read-only"), "{read_only}");
        assert!(read_only.next.is_some_and(|next| next.contains("RESET default_transaction_read_only")));
    }
}
