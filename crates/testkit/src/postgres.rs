//! A private, throw-away PostgreSQL cluster.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::account::{give, server_command};
use crate::database::{Database, url};
use crate::guard::Guard;
use crate::settings::Settings;
use crate::{binaries, port, template};

const START_LIMIT: Duration = Duration::from_secs(60);
/// How often a start looks for another port when somebody was quicker.
const PORT_TRIES: u32 = 20;
const HINT_LIMIT_BYTES: usize = 40;

/// A PostgreSQL server of the test's own on 127.0.0.1, superuser `postgres`, no passwords. Durable unless
/// its [`Settings`] say otherwise. Its default collation is not bytewise, as in most installations.
///
/// Dropping it ends the server and removes its files; so does the end of the process, however it ends.
#[derive(Debug)]
pub struct Postgres {
    guard: Guard,
    port: u16,
    databases: AtomicU32,
}

impl Postgres {
    /// A durable cluster with 200 connections.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Settings::default())
    }

    /// A cluster with other settings.
    #[must_use]
    pub fn start_with(settings: Settings) -> Self {
        let guard = Guard::new("tenancy-postgres-");
        let mut postgres = Self { guard, port: 0, databases: AtomicU32::new(0) };
        template::copy_to(&postgres.data_directory());
        let sockets = postgres.guard.directory().join("s");
        std::fs::create_dir(&sockets).expect("make the socket directory");
        give(&sockets);

        let conf = postgres.data_directory().join("postgresql.conf");
        let template = std::fs::read_to_string(&conf).expect("read postgresql.conf");
        for _ in 0..PORT_TRIES {
            postgres.port = port::free();
            let ours = settings.to_conf(postgres.port, &sockets.to_string_lossy());
            std::fs::write(&conf, format!("{template}\n{ours}")).expect("write postgresql.conf");
            if postgres.try_start() {
                return postgres;
            }
        }
        panic!("PostgreSQL found no free port:\n{}", postgres.log());
    }

    /// One durable cluster for all tests of this process. Tests share it by taking a
    /// [`database`](Self::database) each; it cannot be stopped.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// The port on 127.0.0.1; the same for the cluster's whole life.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The address to put a [`Proxy`](crate::Proxy) in front of.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        port::local(self.port)
    }

    /// The way to a database of this name as superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        url("postgres", self.port, database)
    }

    /// A program of the same release, such as `pgbench` or `psql`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        binaries::directory().join(name)
    }

    /// The server's data directory.
    #[must_use]
    pub fn data_directory(&self) -> PathBuf {
        self.guard.directory().join("data")
    }

    /// What the server has logged so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.guard.log()
    }

    /// A fresh, empty database with a name of its own that begins with `hint`.
    pub fn database(&self, hint: &str) -> Database {
        self.create_database(hint, "template1")
    }

    /// A copy of a database, rows and all. Nobody may be connected to the original meanwhile.
    pub fn copy_of(&self, original: &Database, hint: &str) -> Database {
        self.create_database(hint, original.name())
    }

    fn create_database(&self, hint: &str, template: &str) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("{}_{number}", identifier(hint));
        let server = Database::new("postgres".to_owned(), self.port);
        server.execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Database::new(name, self.port)
    }

    /// Ends the server in order: open transactions are rolled back, everything is written. Blocks the
    /// thread until it is gone. [`restart`](Self::restart) brings it back.
    pub fn stop(&mut self) {
        self.guard.end(Signal::INT);
    }

    /// Ends the server at once, as a crash does: the next start recovers from the log. Blocks the thread
    /// until it is gone.
    pub fn kill(&mut self) {
        self.guard.end(Signal::QUIT);
    }

    /// Starts the server again on the same port with the same data; stops it first if it runs. Blocks
    /// the thread until it answers.
    pub fn restart(&mut self) {
        self.stop();
        let until = Instant::now() + START_LIMIT;
        while !self.try_start() {
            assert!(Instant::now() < until, "port {} stays taken:\n{}", self.port, self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether the server runs.
    pub fn is_running(&mut self) -> bool {
        self.guard.pid().is_some()
    }

    /// False when the port was taken by somebody else.
    fn try_start(&mut self) -> bool {
        let data = self.data_directory();
        let mut command = server_command(&binaries::directory().join("postgres"), &data);
        command.arg("-D").arg(&data);
        let logged_before = self.log().len();
        self.guard.spawn(command);
        let status = data.join("postmaster.pid");
        if self.guard.wait_until(START_LIMIT, |pid| says_ready(&status, pid)) {
            return true;
        }
        let log = self.log();
        let port_taken = log.get(logged_before..).is_some_and(|log| log.contains("could not bind"));
        assert!(port_taken, "PostgreSQL did not start:\n{log}");
        false
    }
}

/// What `pg_ctl start --wait` looks at: the lock file's first line is the process, its eighth the status.
fn says_ready(status: &std::path::Path, pid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(status) else {
        return false;
    };
    let mut lines = status.lines();
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6).map(str::trim) == Some("ready")
}

/// An identifier that needs no quotes.
fn identifier(hint: &str) -> String {
    let plain = hint.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'0'..=b'9' => char::from(byte),
        b'A'..=b'Z' => char::from(byte.to_ascii_lowercase()),
        _ => '_',
    });
    format!("t_{}", plain.take(HINT_LIMIT_BYTES).collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hint_of_any_kind_must_become_an_identifier() {
        assert_eq!(identifier("commit::Cut at 3"), "t_commit__cut_at_3");
        assert_eq!(identifier(&"ü".repeat(100)).len(), HINT_LIMIT_BYTES + 2);
    }
}
