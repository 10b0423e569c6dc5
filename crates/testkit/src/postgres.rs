//! A private, temporary PostgreSQL cluster.

use std::fs::Permissions;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::account::{give, server_command};
use crate::database::{Database, url};
use crate::guard::Guard;
use crate::settings::Settings;
use crate::signal::{Signal, signal};
use crate::{binaries, port, template};

const START_LIMIT: Duration = Duration::from_secs(60);
/// Maximum number of ports to try when another process takes the port first.
const PORT_TRIES: u32 = 20;
const HINT_LIMIT_BYTES: usize = 40;

/// A PostgreSQL server for one test on 127.0.0.1, with superuser `postgres` and no passwords. Durable unless its
/// [`Settings`] say otherwise. Its default collation is linguistic, as in most installations.
///
/// The server ends and its files are removed when it is dropped, and when the process ends in any way.
#[derive(Debug)]
pub struct Postgres {
    guard: Guard,
    port: u16,
    databases: AtomicU32,
}

impl Postgres {
    /// Starts a durable cluster with 200 connections.
    #[must_use]
    pub fn start() -> Self {
        Self::start_with(Settings::default())
    }

    /// Starts a cluster with other settings.
    #[must_use]
    pub fn start_with(settings: Settings) -> Self {
        let guard = Guard::new("tenancy-postgres-");
        let mut postgres = Self { guard, port: 0, databases: AtomicU32::new(0) };
        template::copy_to(&postgres.data_directory());
        postgres.start_on_a_free_port(&settings);
        postgres
    }

    /// Starts a standby of this cluster that streams from it (`pg_basebackup`).
    #[must_use]
    pub fn standby(&self) -> Self {
        let guard = Guard::new("tenancy-standby-");
        let mut standby = Self { guard, port: 0, databases: AtomicU32::new(0) };
        let data = standby.data_directory();
        std::fs::create_dir(&data).expect("make the data directory");
        std::fs::set_permissions(&data, Permissions::from_mode(0o700)).expect("close the data directory");
        give(&data);
        let copied = server_command(&self.program("pg_basebackup"), &data)
            .args(["--write-recovery-conf", "--wal-method=stream", "--checkpoint=fast", "--no-sync"])
            .arg("--pgdata")
            .arg(&data)
            .arg("--dbname")
            .arg(format!("host=127.0.0.1 port={} user=postgres", self.port))
            .output()
            .expect("run pg_basebackup");
        assert!(copied.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&copied.stderr));
        standby.start_on_a_free_port(&Settings::default());
        standby
    }

    fn start_on_a_free_port(&mut self, settings: &Settings) {
        let sockets = self.guard.directory().join("s");
        std::fs::create_dir(&sockets).expect("make the socket directory");
        give(&sockets);
        let conf = self.data_directory().join("postgresql.conf");
        let template = std::fs::read_to_string(&conf).expect("read postgresql.conf");
        for _ in 0..PORT_TRIES {
            self.port = port::free();
            let ours = settings.to_conf(self.port, &sockets.to_string_lossy());
            std::fs::write(&conf, format!("{template}\n{ours}")).expect("write postgresql.conf");
            if self.try_start() {
                return;
            }
        }
        panic!("PostgreSQL found no free port:\n{}", self.log());
    }

    /// Returns one durable cluster for all tests of this process. Each test creates its own
    /// [`database`](Self::database). The cluster cannot be stopped.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Returns the port on 127.0.0.1, which never changes.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address, for a [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        port::local(self.port)
    }

    /// Returns the URL of a database as superuser.
    #[must_use]
    pub fn url(&self, database: &str) -> String {
        url("postgres", self.port, database)
    }

    /// Returns the path of a program of the same release, such as `pgbench` or `psql`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        binaries::directory().join(name)
    }

    /// Returns the server's data directory.
    #[must_use]
    pub fn data_directory(&self) -> PathBuf {
        self.guard.directory().join("data")
    }

    /// Returns the server's log so far.
    #[must_use]
    pub fn log(&self) -> String {
        self.guard.log()
    }

    /// Creates an empty database with a unique name that begins with `hint`.
    pub fn database(&self, hint: &str) -> Database {
        self.create_database(hint, "template1")
    }

    /// Copies a database with its rows. No session may be connected to the original meanwhile.
    pub fn copy_of(&self, original: &Database, hint: &str) -> Database {
        self.create_database(hint, original.name())
    }

    /// The database of the same name in this cluster, which is a standby of the other.
    #[must_use]
    pub fn same(&self, database: &Database) -> Database {
        Database::new(database.name().to_owned(), self.port)
    }

    fn create_database(&self, hint: &str, template: &str) -> Database {
        let number = self.databases.fetch_add(1, Ordering::Relaxed) + 1;
        let name = format!("{}_{number}", identifier(hint));
        let server = Database::new("postgres".to_owned(), self.port);
        server.execute(&format!("CREATE DATABASE {name} TEMPLATE {template}"));
        Database::new(name, self.port)
    }

    /// Shuts the server down: open transactions are rolled back and everything is written. Blocks the thread until it
    /// has ended. [`restart`](Self::restart) starts it again.
    pub fn stop(&mut self) {
        self.guard.end(Signal::INT);
    }

    /// Kills the server as a crash does: the next start recovers from the write-ahead log. Blocks the thread until it
    /// has ended.
    pub fn kill(&mut self) {
        self.guard.end(Signal::QUIT);
    }

    /// Makes a standby a server of its own. Blocks the thread until it accepts writes.
    pub fn promote(&self) {
        let promoted = Database::new("postgres".to_owned(), self.port).value("SELECT pg_promote(true, 60)");
        assert_eq!(promoted, "t", "{}", self.log());
    }

    /// Stops all processes of the server where they are, without ending them.
    pub fn freeze(&mut self) {
        let pid = self.guard.pid().expect("a server that runs");
        for pid in std::iter::once(pid).chain(children(pid)) {
            signal(pid, Signal::STOP);
        }
    }

    /// Kills all processes of the server at once: what has arrived and was not read yet is lost.
    pub fn kill_at_once(&mut self) {
        let pid = self.guard.pid().expect("a server that runs");
        for pid in std::iter::once(pid).chain(children(pid)) {
            signal(pid, Signal::KILL);
        }
        self.guard.end(Signal::KILL);
    }

    /// Starts the server again on the same port with the same data; stops it first if it runs. Blocks the thread until
    /// it answers.
    pub fn restart(&mut self) {
        self.stop();
        let until = Instant::now() + START_LIMIT;
        while !self.try_start() {
            assert!(Instant::now() < until, "port {} is still taken:\n{}", self.port, self.log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Whether the server runs.
    pub fn is_running(&mut self) -> bool {
        self.guard.pid().is_some()
    }

    /// Returns `false` if another process has taken the port.
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

/// Processes that this one has started, from `/proc`.
fn children(parent: u32) -> Vec<u32> {
    let entries = std::fs::read_dir("/proc").expect("read /proc");
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.lines().any(|line| line.strip_prefix("PPid:").is_some_and(|of| of.trim() == parent.to_string()))
    })
    .collect()
}

/// Same check as `pg_ctl start --wait`: the first line of the lock file is the process id, the eighth is the status.
fn says_ready(status: &std::path::Path, pid: u32) -> bool {
    let Ok(status) = std::fs::read_to_string(status) else {
        return false;
    };
    let mut lines = status.lines();
    lines.next() == Some(pid.to_string().as_str()) && matches!(lines.nth(6).map(str::trim), Some("ready" | "standby"))
}

/// Creates an identifier that needs no quotes.
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
