//! Receivers with TLS, good and broken.

use crate::receiver::{Receiver, answer_all, hang};
use crate::{LONG, SHORT, here, options, send};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::sync::Arc;
use tenancy_server::webhooks::sending::{Limits, Options, Outcome, Policy, Sender};
use tokio::io::AsyncWriteExt as _;
use tokio_rustls::TlsAcceptor;

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority() -> Authority {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate")
}

fn acceptor(authority: &Authority, name: &str, until: i32) -> TlsAcceptor {
    let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
    params.not_after = rcgen::date_time_ymd(until, 1, 1);
    let key = KeyPair::generate().expect("a key");
    let certificate = params.signed_by(&key, authority).expect("signed");
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], PrivateKeyDer::Pkcs8(key.serialize_der().into()))
        .expect("a certificate");
    TlsAcceptor::from(Arc::new(config))
}

async fn receiver(acceptor: TlsAcceptor) -> Receiver {
    Receiver::start(move |stream, seen| {
        let acceptor = acceptor.clone();
        async move {
            if let Ok(stream) = acceptor.accept(stream).await {
                answer_all(stream, seen, OK.to_owned()).await;
            }
        }
    })
    .await
}

fn trusting(roots: Vec<CertificateDer<'static>>, limits: Limits) -> Sender {
    let policy = Policy { allows_http: false, ..here() };
    Sender::with(policy, Options { limits, roots, ..Options::default() }).expect("a sender")
}

#[tokio::test]
async fn must_verify_the_certificate_of_the_receiver() {
    let (known, unknown) = (authority(), authority());
    let sender = trusting(vec![known.der().clone()], options().limits);
    for (what, acceptor, is_good) in [
        ("good", acceptor(&known, "localhost", 2099), true),
        ("another name", acceptor(&known, "hooks.example", 2099), false),
        ("expired", acceptor(&known, "localhost", 2020), false),
        ("unknown authority", acceptor(&unknown, "localhost", 2099), false),
    ] {
        let receiver = receiver(acceptor).await;
        let attempt = send(&sender, &format!("https://localhost:{}/", receiver.port), LONG).await;
        assert_eq!(attempt.outcome == Outcome::Delivered, is_good, "{what}: {attempt:?}");
        assert_eq!(attempt.error, (!is_good).then_some("tls"), "{what}: {attempt:?}");
        assert_eq!(receiver.seen.requests().len(), usize::from(is_good), "{what}");
    }
}

#[tokio::test]
async fn must_say_that_tls_is_broken_and_not_wait_for_it() {
    let sender = trusting(Vec::new(), Limits { connect: SHORT, ..Limits::default() });
    for garbage in [OK.as_bytes(), b"", &[0x16, 3, 1, 0, 200, 9, 9, 9], &[0x15, 3, 3, 0, 2, 2, 40]] {
        let receiver = Receiver::start(move |mut stream, _| async move {
            let _ = stream.write_all(garbage).await;
            let _ = stream.shutdown().await;
        })
        .await;
        let attempt = send(&sender, &format!("https://127.0.0.1:{}/", receiver.port), LONG).await;
        assert_eq!(attempt.error, Some("tls"), "{garbage:?}: {attempt:?}");
    }
    let receiver = Receiver::start(hang).await;
    let attempt = send(&sender, &format!("https://127.0.0.1:{}/", receiver.port), LONG).await;
    assert_eq!(attempt.error, Some("connect_timeout"), "{attempt:?}");
    assert_eq!(attempt.detail.as_deref(), Some("the TLS handshake was not completed within 0.3 s"));
    assert!((290..3_000).contains(&attempt.total_ms), "{attempt:?}");
}
