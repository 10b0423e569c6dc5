//! TLS: the certificate of the server, also after its files have changed.

use crate::connections::Served;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// Writes a new certificate with its key, and returns it.
fn renew(directory: &Path) -> CertificateDer<'static> {
    let CertifiedKey { cert, signing_key } = generate_simple_self_signed(["localhost".to_owned()]).expect("made");
    std::fs::write(directory.join("cert.pem"), cert.pem()).expect("written");
    std::fs::write(directory.join("key.pem"), signing_key.serialize_pem()).expect("written");
    cert.der().clone()
}

async fn connect(served: &Served, trusted: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.clone()).expect("a certificate");
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    TlsConnector::from(Arc::new(config)).connect(name, served.connect().await).await
}

async fn is_answered(stream: &mut TlsStream<TcpStream>) -> bool {
    stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\n").await.expect("sent");
    let mut start = [0; 512];
    let read = stream.read(&mut start).await.expect("read");
    start[..read].starts_with(b"HTTP/1.1 200")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_serve_tls_and_use_a_new_certificate_for_new_connections() {
    let directory = tempfile::tempdir().expect("a directory");
    let first = renew(directory.path());
    let served = Served::with(|config| {
        config.tls_cert = directory.path().join("cert.pem");
        config.tls_key = directory.path().join("key.pem");
        config.limits.header_read_timeout_seconds = 1;
    })
    .await;
    let mut early = connect(&served, &first).await.expect("trusted");
    assert!(is_answered(&mut early).await);
    // A request without TLS, and a handshake that does not come, hold nothing.
    for bytes in [&b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n"[..], b""] {
        let mut stream = served.connect().await;
        stream.write_all(bytes).await.expect("sent");
        let mut answer = Vec::new();
        let ended = tokio::time::timeout(Duration::from_secs(5), stream.read_to_end(&mut answer)).await;
        ended.expect("closed in time").ok();
        assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
    }
    // A key that does not belong to the certificate is not used.
    let other = tempfile::tempdir().expect("a directory");
    renew(other.path());
    std::fs::copy(other.path().join("key.pem"), directory.path().join("key.pem")).expect("copied");
    // Longer than the interval at which the server reads the files.
    tokio::time::sleep(Duration::from_millis(1500)).await;
    assert!(connect(&served, &first).await.is_ok(), "the former certificate stays in use");
    let second = renew(directory.path());
    let begun = Instant::now();
    let mut late = loop {
        match connect(&served, &second).await {
            Ok(stream) => break stream,
            Err(error) => assert!(begun.elapsed() < Duration::from_secs(5), "not replaced: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert!(is_answered(&mut late).await);
    assert!(connect(&served, &first).await.is_err(), "the former certificate is gone");
    drop((early, late));
    served.end().await;
}
