//! Address and options of the server, from a `postgres://` URL. The URL may contain libpq parameters that the driver
//! does not know, and our own.

use super::password;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr as _;
use std::time::Duration;
use tenancy_core::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Maximum run time of a statement, in seconds.
pub const STATEMENT_TIMEOUT_SECONDS: u64 = 10;
/// Maximum time that a statement waits for a lock, in seconds.
pub const LOCK_TIMEOUT_SECONDS: u64 = 2;
/// Maximum time that a batch waits for a row, in milliseconds. After it, the committer finds out who holds the row.
pub const ROW_TIMEOUT_MILLIS: u64 = 100;
/// Maximum time that a transaction may be idle, in seconds.
pub const IDLE_IN_TRANSACTION_TIMEOUT_SECONDS: u64 = 5;
/// Maximum time to connect.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// Server and how to connect to it.
#[derive(Clone)]
pub struct Target {
    /// Configuration of the driver.
    pub config: Config,
    /// TLS connector; `None` for a plain connection.
    pub tls: Option<MakeRustlsConnect>,
    /// Whether a pooler in transaction mode is in front of the server. Then statements have no names, and start-up
    /// options are not sent.
    pub pooled: bool,
    /// URL to LISTEN on. `None`: the same server, or no LISTEN behind a pooler.
    pub listen: Option<String>,
}

