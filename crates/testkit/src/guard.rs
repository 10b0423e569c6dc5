//! A server process and its directory. Neither outlives the test.
//!
//! A test process can end without running destructors (SIGKILL by a test runner, `exit`, a cluster in a `static`). So a
//! small shell waits for the end of a pipe whose other end only the test process has; the kernel always closes it. Then
//! the shell ends the server and removes the directory.

use std::fs::{File, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{Pid, kill_process};

use crate::signal::{self, Signal};

/// Each line on the pipe replaces the process to end; `none` means no process. A zombie counts as ended, even if it is
/// never waited for.
const WATCHDOG: &str = r#"
trap '' HUP INT TERM
alive() {
    kill -0 "$1" 2>/dev/null && ! grep -q '^State:[[:space:]]*Z' "/proc/$1/status" 2>/dev/null
}
server=none
while read -r line; do server=$line; done
if [ "$server" != none ]; then
    kill -QUIT "$server" 2>/dev/null
    tries=200
    while [ $tries -gt 0 ] && alive "$server"; do sleep 0.05; tries=$((tries - 1)); done
    alive "$server" && kill -KILL "$server" 2>/dev/null
fi
rm -rf "$1"
"#;

const POLL: Duration = Duration::from_millis(2);
/// Time that a server may take to react to a signal.
const PATIENCE: Duration = Duration::from_secs(20);

/// Temporary directory, and at most one server that runs in it.
#[derive(Debug)]
pub(crate) struct Guard {
    directory: PathBuf,
    server: Option<Child>,
    watchdog: Child,
    pipe: Option<ChildStdin>,
}

impl Guard {
    pub(crate) fn new(prefix: &str) -> Self {
        // 0711: the servers' account must reach its files inside.
        let directory = tempfile::Builder::new()
            .prefix(prefix)
            .permissions(Permissions::from_mode(0o711))
            .tempdir()
            .unwrap_or_else(|error| panic!("make a directory in {}: {error}", std::env::temp_dir().display()))
            .keep();
        // Separate process group: test runners kill the whole group of a test. Output closed: they also wait for every
        // process that holds the output of the test.
        let mut watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "tenancy-testkit-watchdog"])
            .arg(&directory)
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()
            .expect("start the watchdog (`sh`)");
        let pipe = watchdog.stdin.take();
        Self { directory, server: None, watchdog, pipe }
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    pub(crate) fn log(&self) -> String {
        let bytes = std::fs::read(self.log_path()).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn log_file(&self) -> File {
        OpenOptions::new().create(true).append(true).open(self.log_path()).expect("open the server's log")
    }

    /// Starts the server; its output goes to the log.
    pub(crate) fn spawn(&mut self, mut command: Command) {
        assert!(self.server.is_none(), "the server is already running");
        let log = self.log_file();
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .unwrap_or_else(|error| panic!("start {}: {error}", command.get_program().to_string_lossy()));
        self.tell(&child.id().to_string());
        self.server = Some(child);
    }

    /// Returns the process id while the server runs.
    pub(crate) fn pid(&mut self) -> Option<u32> {
        let child = self.server.as_mut()?;
        if child.try_wait().expect("wait for the server").is_some() {
            self.server = None;
            self.tell("none");
        }
        self.server.as_ref().map(Child::id)
    }

    /// Waits until `ready` returns `true`. Returns `false` if the server ended instead.
    pub(crate) fn wait_until(&mut self, limit: Duration, mut ready: impl FnMut(u32) -> bool) -> bool {
        let until = Instant::now() + limit;
        while let Some(pid) = self.pid() {
            if ready(pid) {
                return true;
            }
            assert!(Instant::now() < until, "the server was not ready within {limit:?}:\n{}", self.log());
            sleep(POLL);
        }
        false
    }

    /// Ends the server with `signal`, then with SIGQUIT and SIGKILL if it does not end, and waits until it is gone.
    pub(crate) fn end(&mut self, signal: Signal) {
        for signal in [signal, Signal::QUIT, Signal::KILL] {
            let Some(pid) = self.pid() else { return };
            signal::signal(pid, signal);
            let until = Instant::now() + PATIENCE;
            while self.pid().is_some() && Instant::now() < until {
                sleep(POLL);
            }
        }
    }

    fn tell(&mut self, line: &str) {
        let told = self.pipe.as_mut().map(|pipe| writeln!(pipe, "{line}"));
        assert!(matches!(told, Some(Ok(()))), "the watchdog has ended: {told:?}");
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Must not panic: the test may already be panicking.
        if let Some(mut server) = self.server.take() {
            if let Some(pid) = i32::try_from(server.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, Signal::QUIT);
            }
            let until = Instant::now() + PATIENCE;
            while matches!(server.try_wait(), Ok(None)) && Instant::now() < until {
                sleep(POLL);
            }
            if matches!(server.try_wait(), Ok(None)) {
                let _ = server.kill();
                let _ = server.wait();
            }
            if let Some(pipe) = self.pipe.as_mut() {
                let _ = writeln!(pipe, "none");
            }
        }
        // Closing the pipe makes the watchdog remove the directory and end.
        self.pipe = None;
        let _ = self.watchdog.wait();
    }
}
