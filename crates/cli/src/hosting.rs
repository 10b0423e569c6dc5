//! Functions shared by `dev`, `serve` and `db`, the commands that open the database directly.

use crate::environment;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::{command, quoted};
use crate::reach::CLIENT_FILE;
use crate::terminal::remark;
use crate::trust;
use clap::ValueEnum;
use std::io::IsTerminal;
use std::net::SocketAddr;
use std::num::NonZero;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use tenancy_core::apikey::Role;
use tenancy_server::config::{BadConfig, Config};
use tenancy_server::operations::keys::make_first;
use tenancy_server::tenancy::Tenancy;
use tenancy_store::Store;
use tenancy_store::database::Database;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Mark of a database that `serve` has used. `dev` refuses such a database.
const SERVED: &str = "served";
/// File name of the embedded database in the data directory.
const DATABASE_FILE: &str = "tenancy.db";

/// Marks a database as used by `serve`.
///
/// # Errors
/// Fails if the database reports an error.
pub async fn mark_served(store: &Store) -> Result<(), Failure> {
    store.mark(SERVED).await.map_err(of_database)
}

/// Checks that `dev` may use the database.
///
/// # Errors
/// Fails if `serve` has used the database, because `dev` would migrate it without a request and create an admin key.
pub async fn not_served(database: &Database, directory: &Path) -> Result<(), Failure> {
    if !database.is_marked(SERVED).await.map_err(of_database)? {
        return Ok(());
    }
    let message = "this database is used by `tenancy serve`; `tenancy dev` does not open it";
    let next = match database {
        Database::Sqlite(file) if file.starts_with(directory) => {
            let ours = quoted(&directory.to_string_lossy()).into_owned();
            let another = format!("{}-dev", directory.to_string_lossy().trim_end_matches('/'));
            let try_there = command(&format!("dev --data-dir {}", quoted(&another)));
            format!(
                "{try_there} starts with another database; {} serves this one",
                command(&format!("serve --data-dir {ours}"))
            )
        }
        // The URL is not printed because it can contain a password.
        _ => format!("name another database for `tenancy dev`, or serve this one with {}", command("serve")),
    };
    Err(Failure::refused(message).and(next))
}

/// Creates the data directory, or restricts an existing one to its owner.
///
/// # Errors
/// Fails if the directory cannot be created, used or restricted.
pub fn make_data_directory(config: &Config) -> Result<(), Failure> {
    let directory = &config.data_dir;
    trust::check(directory)?;
    let shown = directory.display();
    let refused = |what: String| Failure::refused(what).and("name another directory with --data-dir");
    match std::fs::metadata(directory) {
        Ok(found) if !found.is_dir() => return Err(refused(format!("the data directory {shown} is a file"))),
        Ok(found) => restrict(directory, found.permissions().mode() & 0o777)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused(format!("the data directory {shown} cannot be used: {error}"))),
    }
    config.make_data_dir().map_err(|error| refused(error.to_string()))
}

/// Restricts a directory to its owner, because it will contain keys. A directory with files of other programs is
/// refused: it may be open to others on purpose.
fn restrict(directory: &Path, mode: u32) -> Result<(), Failure> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let shown = directory.display();
    let within = directory.join("tenancy");
    let next =
        format!("name a directory that only you can read, such as --data-dir {}", quoted(&within.to_string_lossy()));
    let is_ours = [CLIENT_FILE, DATABASE_FILE].iter().any(|file| directory.join(file).exists());
    if !is_ours && std::fs::read_dir(directory)?.next().is_some() {
        let message = format!("{shown} contains other files, and other users can read it (mode {mode:04o})");
        return Err(Failure::refused(message).and(next));
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(|error| {
        let message =
            format!("other users can read {shown} (mode {mode:04o}), and its mode cannot be changed to 0700: {error}");
        Failure::refused(message).and(next)
    })?;
    remark(&format!("changed the mode of {shown} from {mode:04o} to 0700: it contains keys"));
    Ok(())
}

/// Format of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Plain text, for people
    Text,
    /// One JSON object per line
    Json,
}

