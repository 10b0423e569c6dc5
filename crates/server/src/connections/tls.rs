//! TLS: the certificate and its key, read again when the files change.

use rustls::ServerConfig;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use sha2::{Digest as _, Sha256};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// Interval at which the files are read.
const INTERVAL: Duration = Duration::from_secs(1);

/// Files of a certificate chain and its private key, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The server's certificate, followed by intermediate certificates.
    pub cert: PathBuf,
    /// Private key of the certificate.
    pub key: PathBuf,
}

/// The certificate that new connections use.
#[derive(Debug)]
pub struct Certificate {
    files: TlsFiles,
    provider: Arc<CryptoProvider>,
    current: RwLock<Arc<CertifiedKey>>,
}

/// Contents of both files.
struct Contents {
    cert: Vec<u8>,
    key: Vec<u8>,
}

impl TlsFiles {
    fn read(&self) -> Result<Contents, String> {
        let read =
            |path: &Path| std::fs::read(path).map_err(|error| format!("cannot read {}: {error}", path.display()));
        Ok(Contents { cert: read(&self.cert)?, key: read(&self.key)? })
    }

    fn parse(&self, contents: &Contents, provider: &CryptoProvider) -> Result<CertifiedKey, String> {
        let (cert, key) = (self.cert.display(), self.key.display());
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&contents.cert)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("{cert} is not a certificate in PEM format: {error}"))?;
        if chain.is_empty() {
            return Err(format!("{cert} contains no certificate in PEM format"));
        }
        let private = PrivateKeyDer::from_pem_slice(&contents.key)
            .map_err(|error| format!("{key} contains no unencrypted private key in PEM format: {error}"))?;
        CertifiedKey::from_der(chain, private, provider)
            .map_err(|error| format!("{cert} and {key} are not a certificate and its private key: {error}"))
    }
}

impl Contents {
    fn digest(&self) -> [u8; 32] {
        Sha256::new().chain_update(Sha256::digest(&self.cert)).chain_update(&self.key).finalize().into()
    }
}

impl Certificate {
    /// Reads the files.
    ///
    /// # Errors
    /// A sentence that names the file and says what is wrong.
    pub fn read(files: TlsFiles) -> Result<Arc<Self>, String> {
        let provider = Arc::new(default_provider());
        let current = files.parse(&files.read()?, &provider)?;
        Ok(Arc::new(Self { files, provider, current: RwLock::new(Arc::new(current)) }))
    }

    /// Returns the acceptor of TLS connections.
    ///
    /// # Errors
    /// A sentence, if the cryptography library supports no version of TLS.
    pub fn acceptor(self: &Arc<Self>) -> Result<TlsAcceptor, String> {
        let mut config = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(self) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Arc::new(config).into())
    }

    /// Reads the files again until `stop` is cancelled, and uses what they contain for new connections. Files that
    /// cannot be used are reported once, and the former certificate stays in use: a program that renews a certificate
    /// may write the two files one after the other.
    pub async fn follow(self: Arc<Self>, stop: CancellationToken) {
        let mut known: Option<Result<[u8; 32], String>> = None;
        while stop.run_until_cancelled(tokio::time::sleep(INTERVAL)).await.is_some() {
            let this = Arc::clone(&self);
            // Files on a network may take long.
            let Ok(read) = tokio::task::spawn_blocking(move || this.files.read()).await else { continue };
            let digest = read.as_ref().map(Contents::digest).map_err(Clone::clone);
            if known.as_ref() == Some(&digest) {
                continue;
            }
            match read.and_then(|contents| self.files.parse(&contents, &self.provider)) {
                Ok(new) => self.replace(new),
                Err(error) => tracing::warn!("the TLS certificate is not replaced: {error}"),
            }
            known = Some(digest);
        }
    }

    fn replace(&self, new: CertifiedKey) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.cert != new.cert {
            tracing::info!("new connections use the new TLS certificate from {}", self.files.cert.display());
        }
        *current = Arc::new(new);
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner)))
    }
}