impl Target {
    /// Parses a URL. Our parameters: `pooler=transaction`, `listen=URL` (percent-encoded). libpq parameters:
    /// `sslmode=disable|verify-full`, `sslrootcert=FILE`, `passfile=FILE`. A password that is not in the URL comes from
    /// `PGPASSWORD` or a password file. For a host other than this machine, `sslmode` defaults to
    /// `verify-full`.
    ///
    /// # Errors
    /// [`Error::NotNow`] with a sentence that says what is wrong, never with the password.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut rest, mut pooled, mut listen, mut mode, mut roots, mut passwords) =
            (Vec::new(), false, None, None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name, value) {
                ("pooler", "transaction") => pooled = true,
                ("pooler", other) => {
                    return refused(format!("pooler={other} is not supported: use pooler=transaction or omit it"));
                }
                ("listen", url) => listen = Some(decoded(url)),
                ("sslmode", word) => mode = Some(word.to_owned()),
                ("sslrootcert", file) => roots = Some(decoded(file)),
                ("passfile", file) => passwords = Some(PathBuf::from(decoded(file))),
                ("pgbouncer", _) => {
                    return refused("the parameter pgbouncer is not supported: use pooler=transaction".to_owned());
                }
                _ => rest.push(pair),
            }
        }
        let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config = Config::from_str(&plain).or_else(|error| {
            let names: Vec<_> = rest.iter().map(|pair| pair.split('=').next().unwrap_or_default()).collect();
            let hint = match names.as_slice() {
                [] => String::new(),
                names => format!(" (check its parameters: {})", names.join(", ")),
            };
            refused(format!("the database URL is invalid: {error}{hint}"))
        })?;
        if config.get_password().is_none()
            && let Some(password) = password::find(&config, passwords.as_deref())
        {
            config.password(password);
        }
        let tls = match mode.as_deref() {
            Some("disable") => None,
            None if config.get_hosts().iter().all(is_here)
                && config.get_hostaddrs().iter().all(IpAddr::is_loopback) =>
            {
                None
            }
            None | Some("verify-full") => Some(verified(roots.as_deref())?),
            Some(other) => {
                return refused(format!(
                    "sslmode={other} does not verify the server and is not supported: use disable or verify-full"
                ));
            }
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT_TIMEOUT);
        // Only these detect a half-open socket.
        config.keepalives_idle(Duration::from_secs(10)).keepalives_interval(Duration::from_secs(3));
        config.keepalives_retries(3).tcp_user_timeout(Duration::from_secs(15));
        if config.get_application_name().is_none() {
            config.application_name("tenancy");
        }
        Ok(Self { config, tls, pooled, listen })
    }

    /// Returns the driver configuration for a session with these settings. Behind a pooler, start-up options do not
    /// reach the server.
    pub fn with(&self, settings: &[(&str, String)]) -> Config {
        let mut config = self.config.clone();
        if !self.pooled {
            let given = config.get_options().map(|given| format!("{given} ")).unwrap_or_default();
            let ours: Vec<_> = settings.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
            config.options(format!("{given}{}", ours.join(" ")));
        }
        config
    }

    /// Limits of a connection that commits and reads by key, where every access uses an index. They prevent that a plan
    /// from when the tables were small scans them when they are large.
    pub fn keyed_settings() -> [(&'static str, String); 6] {
        [
            ("statement_timeout", format!("{STATEMENT_TIMEOUT_SECONDS}s")),
            ("lock_timeout", format!("{LOCK_TIMEOUT_SECONDS}s")),
            ("idle_in_transaction_session_timeout", format!("{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s")),
            ("enable_seqscan", "off".to_owned()),
            // Otherwise the server plans again for each array while that looks cheaper than a generic plan. It never
            // is.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            // An unavoidable scan gets such a high cost that each run would be JIT-compiled first.
            ("jit", "off".to_owned()),
        ]
    }

    /// As [`Self::keyed_settings`], of a connection that commits: a batch waits only for moments for a row.
    pub fn committing_settings() -> [(&'static str, String); 6] {
        Self::keyed_settings().map(|(name, value)| match name {
            "lock_timeout" => (name, format!("{ROW_TIMEOUT_MILLIS}ms")),
            _ => (name, value),
        })
    }

    /// Limits of a connection for lists, upkeep or LISTEN.
    pub fn shared_settings() -> [(&'static str, String); 4] {
        [
            ("statement_timeout", format!("{STATEMENT_TIMEOUT_SECONDS}s")),
            ("lock_timeout", format!("{LOCK_TIMEOUT_SECONDS}s")),
            ("idle_in_transaction_session_timeout", format!("{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s")),
            ("jit", "off".to_owned()),
        ]
    }
}

fn refused<T>(message: String) -> Result<T, Error> {
    Err(Error::NotNow(message))
}

/// Whether a host is this machine. A plain connection to it does not leave the machine.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// Creates a connector that verifies the server's certificate and its name.
fn verified(roots: Option<&str>) -> Result<MakeRustlsConnect, Error> {
    let mut store = rustls::RootCertStore::empty();
    match roots.filter(|file| *file != "system") {
        Some(file) => {
            let certificates = CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .or_else(|error| refused(format!("sslrootcert {file} cannot be read: {error}")))?;
            store.add_parsable_certificates(certificates);
        }
        None => {
            store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    if store.is_empty() {
        return refused(
            "this machine has no root certificates to verify the server with: set sslrootcert=FILE in the database URL"
                .to_owned(),
        );
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Decodes percent-encoding (RFC 3986, 2.1). An invalid code is kept unchanged.
fn decoded(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (Vec::with_capacity(bytes.len()), 0);
    while at < bytes.len() {
        let code = (bytes[at] == b'%').then(|| text.get(at + 1..at + 3)).flatten();
        match code.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                out.push(byte);
                at += 3;
            }
            None => {
                out.push(bytes[at]);
                at += 1;
            }
        }
    }
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_refuse_a_connection_that_would_not_verify_its_server() {
        for mode in ["require", "prefer", "allow", "verify-ca"] {
            assert!(Target::parse(&format!("postgres://u@db.example.com/t?sslmode={mode}")).is_err(), "{mode}");
        }
    }

    #[test]
    fn must_understand_our_words_and_pass_the_others_on() {
        let url = "postgres://u:p@localhost:1,127.0.0.1:2/t?pooler=transaction&target_session_attrs=read-write\
                   &listen=postgres%3A%2F%2Flocalhost%2Ft";
        let target = Target::parse(url).expect("good");
        assert!(target.pooled && target.tls.is_none());
        assert_eq!(target.listen.as_deref(), Some("postgres://localhost/t"));
        assert_eq!(target.config.get_hosts().len(), 2);
        assert_ne!(target.config.get_target_session_attrs(), tokio_postgres::config::TargetSessionAttrs::Any);
        let Err(error) = Target::parse("postgres://u:secret@localhost:x/t") else { panic!("bad port") };
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
