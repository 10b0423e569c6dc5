//! Addresses that the server listens on, and the files of its TLS certificate.

use super::{BadConfig, Config};
use crate::connections::tls::TlsFiles;
use std::net::SocketAddr;

impl Config {
    /// Returns the files of the TLS certificate, if the server uses TLS.
    ///
    /// # Errors
    /// A sentence, if only one file is set.
    pub fn tls(&self) -> Result<Option<TlsFiles>, BadConfig> {
        let (cert, key) = (self.tls_cert.clone(), self.tls_key.clone());
        match (cert.as_os_str().is_empty(), key.as_os_str().is_empty()) {
            (true, true) => Ok(None),
            (false, false) => Ok(Some(TlsFiles { cert, key })),
            _ => Err(BadConfig("tls_cert and tls_key belong together: set both or neither".to_owned())),
        }
    }

    /// Returns the address on which `/metrics` is served, if it has its own.
    ///
    /// # Errors
    /// A sentence, if it is not an address with a port.
    pub fn metrics_address(&self) -> Result<Option<SocketAddr>, BadConfig> {
        let text = self.metrics_listen.as_str();
        let bad = |_| BadConfig(format!("metrics_listen must be an address such as 127.0.0.1:7301, not {text:?}"));
        if text.is_empty() { Ok(None) } else { text.parse().map(Some).map_err(bad) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Flags;
    use super::*;

    fn read(text: &str) -> Result<Config, BadConfig> {
        Config::from_sources("test.toml", text, |_| None, Flags::default())
    }

    #[test]
    fn must_serve_the_network_with_a_certificate_and_its_key() {
        assert!(read("listen = '0.0.0.0:80'\ntls_cert = 'cert.pem'\ntls_key = 'key.pem'").is_ok());
        assert!(read("tls_cert = 'cert.pem'").is_err() && read("tls_key = 'key.pem'").is_err());
    }

    #[test]
    fn must_refuse_what_is_no_address() {
        assert!(read("metrics_listen = '7301'").is_err() && read("metrics_listen = '0.0.0.0:7301'").is_ok());
        let refused = read("trusted_proxies = ['proxy']").expect_err("no address").to_string();
        assert!(refused.contains("proxy") && refused.contains("10.0.0.0/8"), "{refused}");
    }
}
