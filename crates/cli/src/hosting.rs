//! What `dev`, `serve` and `db` have in common: a process that has the database in its own hands.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::{command, quoted};
use crate::reach::CLIENT_FILE;
use crate::terminal::remark;
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
use tracing_subscriber::EnvFilter;

/// The mark of a database that `serve` has used: somebody counts on it.
const SERVED: &str = "served";
/// The embedded database, in its data directory.
const DATABASE_FILE: &str = "tenancy.db";

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
pub async fn not_served(database: &Database, directory: &Path) -> Result<(), Failure> {
    if !database.is_marked(SERVED).await.map_err(of_database)? {
        return Ok(());
    }
    let message = "this database belongs to `tenancy serve`, and dev leaves it alone";
    let next = match database {
        Database::Sqlite(file) if file.starts_with(directory) => {
            let ours = quoted(&directory.to_string_lossy()).into_owned();
            let another = format!("{}-dev", directory.to_string_lossy().trim_end_matches('/'));
            let try_there = command(&format!("dev --data-dir {}", quoted(&another)));
            format!("{try_there} for another one to try things on; {}", command(&format!("serve --data-dir {ours}")))
        }
        // Its URL may hold a password.
        _ => format!("name another database to try things on; {} is for this one", command("serve")),
    };
    Err(Failure::refused(message).and(next))
}

/// Makes the data directory, or closes the one that is there to all but its owner.
///
/// # Errors
/// When it cannot be had, or cannot be closed.
pub fn make_data_directory(config: &Config) -> Result<(), Failure> {
    let directory = &config.data_dir;
    let shown = directory.display();
    let refused = |what: String| Failure::refused(what).and("name another one with --data-dir");
    match std::fs::metadata(directory) {
        Ok(found) if !found.is_dir() => return Err(refused(format!("the data directory {shown} is a file"))),
        Ok(found) => close(directory, found.permissions().mode() & 0o777)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(refused(format!("the data directory {shown} cannot be used: {error}"))),
    }
    config.make_data_dir().map_err(|error| refused(error.to_string()))
}

/// Closes a directory that others can look into: keys are kept there. One with other things in it is somebody's, and may
/// be meant to be open.
fn close(directory: &Path, mode: u32) -> Result<(), Failure> {
    if mode & 0o077 == 0 {
        return Ok(());
    }
    let shown = directory.display();
    let within = directory.join("tenancy");
    let next = format!("name one that is yours alone, such as --data-dir {}", quoted(&within.to_string_lossy()));
    let is_ours = [CLIENT_FILE, DATABASE_FILE].iter().any(|file| directory.join(file).exists());
    if !is_ours && std::fs::read_dir(directory)?.next().is_some() {
        let message = format!("{shown} has other things in it, and others can look into it (mode {mode:04o})");
        return Err(Failure::refused(message).and(next));
    }
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o700)).map_err(|error| {
        let message = format!("others can look into {shown} (mode {mode:04o}), and it cannot be closed: {error}");
        Failure::refused(message).and(next)
    })?;
    remark(&format!("{shown} was open to others (mode {mode:04o}), and is its owner's alone now"));
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
pub async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| match error.kind() {
        std::io::ErrorKind::AddrInUse => {
            let arguments = std::env::args().skip(1).collect::<Vec<_>>();
            let next = on_another_port(&arguments, SocketAddr::new(address.ip(), 0));
            Failure::refused(format!("{address} is taken by another process")).and(next)
        }
        _ => Failure::refused(format!("cannot listen on {address}: {error}")),
    })
}

/// The same command on a port that is free.
fn on_another_port(arguments: &[String], free: SocketAddr) -> String {
    // A password may stand in a URL, and is not repeated where it can be read.
    if arguments.iter().any(|argument| argument.contains("://") && argument.contains(['@', '?'])) {
        return format!("the same command with --listen {free}");
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
    let made = make_first(&tenancy, name, role, part).await.map_err(of_database)?;
    Ok(made.token.reveal().to_owned())
}

/// That the database can be reached.
///
/// # Errors
/// Where it is and why not, with what to do.
pub async fn reached(database: &Database) -> Result<(), Failure> {
    let Err(unreached) = database.reach().await else { return Ok(()) };
    let exit = if unreached.is_refused { Exit::Refused } else { Exit::NoServer };
    let failure = Failure::new(exit, format!("the database cannot be reached: {unreached}"));
    if unreached.create.is_empty() {
        return Err(failure);
    }
    let words: Vec<_> = unreached.create.iter().map(|word| quoted(word)).collect();
    Err(failure.and(words.join(" ")))
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
            let not_served = || not_served(&database, temp.path());
            not_served().await.expect("new");
            database.migrate(false).await.expect("migrated");
            not_served().await.expect("not used yet");
            let store = database.open().await.expect("open");
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
        let away = away.expect_err("nobody listens there");
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
    async fn must_say_what_to_do_when_the_port_is_taken() {
        let first = listen(SocketAddr::from(([127, 0, 0, 1], 0))).await.expect("free");
        let taken = first.local_addr().expect("an address");
        let failure = listen(taken).await.expect_err("taken");
        assert_eq!(failure.message, format!("{taken} is taken by another process"));
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
    fn must_close_a_data_directory_that_is_ours_and_no_other() {
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
        let failure = make_data_directory(&config("others")).expect_err("somebody's");
        assert!(failure.message.contains("(mode 0755)") && failure.exit == Exit::Refused, "{}", failure.message);
        assert_eq!(mode("others"), 0o755);
        let failure = make_data_directory(&config("others/mine.txt")).expect_err("a file");
        assert!(failure.message.ends_with("mine.txt is a file"), "{}", failure.message);
        assert!(make_data_directory(&config("others/mine.txt/below")).is_err());
    }
}
