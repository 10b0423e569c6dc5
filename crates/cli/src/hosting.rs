//! What `dev`, `serve` and `db` have in common: a process that has the database in its own hands.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::terminal::remark;
use clap::ValueEnum;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::num::NonZero;
use tenancy_core::apikey::Role;
use tenancy_server::config::{BadConfig, Config};
use tenancy_server::operations::{Done, keys};
use tenancy_server::tenancy::{Asked, Tenancy, fresh_correlation_id};
use tenancy_store::Store;
use tenancy_store::database::Database;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing_subscriber::EnvFilter;

/// The mark of a database that `serve` has used: somebody counts on it.
const SERVED: &str = "served";

/// Marks a database as served.
///
/// # Errors
/// What the database says.
pub async fn mark_served(store: &Store) -> Result<(), Failure> {
    store.mark(SERVED).await.map_err(of_database)
}

/// That `dev` may have the database.
///
/// # Errors
/// When `serve` has used it: `dev` would migrate it unasked, and make itself an admin key.
pub async fn not_served(database: &Database) -> Result<(), Failure> {
    if database.is_marked(SERVED).await.map_err(of_database)? {
        let message = "this database belongs to `tenancy serve`, and dev leaves it alone";
        return Err(Failure::refused(message).and_type("dev --data-dir ./.tenancy-dev"));
    }
    Ok(())
}

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Text,
    /// One object a line
    Json,
}

/// Begins to log on standard error; `TENANCY_LOG` says what (`info`, `tenancy_server=debug`, …).
pub fn log(format: LogFormat, otherwise: &str) {
    let wanted = std::env::var("TENANCY_LOG").unwrap_or_else(|_| otherwise.to_owned());
    let filter = EnvFilter::try_new(wanted).unwrap_or_else(|_| EnvFilter::new(otherwise));
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A line that cannot be written is lost. Told to complain, it would do so where it just could not write, and panic:
    // a full disk under the log would end the thread that writes to the database.
    let lines = lines.log_internal_errors(false);
    // A second subscriber is refused, and the first one logs: nothing to do about it.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
}

/// Listens.
///
/// # Errors
/// When the address is taken, with what to do.
pub async fn listen(address: SocketAddr, verb: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let free = SocketAddr::new(address.ip(), 0);
            Failure::refused(format!("{address} is taken by another process"))
                .and_type(&format!("{verb} --listen {free}"))
        }
        _ => Failure::refused(format!("cannot listen on {address}: {error}")),
    })
}

/// Runs what serves on threads of its own, as many as suit the database.
///
/// # Errors
/// What comes of it, or that threads cannot be had.
pub async fn on_threads_for<T: Send + 'static>(
    database: &Database,
    serving: impl Future<Output = Result<T, Failure>> + Send + 'static,
) -> Result<T, Failure> {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(database.request_threads(cores))
        .thread_name("requests")
        .enable_all()
        .build()?;
    let outcome = runtime.spawn(serving).await;
    // What is left has nobody to answer.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| Err(Failure::refused(format!("the server stopped: {error}"))))
}

/// Makes a key, and answers its token.
///
/// # Errors
/// What the database says, or a name that is taken.
pub async fn make_key(store: &Store, config: &Config, name: &str, role: Role, part: &str) -> Result<String, Failure> {
    let tenancy = Tenancy::new(store.clone(), config.declared.clone());
    let asked = Asked::by_system(part, fresh_correlation_id());
    let create = keys::Create { name: name.to_owned(), role, expires_at: None, maker: Role::Admin };
    match tenancy.decide_and_commit(&create, &asked, None).await.map_err(of_database)? {
        Done::Now(made) => Ok(made.token.reveal().to_owned()),
        Done::Before(_) => Err(Failure::refused("the key was made before")),
    }
}

/// What the store says, to whoever started this process.
pub fn of_database(error: tenancy_core::Error) -> Failure {
    let exit = Exit::of_problem(error.status(), error.code());
    // An internal error hides its cause from callers over HTTP; here it is the administrator who asks.
    let message = match &error {
        tenancy_core::Error::Internal(cause) => cause.clone(),
        other => other.to_string(),
    };
    Failure::new(exit, message)
}

/// A configuration that is refused.
pub fn bad_config(error: BadConfig) -> Failure {
    Failure::usage(error.to_string())
}

/// Ctrl-C and SIGTERM cancel what is answered; a second one stops the process at once.
///
/// # Errors
/// When signals cannot be watched.
pub fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let asked = stop.clone();
    tokio::spawn(async move {
        for signals in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if signals > 0 {
                std::process::exit(130);
            }
            asked.cancel();
            remark("stopping: what is under way is finished; once more stops at once");
        }
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn must_not_let_dev_use_what_serve_has_used() {
        let temp = tempfile::tempdir().expect("a directory");
        let cluster = tenancy_testkit::Postgres::shared().database("served");
        for database in [Database::Sqlite(temp.path().join("t.db")), Database::Postgres(cluster.url().to_owned())] {
            not_served(&database).await.expect("new");
            database.migrate(false).await.expect("migrated");
            not_served(&database).await.expect("not used yet");
            let store = database.open().await.expect("open");
            mark_served(&store).await.expect("marked");
            mark_served(&store).await.expect("again");
            store.close().await;
            assert_eq!(not_served(&database).await.expect_err("refused").exit, Exit::Refused);
        }
    }

    #[tokio::test]
    async fn must_say_what_to_do_when_the_port_is_taken() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0)), "dev").await.expect("free");
        let taken = first.local_addr().expect("an address");
        let failure = listen(taken, "dev").await.expect_err("taken");
        assert_eq!(failure.message, format!("{taken} is taken by another process"));
        assert!(failure.next.is_some_and(|next| next.ends_with("dev --listen 127.0.0.1:0")));
    }
}