/// Starts logging to standard error. `TENANCY_LOG` sets the filter (`info`, `tenancy_server=debug`, …).
///
/// # Errors
/// Fails if `TENANCY_LOG` is no filter.
pub fn log(format: LogFormat, otherwise: &str) -> Result<(), Failure> {
    let wanted = std::env::var("TENANCY_LOG").ok().filter(|filter| !filter.trim().is_empty());
    let filter = environment::log_filter(wanted.as_deref().unwrap_or(otherwise))?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // A line that cannot be written is lost. Reporting that error would write to the same stream and panic: a full disk
    // under the log would end the thread that writes to the database.
    let lines = lines.log_internal_errors(false);
    // `try_init` fails only if a subscriber is already installed; that one then logs.
    let _ = match format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().try_init(),
    };
    Ok(())
}

/// Listens on an address.
///
/// # Errors
/// Fails if the address is in use, with a command that uses another port.
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let arguments = std::env::args().skip(1).collect::<Vec<_>>();
            let next = on_another_port(&arguments, SocketAddr::new(address.ip(), 0));
            Failure::refused(format!("{address} is in use by another process")).and(next)
        }
        _ => Failure::refused(format!("cannot listen on {address}: {error}")),
    })
}

/// Returns the same command with a port that the system chooses.
fn on_another_port(arguments: &[String], free: SocketAddr) -> String {
    // A URL can contain a password, which must not be printed.
    if arguments.iter().any(|argument| argument.contains("://") && argument.contains(['@', '?'])) {
        return format!("run the same command with --listen {free}");
    }
    let mut kept = Vec::new();
    let mut left = arguments.iter();
    while let Some(argument) = left.next() {
        match argument.as_str() {
            "--listen" => drop(left.next()),
            given if given.starts_with("--listen=") => {}
            given => kept.push(quoted(given)),
        }
    }
    command(&format!("{} --listen {free}", kept.join(" ")))
}

/// Runs a server on its own threads. Their number depends on the database.
///
/// # Errors
/// Fails if the server fails or threads cannot be started.
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
    // Remaining tasks have no caller that waits for them.
    runtime.shutdown_background();
    outcome.unwrap_or_else(|error| Err(Failure::refused(format!("the server stopped: {error}"))))
}

/// Creates a key and returns its token.
///
/// # Errors
/// Fails if the database reports an error or the name is in use.
pub async fn make_key(store: &Store, config: &Config, name: &str, role: Role, part: &str) -> Result<String, Failure> {
    let tenancy = Tenancy::new(store.clone(), config.declared.clone());
    let made = make_first(&tenancy, name, role, part).await.map_err(of_database)?;
    Ok(made.token.reveal().to_owned())
}

/// Checks that the database can be reached.
///
/// # Errors
/// Fails with the address and the reason, and with the next step if there is one.
pub async fn reached(database: &Database) -> Result<(), Failure> {
    let Err(unreached) = database.reach().await else { return Ok(()) };
    let exit = if unreached.is_refused { Exit::Refused } else { Exit::NoServer };
    let what = if unreached.is_refused { "used" } else { "reached" };
    let failure = Failure::new(exit, format!("the database cannot be {what}: {unreached}"));
    if let Some(next) = unreached.next {
        return Err(failure.and(next));
    }
    if unreached.create.is_empty() {
        return Err(failure);
    }
    let words: Vec<_> = unreached.create.iter().map(|word| quoted(word)).collect();
    Err(failure.and(words.join(" ")))
}

/// Converts an error of the store for the administrator who started this process.
pub fn of_database(error: tenancy_core::Error) -> Failure {
    let exit = Exit::of_problem(error.status(), error.code());
    // The cause of an internal error is hidden from HTTP callers, but not from the administrator.
    let message = match &error {
        tenancy_core::Error::Internal(cause) => cause.clone(),
        other => other.to_string(),
    };
    Failure::new(exit, message)
}

/// Converts an error of the configuration.
pub fn bad_config(error: BadConfig) -> Failure {
    Failure::usage(error.to_string())
}

