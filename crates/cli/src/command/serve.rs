//! `serve`: the server.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::{
    LogFormat, bad_config, listen, log, make_data_directory, mark_served, of_database, on_threads_for, reached,
    stop_on_signals,
};
use crate::program::command;
use crate::terminal::say;
use clap::Args;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use tenancy_core::scope::Scope;
use tenancy_server::{Config, Flags};
use tenancy_store::Store;
use tenancy_store::database::Database;
use tenancy_store::page::Page;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Examples:
  tenancy serve --database postgres://tenancy@db/tenancy
  tenancy serve --config /etc/tenancy.toml
  tenancy serve --print-config > tenancy.toml      the commented default, which is the manual

Flags win over the environment (TENANCY_LISTEN, TENANCY_LIMITS_MAX_BODY_BYTES, …), that over the file.
TENANCY_LOG says what is logged: info, debug, tenancy_server=debug.";

/// Arguments of `serve`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// A configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// sqlite:PATH or postgres://…; the embedded one in the data directory when left out
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Where the embedded database is kept (default ./.tenancy)
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Where to listen (default 127.0.0.1:7300; port 0 picks one)
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// A proxy that ends TLS stands before this server: it may listen on other than loopback addresses
    #[arg(long)]
    behind_tls_proxy: bool,
    /// How log lines are written: text on a terminal, json elsewhere when left out
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Print the commented default configuration, and stop
    #[arg(long)]
    print_config: bool,
}

/// Runs it.
///
/// # Errors
/// Why it cannot serve.
pub async fn run(given: Serve) -> Result<Exit, Failure> {
    if given.print_config {
        crate::terminal::write(tenancy_server::config::DEFAULT_TOML)?;
        return Ok(Exit::Done);
    }
    let stop = stop_on_signals()?;
    let otherwise = if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    log(given.log_format.unwrap_or(otherwise), "info");
    let flags = Flags {
        listen: given.listen,
        data_dir: given.data_dir,
        database: given.database,
        behind_tls_proxy: given.behind_tls_proxy,
    };
    let config = Config::load(given.config.as_deref(), flags).map_err(bad_config)?;
    let database = config.database().map_err(bad_config)?;
    on_threads_for(&database.clone(), serve(config, database, stop)).await
}

async fn serve(config: Config, database: Database, stop: CancellationToken) -> Result<Exit, Failure> {
    reached(&database).await?;
    if matches!(database, Database::Sqlite(_)) {
        make_data_directory(&config)?;
        // One process has this file, so that nobody else can be on an older release: it is brought up by itself.
        database.migrate(false).await.map_err(of_database)?;
    }
    let store = database.open().await.map_err(of_database)?;
    mark_served(&store).await?;
    look_for_keys(&store, &database).await?;
    let listener = match listen(config.listen).await {
        Ok(listener) => listener,
        Err(failure) => {
            store.close().await;
            return Err(failure);
        }
    };
    say(&format!("tenancy serves http://{}", listener.local_addr()?))?;
    let served = tenancy_server::serve(config, store.clone(), listener, stop).await;
    store.close().await;
    served.map(|()| Exit::Done).map_err(of_database)
}

/// Says so where nobody can be let in.
async fn look_for_keys(store: &Store, database: &Database) -> Result<(), Failure> {
    let one = Page { after: None, limit: 1 };
    if !store.api_keys(&Scope::All, &one).await.map_err(of_database)?.items.is_empty() {
        return Ok(());
    }
    let make = command("db key NAME");
    match database {
        Database::Sqlite(_) => {
            tracing::warn!("no key exists, so nobody is let in: stop this server first, then {make}")
        }
        Database::Postgres(_) => tracing::warn!("no key exists, so nobody is let in: {make}"),
    }
    Ok(())
}
