//! PgBouncer in transaction mode in front of a temporary cluster.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::account::{give, server_command};
use crate::database::{Database, url};
use crate::guard::Guard;
use crate::port;
use crate::postgres::Postgres;

const START_LIMIT: Duration = Duration::from_secs(20);
const PORT_TRIES: u32 = 20;

/// PgBouncer with `pool_mode = transaction` and defaults otherwise. Release 1.18 of Debian 12 forgets named statements
/// between transactions and refuses start-up `options`. Ends like [`Postgres`].
#[derive(Debug)]
pub struct PgBouncer {
    // Keeps the server running until it is dropped.
    _guard: Guard,
    port: u16,
}

impl PgBouncer {
    /// Starts a pooler for any database and any role of the cluster.
    #[must_use]
    pub fn start(postgres: &Postgres) -> Self {
        Self::start_in_front_of(postgres.address())
    }

    /// Starts a pooler in front of a [`Proxy`](crate::Proxy).
    #[must_use]
    pub fn start_in_front_of(upstream: SocketAddr) -> Self {
        let program = program().expect("PgBouncer is not installed (Debian: apt-get install pgbouncer)");
        let mut guard = Guard::new("tenancy-pgbouncer-");
        let home = guard.directory().join("home");
        std::fs::create_dir(&home).expect("make PgBouncer's directory");
        give(&home);
        std::fs::write(home.join("users"), "\"postgres\" \"\"\n").expect("write PgBouncer's users");
        for _ in 0..PORT_TRIES {
            let port = port::free();
            let ini = home.join("pgbouncer.ini");
            std::fs::write(&ini, configuration(upstream, port)).expect("write pgbouncer.ini");
            let mut command = server_command(&program, &home);
            command.arg(&ini);
            guard.spawn(command);
            if guard.wait_until(START_LIMIT, |_| TcpStream::connect(port::local(port)).is_ok()) {
                return Self { _guard: guard, port };
            }
        }
        panic!("PgBouncer did not start:\n{}", guard.log());
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        port::local(self.port)
    }

    /// Returns the URL of a database of the cluster through the pool, as superuser.
    #[must_use]
    pub fn url(&self, database: &Database) -> String {
        url("postgres", self.port, database.name())
    }
}

/// Roles that tests create are looked up in the cluster; none needs a password.
fn configuration(upstream: SocketAddr, port: u16) -> String {
    let (host, upstream_port) = (upstream.ip(), upstream.port());
    format!(
        "[databases]\n\
         * = host={host} port={upstream_port}\n\
         [pgbouncer]\n\
         listen_addr = 127.0.0.1\n\
         listen_port = {port}\n\
         unix_socket_dir =\n\
         auth_type = trust\n\
         auth_file = users\n\
         auth_user = postgres\n\
         pool_mode = transaction\n\
         default_pool_size = 20\n\
         max_client_conn = 500\n"
    )
}

fn program() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&on_path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory: PathBuf| directory.join("pgbouncer"))
        .find(|program: &PathBuf| Path::is_file(program))
}