/// Returns a token that the first SIGINT or SIGTERM cancels. A second signal ends the process immediately.
///
/// # Errors
/// Fails if signal handlers cannot be installed.
pub fn stop_on_signals() -> Result<CancellationToken, Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let stop = CancellationToken::new();
    let requested = stop.clone();
    tokio::spawn(async move {
        for signals in 0.. {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if signals > 0 {
                std::process::exit(130);
            }
            requested.cancel();
            remark("stopping after the open requests; a second signal stops immediately");
        }
    });
    Ok(stop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn must_not_let_dev_open_a_database_that_serve_has_used() {
        let temp = tempfile::tempdir().expect("a directory");
        let cluster = tenancy_testkit::Postgres::shared().database("served");
        for database in [Database::Sqlite(temp.path().join("t.db")), Database::Postgres(cluster.url().to_owned())] {
            let not_served = || not_served(&database, temp.path());
            not_served().await.expect("new");
            database.migrate(false).await.expect("migrated");
            not_served().await.expect("not used yet");
            let keys = tempfile::tempdir().expect("a directory");
            let service = tenancy_vault::directory::Directory::create(&keys.path().join("keys")).expect("keys");
            let vault = tenancy_vault::Vault::new(std::sync::Arc::new(service), 10);
            let store = database.open(vault).await.expect("open");
            mark_served(&store).await.expect("marked");
            mark_served(&store).await.expect("again");
            store.close().await;
            let failure = not_served().await.expect_err("refused");
            assert_eq!(failure.exit, Exit::Refused);
            let next = failure.next.expect("what to do");
            match &database {
                Database::Sqlite(_) => assert!(next.contains(&format!("dev --data-dir {}-dev", temp.path().display()))),
                Database::Postgres(_) => assert!(next.contains("another database") && !next.contains("--data-dir")),
            }
        }
    }

    #[tokio::test]
    async fn must_say_why_a_database_cannot_be_reached_and_what_to_do() {
        let away = reached(&Database::Postgres("postgres://u:zz-secret@127.0.0.1:5/t".to_owned())).await;
        let away = away.expect_err("no listener");
        assert_eq!(away.message, "the database cannot be reached: 127.0.0.1:5: connection refused");
        assert_eq!(away.exit, Exit::NoServer);
        let cluster = tenancy_testkit::Postgres::shared().database("there");
        reached(&Database::Postgres(cluster.url())).await.expect("reached");
        let missing = reached(&Database::Postgres(cluster.url().replace(cluster.name(), "no db"))).await;
        let missing = missing.expect_err("it is not there");
        assert_eq!(missing.exit, Exit::Refused);
        let next = missing.next.expect("a command");
        assert!(next.starts_with("createdb --host=127.0.0.1 ") && next.ends_with(" 'no db'"), "{next}");
    }

    #[tokio::test]
    async fn must_say_what_to_do_when_the_port_is_in_use() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("free");
        let taken = first.local_addr().expect("an address");
        let failure = listen(taken).await.expect_err("taken");
        assert_eq!(failure.message, format!("{taken} is in use by another process"));
        assert!(failure.next.is_some_and(|next| next.ends_with("--listen 127.0.0.1:0")));
        let next = |line: &str| {
            let arguments: Vec<_> = line.split(' ').map(str::to_owned).collect();
            on_another_port(&arguments, SocketAddr::from(([127, 0, 0, 1], 0)))
        };
        let same = "dev --data-dir d --apply a.yaml --listen 127.0.0.1:0";
        assert!(next("dev --data-dir d --listen 127.0.0.1:7300 --apply a.yaml").ends_with(same));
        assert!(next("dev --listen=127.0.0.1:7300 --data-dir d --apply a.yaml").ends_with(same));
        assert!(!next("serve --database postgres://me:secret@db/t").contains("secret"));
    }

    #[test]
    fn must_restrict_its_own_data_directory_and_no_other() {
        let temp = tempfile::tempdir().expect("a directory");
        let config = |name: &str| Config { data_dir: temp.path().join(name), ..Config::default() };
        let open = |name: &str| {
            std::fs::create_dir(temp.path().join(name)).expect("made");
            std::fs::set_permissions(temp.path().join(name), std::fs::Permissions::from_mode(0o755)).expect("set");
        };
        let mode = |name: &str| std::fs::metadata(temp.path().join(name)).expect("there").permissions().mode() & 0o777;
        open("empty");
        make_data_directory(&config("empty")).expect("made");
        assert_eq!(mode("empty"), 0o700);
        open("others");
        std::fs::write(temp.path().join("others/mine.txt"), "").expect("written");
        let failure = make_data_directory(&config("others")).expect_err("files of others");
        assert!(failure.message.contains("(mode 0755)") && failure.exit == Exit::Refused, "{}", failure.message);
        assert_eq!(mode("others"), 0o755);
        let failure = make_data_directory(&config("others/mine.txt")).expect_err("a file");
        assert!(failure.message.ends_with("mine.txt is a file"), "{}", failure.message);
        assert!(make_data_directory(&config("others/mine.txt/below")).is_err());
    }
}
