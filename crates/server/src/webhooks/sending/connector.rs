//! Opens a connection to a receiver. Only addresses that were checked here are connected to.

use super::address::{Kind, refusal};
use super::fault::{self, Fault, seconds};
use super::resolver::Lookup;
use super::{Limits, Policy};
use axum::body::Body;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::error::Error;
use tokio::net::TcpStream;
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use url::{Host, Url};

/// Maximum number of addresses of a name that are tried.
const MAX_ADDRESSES: usize = 4;
/// Maximum size of the headers of an answer, in bytes.
const MAX_HEADER_BYTES: usize = 16 * 1024;
/// Maximum number of headers of an answer.
const MAX_HEADERS: usize = 100;

/// Opens connections.
pub(super) struct Connector {
    pub(super) policy: Policy,
    lookup: Arc<dyn Lookup>,
    tls: TlsConnector,
    has_roots: bool,
    limits: Limits,
}

/// An HTTP connection to a receiver. Closed when it is dropped.
pub(super) struct Connection {
    pub(super) sender: SendRequest<Body>,
    task: AbortHandle,
}

impl Drop for Connection {
    fn drop(&mut self) {
        // Otherwise the connection would live until the receiver has sent the rest of its answer.
        self.task.abort();
    }
}

/// What a connection attempt is doing, for the message if it takes too long.
enum Phase {
    Lookup,
    Tcp,
    Tls,
}

impl Connector {
    pub(super) fn new(
        policy: Policy,
        limits: Limits,
        lookup: Arc<dyn Lookup>,
        roots: Vec<CertificateDer<'static>>,
    ) -> Result<Self, Error> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        store.add_parsable_certificates(roots);
        let has_roots = !store.is_empty();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Error::Internal(format!("webhooks cannot use TLS: {error}")))?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self { policy, lookup, tls: TlsConnector::from(Arc::new(config)), has_roots, limits })
    }

    /// Opens a connection to the host of a URL that [`super::address::parse`] has accepted.
    pub(super) async fn connect(&self, url: &Url, is_platform: bool, deadline: Instant) -> Result<Connection, Fault> {
        let begun = Instant::now();
        let until = deadline.min(begun + self.limits.connect);
        let mut phase = Phase::Lookup;
        let connecting = self.open(url, is_platform, until, &mut phase);
        timeout_at(until, connecting).await.unwrap_or_else(|_| {
            let what = match phase {
                Phase::Lookup => "the host name was not resolved",
                Phase::Tcp => "no connection was established",
                Phase::Tls => "the TLS handshake was not completed",
            };
            Err(Fault::new(fault::CONNECT_TIMEOUT, format!("{what} within {}", seconds(until - begun))))
        })
    }

    async fn open(&self, url: &Url, is_platform: bool, until: Instant, phase: &mut Phase) -> Result<Connection, Fault> {
        let host = url.host().ok_or_else(|| Fault::new(fault::ADDRESS_REFUSED, "the URL names no host"))?;
        let addresses = self.checked_addresses(&host, is_platform).await?;
        *phase = Phase::Tcp;
        let port = url.port_or_known_default().unwrap_or(443);
        let stream = tcp(&addresses, port, until).await?;
        if url.scheme() == "http" {
            return handshake(stream).await;
        }
        *phase = Phase::Tls;
        let name = match &host {
            Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned()).ok(),
            Host::Ipv4(address) => Some(IpAddr::from(*address).into()),
            Host::Ipv6(address) => Some(IpAddr::from(*address).into()),
        };
        let name = name.ok_or_else(|| Fault::new(fault::TLS, "no certificate can contain this host name"))?;
        let stream = self.tls.connect(name, stream).await.map_err(|error| self.tls_fault(&error))?;
        handshake(stream).await
    }

    /// Returns the addresses of a host, if none of them is forbidden. Connecting to only the permitted ones would let
    /// whoever controls the name find out which of several addresses exist.
    async fn checked_addresses(&self, host: &Host<&str>, is_platform: bool) -> Result<Vec<IpAddr>, Fault> {
        let (addresses, is_named) = match host {
            Host::Ipv4(address) => (vec![IpAddr::from(*address)], false),
            Host::Ipv6(address) => (vec![IpAddr::from(*address)], false),
            Host::Domain(name) => {
                let found = self.lookup.lookup(name).await;
                let found =
                    found.map_err(|why| Fault::new(fault::DNS, format!("the host name has no address: {why}")))?;
                (found, true)
            }
        };
        if addresses.is_empty() {
            return Err(Fault::new(fault::DNS, "the host name has no address"));
        }
        match addresses.iter().find_map(|address| refusal(*address, is_platform, &self.policy)) {
            None => Ok(addresses),
            Some(kind) => Err(Fault::new(fault::ADDRESS_REFUSED, refused(kind, is_named))),
        }
    }

    fn tls_fault(&self, error: &std::io::Error) -> Fault {
        let hint = match self.has_roots {
            true => "",
            false => "; the server has no root certificates: install ca-certificates, or set SSL_CERT_FILE",
        };
        Fault::new(fault::TLS, format!("the TLS handshake failed: {error}{hint}"))
    }
}

fn refused(kind: Kind, is_named: bool) -> String {
    match is_named {
        true => "the host name has an address that is not public: webhooks are sent to public addresses".to_owned(),
        false => format!("the URL names a {} address: webhooks are sent to public addresses", kind.name()),
    }
}

/// Connects to the first address that answers. Each gets an equal part of the remaining time, so that one that does not
/// answer leaves time for the others.
async fn tcp(addresses: &[IpAddr], port: u16, until: Instant) -> Result<TcpStream, Fault> {
    let addresses = addresses.get(..MAX_ADDRESSES).unwrap_or(addresses);
    let mut failed = "no address answered".to_owned();
    let mut is_slow = false;
    for (tried, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - tried).unwrap_or(1);
        let part = until.saturating_duration_since(Instant::now()) / left;
        match timeout(part, TcpStream::connect(SocketAddr::new(*address, port))).await {
            Ok(Ok(stream)) => {
                // A message is one write; waiting for more would only delay it.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Ok(Err(error)) => failed = error.to_string(),
            Err(_) => is_slow = true,
        }
    }
    if is_slow {
        // The caller's own limit ends at the same time, and has the better message.
        tokio::time::sleep_until(until + Duration::from_millis(1)).await;
    }
    Err(Fault::new(fault::CONNECT, format!("the connection failed: {failed}")))
}

async fn handshake<S>(stream: S) -> Result<Connection, Fault>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
{
    let (sender, connection) = Builder::new()
        .max_buf_size(MAX_HEADER_BYTES)
        .max_headers(MAX_HEADERS)
        .handshake(TokioIo::new(stream))
        .await
        .map_err(|error| Fault::new(fault::CONNECT, format!("the connection failed: {error}")))?;
    // An error of the connection reaches the request that is on it.
    let task = tokio::spawn(async move { drop(connection.await) }).abort_handle();
    Ok(Connection { sender, task })
}
