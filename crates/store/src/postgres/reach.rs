//! Why a server cannot be reached, in words for the person who starts the process. Later errors say only that it cannot
//! be reached.

use super::connection::Connection;
use super::target::{CONNECT_TIMEOUT, Target};
use crate::database::Unreached;
use tokio_postgres::Config;
use tokio_postgres::config::Host;
use tokio_postgres::error::SqlState;

/// Connects once.
///
/// # Errors
/// Returns the address and the reason, never the password.
pub async fn reach(target: &Target) -> Result<(), Unreached> {
    let places = places(&target.config).join(", ");
    let Some(opened) = Connection::open_soon(target, &[]).await else {
        let message = format!("{places}: no answer within {} seconds", 2 * CONNECT_TIMEOUT.as_secs());
        return Err(Unreached { message, is_refused: false, create: Vec::new() });
    };
    opened.map(drop).map_err(|error| unreached(&error, &target.config, &places))
}

fn unreached(error: &tokio_postgres::Error, config: &Config, places: &str) -> Unreached {
    let state = error.code();
    let is_missing = state == Some(&SqlState::INVALID_CATALOG_NAME);
    let is_refused = is_missing || state.is_some_and(|state| state.code().starts_with("28"));
    let create = if is_missing { createdb(config) } else { Vec::new() };
    Unreached { message: format!("{places}: {}", reason(error)), is_refused, create }
}

/// Returns the message of the server, or the innermost cause of the driver's error.
fn reason(error: &tokio_postgres::Error) -> String {
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
    }
}
