//! The server's configuration. Flags override environment variables, which override one TOML file, which overrides the
//! defaults.

mod addresses;
mod environment;
mod keys;
mod placements;
mod ranges;
mod webhooks;

pub use environment::variables;
pub use keys::KeySettings;
pub use webhooks::Webhooks;

use crate::connections::limits::ConnectionLimits;
use crate::feed::EventLimits;
use crate::key_limits::KeyLimits;
use crate::network::Network;
use crate::provisioner::{PlacementSettings, ProvisionerKind};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use tenancy_core::declared::Declared;
use tenancy_store::database::Database;

/// The default configuration with comments, which is the manual. A test checks that it equals the built-in defaults.
pub const DEFAULT_TOML: &str = include_str!("../default.toml");

/// Reason why the configuration is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadConfig(pub String);

/// Configuration of a server process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Directory of the embedded database.
    pub data_dir: PathBuf,
    /// `sqlite:PATH` or `postgres://…`. If empty, SQLite in the data directory.
    pub database: String,
    /// File that contains the value of `database`. Empty: none.
    pub database_file: PathBuf,
    /// Address and port on which `/metrics` is served instead. If empty, `/metrics` is served on `listen`.
    pub metrics_listen: String,
    /// File with the TLS certificate and intermediate certificates, in PEM. If empty, the server does not use TLS.
    pub tls_cert: PathBuf,
    /// File with the private key of `tls_cert`, in PEM.
    pub tls_key: PathBuf,
    /// Whether a reverse proxy in front of the server terminates TLS.
    pub behind_tls_proxy: bool,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<Network>,
    /// Limits, each with its unit in its name.
    pub limits: Limits,
    /// Limits on the requests of each API key.
    pub key_limits: KeyLimits,
    /// The keys that encrypt private data.
    pub keys: KeySettings,
    /// Limits of the event feed.
    pub events: EventLimits,
    /// How this process runs jobs.
    pub jobs: Jobs,
    /// How this process reaches placements, by their names.
    pub placements: BTreeMap<String, PlacementSettings>,
    /// How this process delivers events to webhooks.
    pub webhooks: Webhooks,
    /// Names that manifests may use.
    pub declared: Declared,
}

/// Limits on requests, connections and the response cache.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Maximum size of a request body, in bytes.
    pub max_body_bytes: usize,
    /// Maximum size of the body of `/v1/apply`, a file of manifests, in bytes.
    pub max_apply_bytes: usize,
    /// Maximum size of the request line and all headers together, in bytes.
    pub max_header_bytes: usize,
    /// Maximum number of headers of a request.
    pub max_headers: usize,
    /// Maximum number of open connections.
    pub max_connections: usize,
    /// Maximum size of the response cache, in bytes.
    pub max_response_cache_bytes: u64,
    /// Maximum time for request headers, and for an idle connection, in seconds.
    pub header_read_timeout_seconds: u64,
    /// Maximum time for a request body, in seconds.
    pub body_read_timeout_seconds: u64,
    /// Maximum time that a shutdown waits for requests and job steps in progress, in seconds.
    pub drain_timeout_seconds: u64,
    /// Limits on connections.
    pub connections: ConnectionLimits,
}

