//! The home directory and the database of a test's servers, not shared with other tests.

use super::server::Server;
use std::path::PathBuf;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use tenancy_testkit::{Database, Postgres, Settings};

/// Database of a test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum On {
    Sqlite,
    Postgres,
}

/// Defines one test per database from a function that takes an [`On`].
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[test]
            fn $name() { super::$name($crate::place::On::Sqlite); })+
        }
        mod postgres {
            $(#[test]
            fn $name() { super::$name($crate::place::On::Postgres); })+
        }
    };
}
pub(crate) use on_both;

/// A home directory for servers, and their migrated database with an admin key.
pub struct Place {
    home: tempfile::TempDir,
    /// URL of the database. Without it, the file in the data directory is used.
    database: Option<String>,
    /// Variable that says where the keys for private data are. Without it, they are those of all tests.
    keys: Option<(&'static str, String)>,
    token: String,
    started: AtomicUsize,
}

/// Output and exit code of a command.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Place {
    pub fn new(on: On) -> Self {
        match on {
            On::Sqlite => Self::furnished(None),
            On::Postgres => {
                let (original, token) = original();
                let database = shared().copy_of(original, "system");
                Self { token: token.clone(), ..Self::bare(Some(database.url())) }
            }
        }
    }

    /// Uses a PostgreSQL cluster of its own, which the test can stop.
    pub fn on(database: &Database) -> Self {
        Self::furnished(Some(database.url()))
    }

    /// Without migrations and without a key.
    pub fn bare(database: Option<String>) -> Self {
        let home = tempfile::tempdir().expect("a directory");
        Self { home, database, keys: None, token: String::new(), started: AtomicUsize::new(0) }
    }

    /// With keys of its own, which a variable names. Paths in it are relative to the home directory.
    pub fn with_keys(database: Option<&Database>, variable: &'static str, value: &str) -> Self {
        let place = Self { keys: Some((variable, value.to_owned())), ..Self::bare(database.map(Database::url)) };
        place.good(&["db", "migrate"]);
        place.keyed()
    }

    fn furnished(database: Option<String>) -> Self {
        let place = Self::bare(database);
        place.good(&["db", "migrate"]);
        place.keyed()
    }

    /// The same database with another URL, such as through a proxy or a pooler, or as another role.
    pub fn through(&self, url: String) -> Self {
        Self { token: self.token.clone(), ..Self::bare(Some(url)) }
    }

    fn keyed(mut self) -> Self {
        self.token = self.good(&["db", "key", "test"]).trim().to_owned();
        self
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    pub fn token(&self) -> &str {
        &self.token
    }

    /// The program in this home directory, with a cleared environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = self.like(Command::new(env!("CARGO_BIN_EXE_tenancy")));
        command.args(arguments);
        command
    }

    /// Another program in this home directory.
    pub fn like(&self, mut command: Command) -> Command {
        command.current_dir(self.home.path()).env_clear();
        command.env("HOME", self.home.path()).env("PATH", std::env::var_os("PATH").unwrap_or_default());
        if let Some(database) = &self.database {
            command.env("TENANCY_DATABASE", database);
        }
        if let Some((variable, value)) = &self.keys {
            command.env(variable, value);
        } else if !self.path(".tenancy-keys").exists() {
            command.env("TENANCY_KEYS_DIRECTORY", keys());
        }
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command and waits for its end.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        let Output { status, stdout, stderr } = self.command(arguments).output().expect("ended");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        Ran { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
    }

    /// Runs a command that must succeed, and returns its standard output.
    #[track_caller]
    pub fn good(&self, arguments: &[&str]) -> String {
        let ran = self.run(arguments);
        assert_eq!(ran.code, 0, "{arguments:?}\n{}{}", ran.out, ran.err);
        ran.out
    }

    /// Starts `serve`.
    #[track_caller]
    pub fn serve(&self) -> Server {
        self.serve_with(&[])
    }

    /// Starts `serve` with settings: `("LIMITS_MAX_BODY_BYTES", "1000")`.
    #[track_caller]
    pub fn serve_with(&self, settings: &[(&str, &str)]) -> Server {
        let mut command = self.command(&["serve", "--listen", "127.0.0.1:0"]);
        command.envs(settings.iter().map(|(name, value)| (format!("TENANCY_{name}"), value)));
        self.start(command)
    }

    /// Starts `dev`, which creates its own key.
    #[track_caller]
    pub fn dev(&self, arguments: &[&str]) -> Server {
        // `dev` uses the keys beside its data directory only: they must be those that the database was made with.
        let own = self.path(".tenancy-keys");
        if !own.exists() && keys().exists() {
            std::os::unix::fs::symlink(keys(), &own).expect("linked");
        }
        let mut command = self.command(&["dev", "--listen", "127.0.0.1:0"]);
        if let Some(database) = &self.database {
            command.args(["--database", database]);
        }
        command.args(arguments);
        let mut server = self.start(command);
        let client = std::fs::read_to_string(self.path(".tenancy/client.toml")).expect("client.toml");
        let key = client.lines().find_map(|line| line.strip_prefix("key = ")).expect("a key");
        server.set_token(key.trim_matches('"'));
        server
    }

    /// Starts a command that prints its address.
    #[track_caller]
    pub fn start(&self, command: Command) -> Server {
        let number = self.started.fetch_add(1, Ordering::Relaxed);
        Server::start(command, &self.path(&format!("server-{number}")), &self.token)
    }
}

/// A cluster of the test's own. The tests kill processes only, so the kernel keeps what was written. Commits are
/// therefore written but not synced to disk.
pub fn cluster() -> Postgres {
    Postgres::start_with(Settings::default().fsync_off().parameter("synchronous_commit", "on"))
}

/// Keys for private data, shared by the servers of all tests. The keys of a `dev` server are in its home directory.
fn keys() -> PathBuf {
    PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("keys")
}

/// The cluster shared by all tests that do not stop it.
pub fn shared() -> &'static Postgres {
    static SHARED: OnceLock<Postgres> = OnceLock::new();
    SHARED.get_or_init(cluster)
}

/// Template database with all migrations, and the token of its key. It is copied for each test.
fn original() -> &'static (Database, String) {
    static ORIGINAL: OnceLock<(Database, String)> = OnceLock::new();
    ORIGINAL.get_or_init(|| {
        let database = shared().database("original");
        let place = Place::on(&database);
        (database, place.token)
    })
}
