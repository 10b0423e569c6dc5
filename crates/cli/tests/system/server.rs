//! A running server process and the ways to end it.

use super::http::Client;
use std::fs::File;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tenancy_testkit::{Signal, signal};

/// Timeout for an expected event.
pub const PATIENCE: Duration = Duration::from_secs(60);
const POLL: Duration = Duration::from_millis(10);

/// Polls until `look` returns a value.
#[track_caller]
pub fn until<T>(what: &str, patience: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < patience, "not within {patience:?}: {what}");
        std::thread::sleep(POLL);
    }
}

/// A server process. Dropping it kills the process.
pub struct Server {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
    token: String,
}

impl Server {
    /// Starts the server and waits until it prints its address. Its output goes to files that begin with `log`.
    #[track_caller]
    pub fn start(mut command: Command, log: &Path, token: &str) -> Self {
        let (out, err) = (log.with_extension("out"), log.with_extension("err"));
        let file = |path| File::create(path).expect("a log");
        let child = command.stdout(file(&out)).stderr(file(&err)).spawn().expect("started");
        let unknown = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Self { child, address: unknown, log: log.to_owned(), token: token.to_owned() };
        // `dev` prints the address before it is ready.
        let is_dev = command.get_args().any(|argument| argument.to_string_lossy().split(' ').any(|word| word == "dev"));
        server.address = until("the server serves", PATIENCE, || {
            let said = std::fs::read_to_string(&out).expect("its output");
            if let Some(status) = server.child.try_wait().expect("waited") {
                panic!("the server ended with {status}:\n{said}{}", server.errors());
            }
            let ready = said.contains(if is_dev { "Ctrl-C" } else { "serves http://" });
            let url = said.split_whitespace().find_map(|word| word.strip_prefix("http://"));
            url.filter(|_| ready && said.ends_with('\n')).map(|url| url.trim_end_matches(',').parse().expect("address"))
        });
        server
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    pub fn set_token(&mut self, token: &str) {
        token.clone_into(&mut self.token);
    }

    /// A client with the admin key.
    pub fn client(&self) -> Client {
        Client::new(self.address, Some(&self.token))
    }

    /// Returns its standard error.
    pub fn errors(&self) -> String {
        std::fs::read_to_string(self.log.with_extension("err")).unwrap_or_default()
    }

    /// Fails if its log contains an internal error.
    #[track_caller]
    pub fn assert_no_errors(&self) {
        let errors = self.errors();
        let bad = errors.lines().find(|line| line.contains("ERROR") || line.contains("panicked"));
        assert!(bad.is_none(), "{bad:?}");
    }

    /// Sends SIGKILL. Dropping the value waits for the process.
    pub fn kill(&self) {
        signal(self.pid(), Signal::KILL);
    }

    /// Sends SIGTERM.
    pub fn terminate(&self) {
        signal(self.pid(), Signal::TERM);
    }

    /// Waits until it has ended by itself. Returns its exit code and its standard error.
    #[track_caller]
    pub fn ended(mut self) -> (Option<i32>, String) {
        let status = until("the server ends", PATIENCE, || self.child.try_wait().expect("waited"));
        (status.code(), self.errors())
    }

    /// Waits until it has stopped, and checks that it succeeded.
    #[track_caller]
    pub fn stopped(mut self) {
        let status = until("the server stops", PATIENCE, || self.child.try_wait().expect("waited"));
        assert_eq!(status.code(), Some(0), "{}", self.errors());
    }

    /// Stops it and waits.
    #[track_caller]
    pub fn stop(self) {
        self.terminate();
        self.stopped();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            let errors = self.errors();
            let told = errors.lines().filter(|line| !line.contains("\"status\":2"));
            println!("--- {} said:\n{}", self.log.display(), told.collect::<Vec<_>>().join("\n"));
        }
    }
}