/// How this process runs jobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Jobs {
    /// Whether this process runs jobs.
    pub enabled: bool,
    /// Provisioner that does the steps of jobs.
    pub provisioner: ProvisionerKind,
    /// Maximum number of jobs that this process runs at once.
    pub max_running: usize,
    /// Duration of a lease without a heartbeat, in seconds.
    pub lease_seconds: u64,
    /// Interval of heartbeats, in seconds.
    pub heartbeat_seconds: u64,
    /// Interval at which the process looks for due jobs, in milliseconds.
    pub poll_milliseconds: u64,
    /// Maximum age of a job that waits, in hours since its request. After that, the job fails.
    pub give_up_hours: u32,
    /// Interval at which expired holds and records are removed, in seconds.
    pub expiry_seconds: u64,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 7300)),
            data_dir: PathBuf::from("./.tenancy"),
            database: String::new(),
            database_file: PathBuf::new(),
            metrics_listen: String::new(),
            tls_cert: PathBuf::new(),
            tls_key: PathBuf::new(),
            behind_tls_proxy: false,
            trusted_proxies: Vec::new(),
            limits: Limits::default(),
            key_limits: KeyLimits::default(),
            keys: KeySettings::default(),
            events: EventLimits::default(),
            jobs: Jobs::default(),
            placements: BTreeMap::new(),
            webhooks: Webhooks::default(),
            declared: Declared::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            max_body_bytes: 1024 * 1024,
            max_apply_bytes: 32 * 1024 * 1024,
            max_header_bytes: 32 * 1024,
            max_headers: 100,
            max_connections: 4096,
            max_response_cache_bytes: 64 * 1024 * 1024,
            header_read_timeout_seconds: 30,
            body_read_timeout_seconds: 20,
            drain_timeout_seconds: 20,
            connections: ConnectionLimits::default(),
        }
    }
}

impl Limits {
    /// Returns the limits for the body of `/v1/apply`, a file of manifests, which is judged as a whole.
    #[must_use]
    pub fn of_a_file(&self) -> Self {
        Self { max_body_bytes: self.max_apply_bytes, ..self.clone() }
    }
}

impl Default for Jobs {
    fn default() -> Self {
        Self {
            enabled: true,
            provisioner: ProvisionerKind::default(),
            max_running: 8,
            lease_seconds: 10,
            heartbeat_seconds: 3,
            poll_milliseconds: 1000,
            give_up_hours: 72,
            expiry_seconds: 10,
        }
    }
}

/// Values of command-line flags, which override all other sources.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Flags {
    /// `--listen`
    pub listen: Option<SocketAddr>,
    /// `--data-dir`
    pub data_dir: Option<PathBuf>,
    /// `--database`
    pub database: Option<String>,
    /// `--keys-dir`
    pub keys_dir: Option<PathBuf>,
    /// `--tls-cert`
    pub tls_cert: Option<PathBuf>,
    /// `--tls-key`
    pub tls_key: Option<PathBuf>,
    /// `--behind-tls-proxy`
    pub behind_tls_proxy: bool,
}

/// Maximum of a size or number in the limits.
const MOST: u64 = 1 << 30;
/// Maximum number of headers that the HTTP library can count.
const MOST_HEADERS: u64 = 4096;
/// Maximum of a duration: one year, in seconds.
const MOST_SECONDS: u64 = 365 * 24 * 3600;

impl Config {
    /// Reads the file, if one is named, then the environment of the process, then the flags.
    ///
    /// # Errors
    /// A sentence that names the file or variable and says what is wrong.
    pub fn load(file: Option<&Path>, flags: Flags) -> Result<Self, BadConfig> {
        let text = match file {
            None => String::new(),
            Some(path) => std::fs::read_to_string(path)
                .map_err(|error| BadConfig(format!("cannot read {}: {error}", path.display())))?,
        };
        let name = file.map_or_else(|| "the configuration".to_owned(), |path| path.display().to_string());
        Self::from_sources(&name, &text, |name| std::env::var(name).ok(), flags)
    }

