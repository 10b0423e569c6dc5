//! Where the server is and how it is spoken to: what a `postgres://` URL says, libpq's words among it that the driver
//! does not know, and ours.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use std::str::FromStr as _;
use std::time::Duration;
use tenancy_core::Error;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Longest that a statement of ours may run.
pub const STATEMENT_TIMEOUT_SECONDS: u64 = 10;
/// Longest that a statement of ours waits for a lock.
pub const LOCK_TIMEOUT_SECONDS: u64 = 2;
/// Longest that a transaction of ours stays without a word.
pub const IDLE_IN_TRANSACTION_TIMEOUT_SECONDS: u64 = 5;
/// Longest that connecting takes.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// A server, and how it is spoken to.
#[derive(Clone)]
pub struct Target {
    /// For the driver.
    pub config: Config,
    /// For a TLS connection; `None` for a plain one.
    pub tls: Option<MakeRustlsConnect>,
    /// Behind a pooler in transaction mode: statements have no names, and start-up options are not sent.
    pub pooled: bool,
    /// Where to LISTEN; `None`: here, or nowhere behind a pooler.
    pub listen: Option<String>,
}

impl Target {
    /// Reads a URL. Ours: `pooler=transaction`, `listen=URL` (percent-encoded). libpq's: `sslmode=disable|verify-full`,
    /// `sslrootcert=FILE`. A host that is not this machine is `verify-full` unless the URL says otherwise.
    ///
    /// # Errors
    /// [`Error::NotNow`] with a sentence that says what is wrong; never with the password.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut rest, mut pooled, mut listen, mut mode, mut roots) = (Vec::new(), false, None, None, None);
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (name, value) {
                ("pooler", "transaction") => pooled = true,
                ("pooler", other) => return refused(format!("pooler is transaction, or left out, not {other:?}")),
                ("listen", url) => listen = Some(decoded(url)),
                ("sslmode", word) => mode = Some(word.to_owned()),
                ("sslrootcert", file) => roots = Some(decoded(file)),
                _ => rest.push(pair),
            }
        }
        let plain = if rest.is_empty() { base.to_owned() } else { format!("{base}?{}", rest.join("&")) };
        let mut config =
            Config::from_str(&plain).or_else(|error| refused(format!("the database URL cannot be read: {error}")))?;
        let tls = match mode.as_deref() {
            Some("disable") => None,
            None if config.get_hosts().iter().all(is_here) => None,
            None | Some("verify-full") => Some(verified(roots.as_deref())?),
            Some(other) => {
                return refused(format!(
                    "sslmode is disable or verify-full, not {other:?}: a connection that does not verify its server \
                     protects nothing"
                ));
            }
        };
        config.ssl_mode(if tls.is_some() { SslMode::Require } else { SslMode::Disable });
        config.connect_timeout(CONNECT_TIMEOUT);
        // A half-dead socket is noticed by these, and by nothing else.
        config.keepalives_idle(Duration::from_secs(10)).keepalives_interval(Duration::from_secs(3));
        config.keepalives_retries(3).tcp_user_timeout(Duration::from_secs(15));
        if config.get_application_name().is_none() {
            config.application_name("tenancy");
        }
        Ok(Self { config, tls, pooled, listen })
    }

    /// What to connect with so that a session has these settings; behind a pooler no start-up option reaches the server.
    pub fn with(&self, settings: &[(&str, String)]) -> Config {
        let mut config = self.config.clone();
        if !self.pooled {
            let given = config.get_options().map(|given| format!("{given} ")).unwrap_or_default();
            let ours: Vec<_> = settings.iter().map(|(name, value)| format!("-c {name}={value}")).collect();
            config.options(format!("{given}{}", ours.join(" ")));
        }
        config
    }

    /// The limits of a connection that commits and reads by key, where every access is by an index: a plan that was
    /// made while the tables were small must not scan them when they are large.
    pub fn keyed_settings() -> [(&'static str, String); 6] {
        [
            ("statement_timeout", format!("{STATEMENT_TIMEOUT_SECONDS}s")),
            ("lock_timeout", format!("{LOCK_TIMEOUT_SECONDS}s")),
            ("idle_in_transaction_session_timeout", format!("{IDLE_IN_TRANSACTION_TIMEOUT_SECONDS}s")),
            ("enable_seqscan", "off".to_owned()),
            // The server would plan anew for each array, as long as that looks cheaper than a plan for any; it never is.
            ("plan_cache_mode", "force_generic_plan".to_owned()),
            // A scan that cannot be avoided counts as so dear that every run of it would be compiled first.
            ("jit", "off".to_owned()),
        ]
    }

    /// The limits of a connection that lists, keeps up, or listens.
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

/// Whether a host is this machine: then a plain connection is as private as the machine is.
fn is_here(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name == "localhost" || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

/// A connector that verifies the server's certificate and its name.
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
        return refused("there are no root certificates to verify the server by: give sslrootcert=FILE".to_owned());
    }
    let config = rustls::ClientConfig::builder().with_root_certificates(store).with_no_client_auth();
    Ok(MakeRustlsConnect::new(config))
}

/// Percent-decoding of a URL's value (RFC 3986, 2.1); what is no code stays as it is.
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
