//! `serve`: starts the server.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::{
    LogFormat, bad_config, listen, log, make_data_directory, mark_served, of_database, on_threads_for, reached,
    stop_on_signals,
};
use crate::program::command;
use crate::terminal::say;
use crate::vault;
use clap::Args;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use tenancy_core::scope::Scope;
use tenancy_server::connections::tls::Certificate;
use tenancy_server::{Config, Flags};
use tenancy_store::Store;
use tenancy_store::database::Database;
use tenancy_store::page::Page;
use tokio_util::sync::CancellationToken;

const EXAMPLES: &str = "\
Examples:
  tenancy serve --database postgres://tenancy@db/tenancy --keys-dir /var/lib/tenancy-keys
  tenancy serve --config /etc/tenancy.toml
  tenancy serve --print-config > tenancy.toml      Writes the default configuration with comments.

Options override environment variables (TENANCY_LISTEN, TENANCY_LIMITS_MAX_BODY_BYTES, …), which override the file.
TENANCY_LOG sets the log filter, such as info, debug or tenancy_server=debug.";

/// Arguments of `serve`.
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Serve {
    /// Configuration file
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Database: sqlite:PATH or postgres://…. Default: a SQLite file in the data directory
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// Directory of the SQLite database. Default: ./.tenancy
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Directory of the keys that encrypt private data, outside the data directory; all processes use the same one
    #[arg(long, value_name = "DIR")]
    keys_dir: Option<PathBuf>,
    /// Address to listen on; port 0 chooses a free port. Default: 127.0.0.1:7300
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
    /// File with the TLS certificate and intermediate certificates, in PEM format. Read again when it changes
    #[arg(long, value_name = "FILE")]
    tls_cert: Option<PathBuf>,
    /// File with the private key of the TLS certificate, in PEM format
    #[arg(long, value_name = "FILE")]
    tls_key: Option<PathBuf>,
    /// Allow addresses other than loopback, because a proxy in front of this server terminates TLS
    #[arg(long)]
    behind_tls_proxy: bool,
    /// Format of log lines. Default: text on a terminal, otherwise json
    #[arg(long, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Print the default configuration with comments, and exit
    #[arg(long)]
    print_config: bool,
}

/// Runs the command.
///
/// # Errors
/// Fails if the server cannot start.
pub async fn run(given: Serve) -> Result<Exit, Failure> {
    if given.print_config {
        crate::terminal::write_data(tenancy_server::config::DEFAULT_TOML)?;
        return Ok(Exit::Done);
    }
    let stop = stop_on_signals()?;
    let otherwise = if std::io::stderr().is_terminal() { LogFormat::Text } else { LogFormat::Json };
    log(given.log_format.unwrap_or(otherwise), "info")?;
    let flags = Flags {
        listen: given.listen,
        data_dir: given.data_dir,
        database: given.database,
        keys_dir: given.keys_dir,
        tls_cert: given.tls_cert,
        tls_key: given.tls_key,
        behind_tls_proxy: given.behind_tls_proxy,
    };
    let config = Config::load(given.config.as_deref(), flags).map_err(bad_config)?;
    let database = config.database().map_err(bad_config)?;
    on_threads_for(&database.clone(), serve(config, database, stop)).await
}

async fn serve(config: Config, database: Database, stop: CancellationToken) -> Result<Exit, Failure> {
    // A certificate that cannot be used is reported before anything starts.
    let tls = config.tls().map_err(bad_config)?;
    let scheme = if tls.is_some() { "https" } else { "http" };
    tls.map(Certificate::read).transpose().map_err(Failure::refused)?;
    reached(&database).await?;
    let vault = vault::configured(&config, &database).await?;
    if matches!(database, Database::Sqlite(_)) {
        make_data_directory(&config)?;
        // Only one process can open this file, so no process of an older release uses it: migrate automatically.
        database.migrate(false).await.map_err(of_database)?;
    }
    let store = database.open(vault).await.map_err(of_database)?;
    mark_served(&store).await?;
    warn_without_keys(&store, &database).await?;
    for warning in database.warnings().await.map_err(of_database)? {
        tracing::warn!("{warning}");
    }
    let listener = match listen(config.listen).await {
        Ok(listener) => listener,
        Err(failure) => {
            store.close().await;
            return Err(failure);
        }
    };
    say(&format!("tenancy serves {scheme}://{}", listener.local_addr()?))?;
    let served = tenancy_server::serve(config, store.clone(), listener, stop).await;
    store.close().await;
    served.map(|()| Exit::Done).map_err(of_database)
}

/// Logs a warning if no key exists.
async fn warn_without_keys(store: &Store, database: &Database) -> Result<(), Failure> {
    let one = Page { after: None, limit: 1 };
    if !store.api_keys(&Scope::All, &one).await.map_err(of_database)?.items.is_empty() {
        return Ok(());
    }
    let make = command("db key NAME");
    match database {
        Database::Sqlite(_) => {
            tracing::warn!("no key exists: stop this server, then create one with {make}")
        }
        Database::Postgres(_) => tracing::warn!("no key exists: create one with {make}"),
    }
    Ok(())
}
