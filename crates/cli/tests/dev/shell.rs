//! A shell for each test, with its own home, configuration and data directory.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tenancy_testkit::{Signal, signal};

/// Timeout for a line of a server, and for its end.
const PATIENCE: Duration = Duration::from_secs(60);

/// The example of the repository.
pub const EXAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/acme.yaml");

pub struct Shell {
    home: tempfile::TempDir,
}

/// Output and exit code of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Shell {
    pub fn new() -> Self {
        Self { home: tempfile::tempdir().expect("a directory") }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        std::fs::write(&path, text).expect("written");
        path
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tenancy"));
        command.current_dir(self.home.path()).env_clear();
        command.env("HOME", self.home.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command
    }

    /// Runs a command; the line is split at spaces.
    pub fn run(&self, line: &str) -> Ran {
        self.run_with(&line.split_whitespace().collect::<Vec<_>>(), &[], None)
    }

    pub fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)], stdin: Option<&str>) -> Ran {
        let mut command = self.command();
        command.args(arguments).envs(environment.iter().copied());
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        if let Some(text) = stdin {
            child.stdin.take().expect("piped").write_all(text.as_bytes()).expect("written");
        }
        let Output { status, stdout, stderr } = child.wait_with_output().expect("ended");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
    }

    /// Runs a command that must succeed, and returns its standard output.
    pub fn good(&self, line: &str) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, 0, "{line}\n{}{}", ran.out, ran.err);
        ran.out
    }

    /// Runs a command that must end with this exit code, and returns its standard error.
    pub fn bad(&self, line: &str, code: i32) -> String {
        let ran = self.run(line);
        assert_eq!(ran.code, code, "{line}\n{}{}", ran.out, ran.err);
        ran.err
    }

    /// Starts `dev` on a free port and waits until it is ready.
    pub fn dev(&self, arguments: &[&str]) -> Dev {
        self.server("dev", "Ctrl-C", arguments)
    }

    /// Starts `serve` on a free port and waits until it is ready.
    pub fn serve(&self, arguments: &[&str]) -> Dev {
        self.server("serve", "tenancy serves", arguments)
    }

    fn server(&self, verb: &str, ready: &str, arguments: &[&str]) -> Dev {
        self.start(&[&[verb, "--listen", "127.0.0.1:0"], arguments].concat(), ready)
    }

    /// Starts a command that runs until it is stopped, and waits until it has written a text.
    pub fn start(&self, arguments: &[&str], ready: &str) -> Dev {
        let mut command = self.command();
        command.args(arguments);
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("started");
        let lines = lines_of(child.stdout.take().expect("piped"));
        let errors = lines_of(child.stderr.take().expect("piped"));
        let mut dev = Dev { child, lines, errors, shown: String::new() };
        while !dev.shown.contains(ready) {
            match dev.lines.recv_timeout(PATIENCE) {
                Ok(line) => dev.shown.push_str(&format!("{line}\n")),
                Err(_) => panic!("{arguments:?} did not get ready: {}\n{}", dev.shown, dev.said()),
            }
        }
        dev
    }
}

fn lines_of(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

/// A running server. Dropping it kills the process.
pub struct Dev {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
    /// Standard output until it was ready.
    pub shown: String,
}

impl Dev {
    pub fn url(&self) -> String {
        let first = self.shown.lines().next().expect("a line");
        let url = first.split([' ', ',']).find(|word| word.starts_with("http://"));
        url.unwrap_or_else(|| panic!("no URL in {first}")).to_owned()
    }

    /// Waits for a line of its standard output that contains a text.
    pub fn line(&self, part: &str) -> String {
        loop {
            match self.lines.recv_timeout(PATIENCE) {
                Ok(line) if line.contains(part) => return line,
                Ok(_) => {}
                Err(_) => panic!("it did not write {part:?}: {}", self.said()),
            }
        }
    }

    /// Returns the new lines of its standard error.
    pub fn said(&self) -> String {
        self.errors.try_iter().fold(String::new(), |text, line| text + &line + "\n")
    }

    /// Sends SIGTERM and returns the exit code.
    pub fn stop(mut self) -> i32 {
        signal(self.child.id(), Signal::TERM);
        let begun = std::time::Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait().expect("waited") {
                return status.code().unwrap_or(-1);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        panic!("it did not stop: {}", self.said());
    }
}

impl Drop for Dev {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The mode of a file.
pub fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt;
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}
