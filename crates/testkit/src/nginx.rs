//! nginx as a gateway, with the configuration of the documentation.

use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::account::{give, server_command};
use crate::guard::Guard;
use crate::port;

const START_LIMIT: Duration = Duration::from_secs(20);
const PORT_TRIES: u32 = 20;

/// nginx of the system (Debian: nginx-light). Ends like [`Postgres`](crate::Postgres).
#[derive(Debug)]
pub struct Nginx {
    // Keeps the server running until it is dropped.
    guard: Guard,
    port: u16,
}

impl Nginx {
    /// Starts nginx with the contents of its `http` block. `configuration` gets the port to listen on.
    #[must_use]
    pub fn start(configuration: impl Fn(u16) -> String) -> Self {
        let program =
            program().expect("nginx is not installed (Debian: apt-get install --no-install-recommends nginx-light)");
        let mut guard = Guard::new("tenancy-nginx-");
        let home = guard.directory().join("home");
        std::fs::create_dir(&home).expect("make nginx's directory");
        give(&home);
        for _ in 0..PORT_TRIES {
            let port = port::free();
            let file = home.join("nginx.conf");
            std::fs::write(&file, whole(&configuration(port))).expect("write nginx.conf");
            let mut command = server_command(&program, &home);
            command.arg("-p").arg(&home).arg("-e").arg("stderr").arg("-c").arg(&file);
            guard.spawn(command);
            if guard.wait_until(START_LIMIT, |_| TcpStream::connect(port::local(port)).is_ok()) {
                return Self { guard, port };
            }
        }
        panic!("nginx did not start:\n{}", guard.log());
    }

    /// Returns the address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        port::local(self.port)
    }

    /// Returns its log.
    #[must_use]
    pub fn log(&self) -> String {
        self.guard.log()
    }
}

/// What surrounds the `http` block: one process in the foreground, with all files in its own directory.
fn whole(http: &str) -> String {
    format!(
        "daemon off;\nworker_processes 1;\npid nginx.pid;\nevents {{ worker_connections 512; }}\n\
         http {{\naccess_log off;\nclient_body_temp_path body;\nproxy_temp_path proxy;\nfastcgi_temp_path fastcgi;\n\
         uwsgi_temp_path uwsgi;\nscgi_temp_path scgi;\n{http}\n}}\n"
    )
}

fn program() -> Option<PathBuf> {
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&on_path)
        .chain([PathBuf::from("/usr/sbin")])
        .map(|directory: PathBuf| directory.join("nginx"))
        .find(|program: &PathBuf| Path::is_file(program))
}
