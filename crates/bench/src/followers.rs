//! Followers of the event feed over sockets: every event once, in order, and how late.

use crate::Settings;
use crate::figure::{median, percentile};
use crate::kept::Keeper;
use crate::load::request;
use crate::product::{Product, Spread};
use crate::report::Report;
use crate::webhooks::receiver::tenant_id;
use memchr::memmem;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_server::Config;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::runtime::Builder;
use tokio::sync::Semaphore;

/// Number of followers.
const FOLLOWERS: usize = 200;
/// Changes per second.
const PER_SECOND: u64 = 500;
/// Maximum time for the events after the last answer.
const PATIENCE: Duration = Duration::from_secs(120);

/// An event: its log position, and the time at which it was read.
type Seen = (u64, Instant);

/// Measures both databases.
pub async fn measure(keepers: &[Keeper], settings: &Settings, report: &mut Report) {
    for keeper in keepers {
        let database = keeper.database("followers").await.database();
        let product = Product::start_with(&database, settings.names, Config::default(), None).await;
        let (mut p50s, mut p99s) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            let mut lags = one(&product, settings.seconds).await;
            p50s.push(percentile(&mut lags, 50));
            p99s.push(percentile(&mut lags, 99));
        }
        product.stop().await;
        let kind = keeper.kind();
        report.beside(&format!("followers_{kind}_lag_p50"), median(p50s), 250.0, "ms");
        report.below(&format!("followers_{kind}_lag_p99"), median(p99s), 250.0, "ms");
    }
}

/// Registers tenants while all follow. Returns the lags in milliseconds.
async fn one(product: &Product, seconds: u64) -> Vec<f64> {
    let count = usize::try_from(PER_SECOND * seconds).expect("a small number");
    // Threads of their own, as programs elsewhere have.
    let threads = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("threads");
    let open = Arc::new(Semaphore::new(0));
    let following: Vec<_> = (0..FOLLOWERS)
        .map(|_| threads.spawn(follow(product.address, product.token.clone(), count, Arc::clone(&open))))
        .collect();
    let all = u32::try_from(FOLLOWERS).expect("a small number");
    let opened = tokio::time::timeout(PATIENCE, open.acquire_many(all)).await;
    let _open = opened.expect("every stream begins").expect("open");
    let answers = product.register_at(PER_SECOND, seconds, Spread::Hundred).await;
    let (mut order, mut lags) = (Vec::new(), Vec::new());
    for follower in following {
        let (seen, tenants) =
            tokio::time::timeout(PATIENCE, follower).await.expect("no event is missing").expect("read");
        let positions: Vec<_> = seen.iter().map(|(position, _)| *position).collect();
        assert!(positions.is_sorted_by(|one, next| one < next), "the events are not in order");
        if order.is_empty() {
            (order, lags) = (positions.clone(), Vec::with_capacity(count * FOLLOWERS));
        }
        assert!(positions == order && tenants.iter().all(|tenant| answers.contains_key(tenant)), "an event is missing");
        let lag = |(tenant, (_, at)): (&String, &Seen)| at.saturating_duration_since(answers[tenant]);
        lags.extend(tenants.iter().zip(&seen).map(lag).map(|lag| lag.as_secs_f64() * 1000.0));
    }
    threads.shutdown_background();
    lags
}

/// Follows from the end of the log until it has read `count` events. Returns them, with their tenants.
async fn follow(to: SocketAddr, token: String, count: usize, open: Arc<Semaphore>) -> (Vec<Seen>, Vec<String>) {
    let mut stream = TcpStream::connect(to).await.expect("connected");
    let path = "/v1/events?after=end&event_type=TENANCY_REGISTERED";
    let head = String::from_utf8(request("GET", path, &token, "")).expect("text");
    let head = head.replacen("\r\n", "\r\naccept: text/event-stream\r\n", 1);
    stream.write_all(head.as_bytes()).await.expect("sent");
    let (data, end) = (memmem::Finder::new(b"\ndata: "), memmem::Finder::new(b"\n\n"));
    let (mut buffer, mut seen, mut tenants) = (Vec::with_capacity(64 * 1024), Vec::new(), Vec::new());
    let mut is_open = false;
    while seen.len() < count {
        assert_ne!(stream.read_buf(&mut buffer).await.expect("read"), 0, "the server ended a stream");
        if !is_open && memmem::find(&buffer, b"retry: ").is_some() {
            assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer));
            is_open = true;
            open.add_permits(1);
        }
        let (now, mut done) = (Instant::now(), 0);
        while let Some(length) = end.find(&buffer[done..]) {
            let event = &buffer[done..done + length];
            if let (Some(at), Some(_)) = (data.find(event), memmem::find(event, b"event: TENANCY_REGISTERED")) {
                seen.push((position(&event[at..]), now));
                tenants.push(tenant_id(&event[at..]));
            }
            done += length + 2;
        }
        buffer.drain(..done);
    }
    (seen, tenants)
}

fn position(json: &[u8]) -> u64 {
    const BEFORE: &[u8] = b"\"position\":";
    let at = memmem::find(json, BEFORE).expect("a position") + BEFORE.len();
    let digits = json[at..].iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
}