    /// Like [`Config::load`], with the text of the file and the environment as arguments.
    ///
    /// # Errors
    /// The same as [`Config::load`].
    pub fn from_sources(
        name: &str,
        text: &str,
        env: impl Fn(&str) -> Option<String>,
        flags: Flags,
    ) -> Result<Self, BadConfig> {
        let refused = |error: toml::de::Error| BadConfig(format!("{name}: {error}"));
        // An error of the text itself has the line; a table no longer knows it.
        toml::from_str::<Self>(text).map_err(refused)?;
        let mut table: toml::Table = toml::from_str(text).map_err(refused)?;
        let known = toml::Table::try_from(Self::default()).map_err(|error| BadConfig(error.to_string()))?;
        for setting in environment::settings(&known, &env)? {
            setting.check()?;
            setting.set(&mut table);
        }
        let mut config: Self = table.try_into().map_err(refused)?;
        config.listen = flags.listen.unwrap_or(config.listen);
        config.data_dir = flags.data_dir.unwrap_or(config.data_dir);
        if let Some(database) = flags.database {
            config.database = database;
            config.database_file = PathBuf::new();
        }
        if let Some(directory) = flags.keys_dir {
            config.keys.directory = directory;
            config.keys.program = Vec::new();
        }
        config.tls_cert = flags.tls_cert.unwrap_or(config.tls_cert);
        config.tls_key = flags.tls_key.unwrap_or(config.tls_key);
        config.behind_tls_proxy |= flags.behind_tls_proxy;
        config.check()?;
        Ok(config)
    }

    /// Checks rules that concern several values.
    fn check(&self) -> Result<(), BadConfig> {
        let refuse = |sentence: String| Err(BadConfig(sentence));
        let has_tls = self.tls()?.is_some();
        self.metrics_address()?;
        if !self.listen.ip().is_loopback() && !has_tls && !self.behind_tls_proxy {
            return refuse(format!(
                "{} is not a loopback address, and would be served without TLS: set --tls-cert and --tls-key, or put a \
                 proxy that terminates TLS in front of the server and set --behind-tls-proxy, or listen on 127.0.0.1",
                self.listen
            ));
        }
        if !self.database.is_empty() && !self.database_file.as_os_str().is_empty() {
            return refuse("set only one of database and database_file".to_owned());
        }
        self.check_keys()?;
        self.check_placements()?;
        if self.jobs.heartbeat_seconds == 0 || self.jobs.lease_seconds / 2 < self.jobs.heartbeat_seconds {
            return refuse(
                "jobs.lease_seconds must be at least twice jobs.heartbeat_seconds, which must not be 0".to_owned(),
            );
        }
        if self.webhooks.lease_seconds / 2 < self.webhooks.heartbeat_seconds {
            return refuse("webhooks.lease_seconds must be at least twice webhooks.heartbeat_seconds".to_owned());
        }
        let problems = self.declared.problems();
        if !problems.is_empty() {
            return refuse(format!("declared: {}", problems.join("; ")));
        }
        let beyond = self.out_of_range();
        if beyond.is_empty() { Ok(()) } else { refuse(beyond.join("; ")) }
    }

    /// Returns the location of the database.
    ///
    /// # Errors
    /// A sentence that says what is wrong with `database`.
    pub fn database(&self) -> Result<Database, BadConfig> {
        if !self.database_file.as_os_str().is_empty() {
            let file = self.database_file.display();
            let text = std::fs::read_to_string(&self.database_file)
                .map_err(|error| BadConfig(format!("the database_file {file} cannot be read: {error}")))?;
            return Database::parse(&text).map_err(|error| BadConfig(format!("the database_file {file}: {error}")));
        }
        match self.database.as_str() {
            "" => Ok(Database::Sqlite(self.data_dir.join("tenancy.db"))),
            text => Database::parse(text).map_err(BadConfig),
        }
    }

