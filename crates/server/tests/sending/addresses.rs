//! Which addresses are connected to, with a DNS server that changes its answers.

use crate::dns::Server;
use crate::receiver::Receiver;
use crate::{LONG, SHORT, here, options, send, send_as, sender};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tenancy_core::webhook::Format;
use tenancy_server::webhooks::sending::resolver::{Addresses, Lookup};
use tenancy_server::webhooks::sending::{Limits, Options, Outcome, Policy, Sender, check_url};

const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
/// Stands for a public address: the operator permits it to endpoints of the platform.
const PERMITTED: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 2);
const FORBIDDEN: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 1);

fn permitting() -> Policy {
    let networks = vec![format!("{PERMITTED}/32").parse().expect("a network")];
    Policy { allows_http: true, allows_loopback: false, platform_networks: networks }
}

/// A sender that asks this server, and keeps connections as long as given.
fn asking(server: &Server, idle: Duration) -> Sender {
    let limits = Limits { idle, ..options().limits };
    Sender::with(permitting(), Options { limits, lookup: server.resolver(), roots: Vec::new() }).expect("a sender")
}

/// Receivers at the permitted and at the forbidden address, with the same port.
async fn both() -> (Receiver, Receiver) {
    let forbidden = Receiver::answering(OK).await;
    let permitted = Receiver::start_at("127.0.0.2", forbidden.port, |stream, seen| {
        crate::receiver::answer_all(stream, seen, OK.to_owned())
    })
    .await;
    (permitted, forbidden)
}

#[tokio::test]
async fn must_connect_to_the_address_that_it_checked_when_a_name_is_rebound() {
    let (permitted, forbidden) = both().await;
    let server = Server::start(vec![vec![PERMITTED], vec![FORBIDDEN]]).await;
    let sender = asking(&server, Duration::ZERO);
    let url = format!("http://hooks.example:{}/", permitted.port);
    assert_eq!(check_url(&url, true, sender.policy()), Ok(()));
    let first = send_as(&sender, &url, LONG, true, Format::Standard).await;
    assert_eq!(first.outcome, Outcome::Delivered, "{first:?}");
    // If the name was looked up again between the check and the connection, the second answer would be used.
    assert_eq!(server.questions.load(Ordering::SeqCst), 1);
    let second = send_as(&sender, &url, LONG, true, Format::Standard).await;
    assert_eq!((second.outcome, second.error), (Outcome::Failed, Some("address_refused")), "{second:?}");
    assert_eq!((permitted.seen.connections(), forbidden.seen.connections()), (1, 0));
    let detail = second.detail.expect("a sentence");
    assert!(!detail.contains("127.") && !detail.contains("loopback"), "shows the answer of the resolver: {detail}");
}

#[tokio::test]
async fn must_refuse_a_name_if_any_of_its_addresses_is_forbidden() {
    let (permitted, forbidden) = both().await;
    let private = Ipv4Addr::new(10, 0, 0, 1);
    for mixed in [vec![PERMITTED, FORBIDDEN], vec![FORBIDDEN, PERMITTED], vec![PERMITTED, private], vec![PERMITTED; 9]]
    {
        let is_good = mixed.len() == 9;
        let server = Server::start(vec![mixed]).await;
        let url = format!("http://hooks.example:{}/", permitted.port);
        let attempt = send_as(&asking(&server, Duration::ZERO), &url, LONG, true, Format::Standard).await;
        assert_eq!(attempt.error, (!is_good).then_some("address_refused"), "{attempt:?}");
    }
    assert_eq!((permitted.seen.connections(), forbidden.seen.connections()), (1, 0));
}

#[tokio::test]
async fn must_not_lend_a_connection_of_the_platform_to_a_tenant() {
    let (permitted, _) = both().await;
    let server = Server::start(vec![vec![PERMITTED]]).await;
    let sender = asking(&server, Duration::from_secs(60));
    for host in ["hooks.example", "127.0.0.2"] {
        let url = format!("http://{host}:{}/", permitted.port);
        let ours = send_as(&sender, &url, LONG, true, Format::Standard).await;
        assert_eq!(ours.outcome, Outcome::Delivered, "{ours:?}");
        let theirs = send_as(&sender, &url, LONG, false, Format::Standard).await;
        assert_eq!(theirs.error, Some("address_refused"), "{theirs:?}");
    }
    assert_eq!(permitted.seen.requests().len(), 2);
}

#[tokio::test]
async fn must_refuse_a_literal_before_it_connects() {
    let receiver = Receiver::answering(OK).await;
    let strict = Sender::with(Policy { allows_http: true, ..Policy::default() }, options()).expect("a sender");
    for host in ["127.0.0.1", "0x7f.1", "2130706433", "127.1", "localhost", "[::ffff:127.0.0.1]"] {
        let url = format!("http://{host}:{}/", receiver.port);
        let attempt = send(&strict, &url, LONG).await;
        assert_eq!(attempt.error, Some("address_refused"), "{url}: {attempt:?}");
    }
    let secure = Sender::with(Policy { allows_loopback: true, ..Policy::default() }, options()).expect("a sender");
    assert_eq!(send(&secure, &receiver.url, LONG).await.error, Some("address_refused"), "no TLS");
    assert_eq!(receiver.seen.connections(), 0);
}

#[tokio::test]
async fn must_resolve_names_as_the_operating_system_does() {
    let receiver = Receiver::answering(OK).await;
    let url = format!("http://localhost:{}/", receiver.port);
    let sender = sender();
    let attempts = futures_util::future::join_all((0..8).map(|_| send(&sender, &url, LONG))).await;
    assert!(attempts.iter().all(|attempt| attempt.outcome == Outcome::Delivered), "{attempts:?}");
}

/// Does not know names that begin with `no`, and never answers for others.
struct Silent;

impl Lookup for Silent {
    fn lookup(&self, name: &str) -> BoxFuture<'_, Addresses> {
        match name.strip_prefix("no") {
            Some(_) => async { Err("no such name".to_owned()) }.boxed(),
            None => std::future::pending().boxed(),
        }
    }
}

#[tokio::test]
async fn must_not_wait_for_a_name_longer_than_for_a_connection() {
    let limits = Limits { connect: SHORT, ..Limits::default() };
    let sender =
        Sender::with(here(), Options { limits, lookup: Arc::new(Silent), roots: Vec::new() }).expect("a sender");
    let attempt = send(&sender, "http://hangs.example/", LONG).await;
    assert_eq!(attempt.error, Some("connect_timeout"), "{attempt:?}");
    assert_eq!(attempt.detail.as_deref(), Some("the host name was not resolved within 0.3 s"));
    assert!((290..3_000).contains(&attempt.total_ms), "{attempt:?}");
    let attempt = send(&sender, "http://no.example/", LONG).await;
    assert_eq!(attempt.error, Some("dns"), "{attempt:?}");
}
