//! A PostgreSQL server on which places are made.

use crate::Fault;
use std::time::Duration;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Database of the ledger.
pub const LEDGER: &str = "tenancy_places";
/// Port of a server whose URL has none.
const DEFAULT_PORT: u16 = 5432;
/// Maximum time to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// A server, and how its administrator connects.
#[derive(Clone)]
pub struct Server {
    config: Config,
    tls: Option<MakeRustlsConnect>,
}

impl std::fmt::Debug for Server {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The configuration contains a password.
        f.debug_struct("Server").field("hosts", &self.config.get_hosts()).finish_non_exhaustive()
    }
}

impl Server {
    /// Uses the configuration of an administrator, which names a host. The administrator has CREATEDB, CREATEROLE and INHERIT, and
    /// need not be a superuser. Without a TLS connector, nothing is encrypted: this is for a server on the same machine.
    pub fn with(mut config: Config, tls: Option<MakeRustlsConnect>) -> Self {
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT_TIMEOUT).application_name("tenancy");
        // Names are those of the server itself: programs can make functions with the same names.
        config.options(
            "-c search_path=pg_catalog -c statement_timeout=120s -c lock_timeout=10s -c idle_session_timeout=60s \
             -c idle_in_transaction_session_timeout=60s",
        );
        Self { config, tls }
    }

    /// Returns host and port of the server, for those who are given a login.
    pub fn address(&self) -> (String, u16) {
        let host = match self.config.get_hosts().first() {
            Some(Host::Tcp(name)) => name.clone(),
            Some(Host::Unix(folder)) => folder.to_string_lossy().into_owned(),
            None => String::new(),
        };
        (host, self.config.get_ports().first().copied().unwrap_or(DEFAULT_PORT))
    }

    /// Connects to the ledger. The session lives longer than an idle one of another database: a worker that is stopped loses
    /// the sessions in which it acts before the one that keeps others away.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    pub(super) async fn connect_to_ledger(&self) -> Result<Client, Fault> {
        let ledger = self.connect(Some(LEDGER)).await?;
        run(&ledger, "SET idle_session_timeout = '200s'").await?;
        Ok(ledger)
    }

    /// Connects to a database; to the administrator's own if there is no name.
    ///
    /// # Errors
    /// [`Fault::Unavailable`].
    pub(super) async fn connect(&self, database: Option<&str>) -> Result<Client, Fault> {
        let mut config = self.config.clone();
        if let Some(database) = database {
            config.dbname(database);
        }
        match &self.tls {
            Some(tls) => config.connect(tls.clone()).await.map(|(client, connection)| {
                tokio::spawn(connection);
                client
            }),
            None => config.connect(NoTls).await.map(|(client, connection)| {
                tokio::spawn(connection);
                client
            }),
        }
        .map_err(|error| unavailable(&error))
    }
}

/// Runs statements that are separated by `;`, all of them or none.
///
/// # Errors
/// [`Fault`].
pub async fn run(client: &Client, statements: &str) -> Result<(), Fault> {
    client.batch_execute(statements).await.map_err(|error| fault(&error))
}

/// The fault of an error of the server: what the server refuses for good is for an operator.
pub fn fault(error: &tokio_postgres::Error) -> Fault {
    use tokio_postgres::error::SqlState;
    match error.as_db_error() {
        Some(refused) if *refused.code() == SqlState::INSUFFICIENT_PRIVILEGE => Fault::Refused(format!(
            "the administrator of the placement may not do this ({}): grant it, then try again",
            refused.message()
        )),
        Some(refused) => Fault::Unavailable(format!("the server of the placement: {}", refused.message())),
        None => unavailable(error),
    }
}

fn unavailable(error: &tokio_postgres::Error) -> Fault {
    Fault::Unavailable(format!("the server of the placement: {error}"))
}