    /// Creates the data directory, accessible to its owner only.
    ///
    /// # Errors
    /// A sentence that names the directory.
    pub fn make_data_dir(&self) -> Result<(), BadConfig> {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        let failed = |error: std::io::Error| BadConfig(format!("cannot create {}: {error}", self.data_dir.display()));
        builder.create(&self.data_dir).map_err(failed)?;
        // Prevents a commit of the directory's contents to Git.
        let ignore = self.data_dir.join(".gitignore");
        if ignore.exists() {
            return Ok(());
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(ignore).and_then(|mut file| file.write_all(b"*\n")).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Config, BadConfig> {
        Config::from_sources("test.toml", text, |_| None, Flags::default())
    }

    /// Returns the keys of `known` that `manual` lacks, in all tables, with their paths.
    fn unsaid(path: &str, known: &toml::Table, manual: &toml::Table) -> Vec<String> {
        let look = |(key, value): (&String, &toml::Value)| match (value, manual.get(key)) {
            // An option that a declared name does not have can be omitted.
            (toml::Value::Boolean(false), None) if path.starts_with("declared.") => Vec::new(),
            (_, None) => vec![format!("{path}{key}")],
            (toml::Value::Table(known), Some(toml::Value::Table(manual))) => {
                unsaid(&format!("{path}{key}."), known, manual)
            }
            _ => Vec::new(),
        };
        known.iter().flat_map(look).collect()
    }

    #[test]
    fn must_have_a_manual_that_says_what_is_built_in() {
        assert_eq!(read(DEFAULT_TOML), Ok(Config::default()));
        let known = toml::Table::try_from(Config::default()).expect("a table");
        let manual: toml::Table = DEFAULT_TOML.parse().expect("good");
        assert_eq!(unsaid("", &known, &manual), [""; 0]);
        for (table, key) in [("jobs", "give_up_hours"), ("limits", "max_headers"), ("declared", "environments")] {
            let mut manual = manual.clone();
            manual[table].as_table_mut().expect("a table").remove(key);
            assert_eq!(unsaid("", &known, &manual), [format!("{table}.{key}")]);
        }
    }

    #[test]
    fn must_refuse_an_unknown_key_and_say_where() {
        for text in ["lisen = 'x'", "[limits]\nmax_body_byte = 1", "[declared]\nregion = 1"] {
            let refused = read(text).expect_err(text).to_string();
            assert!(refused.contains("test.toml") && refused.contains("unknown field"), "{refused}");
            assert!(refused.contains(&format!("line {}", text.lines().count())), "{refused}");
        }
    }

    #[test]
    fn must_name_the_variable_whose_value_is_refused() {
        for (variable, value) in [
            ("TENANCY_LISTEN", ""),
            ("TENANCY_LISTEN", "localhost:7300"),
            ("TENANCY_LIMITS_MAX_BODY_BYTES", "many"),
            ("TENANCY_LIMITS_MAX_HEADERS", "-1"),
            ("TENANCY_JOBS_PROVISIONER", "kubernetes"),
        ] {
            let env = |name: &str| (name == variable).then(|| value.to_owned());
            let refused = Config::from_sources("test.toml", "", env, Flags::default()).expect_err(value).to_string();
            assert!(refused.contains(variable) && refused.contains(&format!("{value:?}")), "{refused}");
        }
        assert!(variables().contains(&"TENANCY_JOBS_LEASE_SECONDS".to_owned()));
    }

    #[test]
    fn must_refuse_every_number_that_is_out_of_range_by_name() {
        let text = "[limits]\nmax_connections = 0\nheader_read_timeout_seconds = 9223372036854775807\n\
             [jobs]\nmax_running = 9223372036854775807\npoll_milliseconds = 0";
        let refused = read(text).expect_err("four are wrong").to_string();
        for name in [
            "limits.max_connections must be from 1 to 1073741824, not 0",
            "limits.header_read_timeout_seconds must be from 0 to 31536000",
            "jobs.max_running",
            "jobs.poll_milliseconds",
        ] {
            assert!(refused.contains(name), "{refused}");
        }
        for most in ["[limits]\nmax_connections = 1073741824\nmax_headers = 4096", "[jobs]\nlease_seconds = 31536000"] {
            assert!(read(most).is_ok(), "{most}");
        }
    }

    #[test]
    fn must_refuse_a_provisioner_that_there_is_not_and_say_which_there_are() {
        assert_eq!(read("[jobs]\nprovisioner = 'record'"), Ok(Config::default()));
        let refused = read("[jobs]\nprovisioner = 'kubernetes'").expect_err("there is none").to_string();
        assert!(refused.contains("kubernetes") && refused.contains("`record`"), "{refused}");
    }

    #[test]
    fn must_let_flags_win_over_environment_over_file() {
        let env = |name: &str| match name {
            "TENANCY_LISTEN" => Some("127.0.0.1:2".to_owned()),
            "TENANCY_LIMITS_MAX_BODY_BYTES" => Some("77".to_owned()),
            "TENANCY_JOBS_ENABLED" => Some("false".to_owned()),
            "TENANCY_TRUSTED_PROXIES" => Some("10.0.0.0/8, ::1".to_owned()),
            _ => None,
        };
        let text = "listen = '127.0.0.1:1'\ndatabase = 'sqlite:file'\n[limits]\nmax_headers = 7";
        let config = Config::from_sources("test.toml", text, env, Flags::default()).expect("good");
        assert_eq!(config.listen.port(), 2);
        assert_eq!((config.limits.max_body_bytes, config.limits.max_headers), (77, 7));
        assert_eq!((config.jobs.enabled, config.database.as_str()), (false, "sqlite:file"));
        assert_eq!(
            config.trusted_proxies.iter().map(ToString::to_string).collect::<Vec<_>>(),
            ["10.0.0.0/8", "::1/128"]
        );
        let flags = Flags { listen: Some(SocketAddr::from(([127, 0, 0, 1], 3))), ..Flags::default() };
        assert_eq!(Config::from_sources("test.toml", text, env, flags).expect("good").listen.port(), 3);
        let bad = |_: &str| Some("many".to_owned());
        assert!(Config::from_sources("", "", bad, Flags::default()).is_err());
    }

    #[test]
    fn must_read_the_database_url_from_a_file() {
        let place = tempfile::tempdir().expect("a directory");
        let file = place.path().join("url");
        std::fs::write(&file, "postgres://u:zz-secret@h/d\n").expect("written");
        let text = format!("database_file = '{}'", file.display());
        let config = read(&text).expect("good");
        assert_eq!(config.database(), Ok(Database::Postgres("postgres://u:zz-secret@h/d".to_owned())));
        let flags = Flags { database: Some("sqlite:t.db".to_owned()), ..Flags::default() };
        let config = Config::from_sources("test.toml", &text, |_| None, flags).expect("the flag wins");
        assert_eq!(config.database(), Ok(Database::Sqlite("t.db".into())));
        assert!(read(&format!("{text}\ndatabase = 'sqlite:t.db'")).is_err());
        std::fs::write(&file, "mysql://u:zz-secret@h/d").expect("written");
        let refused = read(&text).expect("read later").database().expect_err("mysql").to_string();
        assert!(refused.contains("url") && refused.contains("mysql") && !refused.contains("zz-secret"), "{refused}");
        assert!(read("database_file = '/nowhere/url'").expect("read later").database().is_err());
    }

    #[test]
    fn must_not_serve_the_network_in_clear_text_unasked() {
        assert!(read("listen = '0.0.0.0:80'").is_err());
        assert!(read("listen = '0.0.0.0:80'\nbehind_tls_proxy = true").is_ok());
        assert!(read("listen = '[::1]:80'").is_ok());
        assert!(read("[jobs]\nlease_seconds = 4").is_err());
        assert!(read("[declared]\nenvironments = ['dev', 'dev']").is_err());
    }

    #[test]
    fn must_make_the_data_directory_for_its_owner_only() {
        let place = tempfile::tempdir().expect("a directory");
        let config = Config { data_dir: place.path().join("a/b"), ..Config::default() };
        config.make_data_dir().expect("made");
        config.make_data_dir().expect("made again");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            let mode = std::fs::metadata(&config.data_dir).expect("there").permissions().mode();
            assert_eq!(mode & 0o777, 0o700);
        }
    }
}
