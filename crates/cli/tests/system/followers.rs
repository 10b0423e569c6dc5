//! Followers of the event feed over real connections, which disconnect at random and continue behind their last event,
//! while several processes write many events.

use super::place::{On, Place};
use super::server::Server;
use reqwest::header::{ACCEPT, AUTHORIZATION};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};
use tenancy_testkit::Chance;

/// A registration is one event, and one for each of its webhooks.
const WEBHOOKS: usize = 64;
const FOLLOWERS: usize = 3;
/// Number of events after which a follower disconnects at the latest.
const MOST_READ: u64 = 6_000;
/// Time without a byte after which a stream is stuck. The server sends a comment every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// Manifest of a tenant. Its webhooks are off, so that nothing is sent to them.
fn manifest(tenant: &str) -> Value {
    let webhook = |number| {
        json!({"name": format!("hook-{number:02}"), "url": "https://hooks.acme.example/x", "events": ["JOB_FAILED"],
            "enabled": false})
    };
    let webhooks: Vec<_> = (0..WEBHOOKS).map(webhook).collect();
    json!({"tenant_id": tenant, "organization_id": "acme", "region": "eu-west-1", "webhooks": webhooks})
}

/// Where followers connect to, and what they know.
struct Feed {
    addresses: Vec<SocketAddr>,
    token: String,
    /// Newest position when everything was written; 0 before.
    last: AtomicI64,
}

/// One follower.
struct Follower {
    feed: Arc<Feed>,
    chance: Chance,
    client: reqwest::Client,
    /// Position of the last event that was received. Positions have no gaps.
    position: i64,
    cursor: Option<String>,
    connections: usize,
}

impl Follower {
    fn new(feed: &Arc<Feed>, chance: Chance) -> Self {
        // A connection for each stream: one that is dropped is closed.
        let client = reqwest::Client::builder().no_proxy().pool_max_idle_per_host(0).build().expect("a client");
        Self { feed: Arc::clone(feed), chance, client, position: 0, cursor: None, connections: 0 }
    }

    fn is_done(&self) -> bool {
        let last = self.feed.last.load(Ordering::Acquire);
        last > 0 && self.position >= last
    }

    /// Follows until everything that was written is received. Returns the number of connections.
    async fn run(mut self) -> usize {
        while !self.is_done() {
            self.connections += 1;
            self.read_some().await;
        }
        self.connections
    }

    /// Connects to one of the servers, and reads a random number of events.
    async fn read_some(&mut self) {
        let address = self.feed.addresses[self.chance.index(self.feed.addresses.len())];
        let mut request = self.client.get(format!("http://{address}/v1/events"));
        request = request.header(ACCEPT, "text/event-stream");
        request = request.header(AUTHORIZATION, format!("Bearer {}", self.feed.token));
        if let Some(cursor) = &self.cursor {
            request = request.header("last-event-id", cursor);
        }
        let mut stream = request.send().await.expect("answered").error_for_status().expect("a stream");
        let until = self.position + i64::try_from(self.chance.below(MOST_READ)).expect("a small number");
        let mut buffer = Vec::new();
        while self.position < until && !self.is_done() {
            let chunk = tokio::time::timeout(SILENCE, stream.chunk()).await.expect("not stuck").expect("readable");
            let Some(chunk) = chunk else { return };
            buffer.extend_from_slice(&chunk);
            let whole = buffer.windows(2).rposition(|two| two == b"\n\n").map_or(0, |at| at + 2);
            for frame in std::str::from_utf8(&buffer[..whole]).expect("text").split_terminator("\n\n") {
                self.take(frame);
                if self.position == until {
                    // The rest was sent, and is received again by the next connection.
                    return;
                }
            }
            buffer.drain(..whole);
        }
    }

    fn take(&mut self, frame: &str) {
        let field = |name: &str| frame.lines().find_map(|line| line.strip_prefix(name));
        let Some(data) = field("data: ") else { return };
        if data.contains("\"audit_id\":") {
            let position = data.split_once("\"position\":").expect("a position").1;
            let position = position.split([',', '}']).next().and_then(|number| number.parse().ok());
            assert_eq!(position, Some(self.position + 1), "each event once, in their order: {frame}");
            self.position += 1;
        }
        self.cursor = field("id: ").map(str::to_owned).or(self.cursor.take());
    }
}

/// Registers tenants at a server.
fn write(server: &Server, number: usize, tenants: usize) {
    let mut client = server.client();
    for tenant in 0..tenants {
        client.post("/v1/tenants", manifest(&format!("t-{number}-{tenant}"))).ok(201);
    }
}

/// Writes with each server, while followers read.
fn must_send_each_event_once(place: &Place, servers: &[Server], tenants: usize) {
    servers[0].client().post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    let mut chance = Chance::new(20);
    let addresses = servers.iter().map(Server::address).collect();
    let feed = Arc::new(Feed { addresses, token: place.token().to_owned(), last: AtomicI64::new(0) });
    // Another test may have installed it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("started");
    let begun = Instant::now();
    let followers: Vec<_> = (0..FOLLOWERS).map(|_| runtime.spawn(Follower::new(&feed, chance.fork()).run())).collect();
    std::thread::scope(|scope| {
        for (number, server) in servers.iter().enumerate() {
            scope.spawn(move || write(server, number, tenants));
        }
    });
    let written = begun.elapsed();
    // The server closes a connection that is idle for so long.
    let mut client = servers[0].client();
    let newest = client.get("/v1/audit?order=desc&limit=1").ok(200).items();
    let last = newest[0]["position"].as_i64().expect("a position");
    feed.last.store(last, Ordering::Release);
    // Whoever has everything already is woken by one more event.
    client.post("/v1/organizations", json!({"organization_id": "globex"})).ok(201);
    let connections: Vec<_> =
        followers.into_iter().map(|follower| runtime.block_on(follower).expect("no panic")).collect();
    println!("{last} events written in {written:?}, received in {:?}, connections {connections:?}", begun.elapsed());
    let least = servers.len() * tenants * (WEBHOOKS + 1);
    assert!(usize::try_from(last).is_ok_and(|last| last >= least), "{last} of {least}");
    assert!(connections.iter().all(|count| *count > 2), "they disconnected: {connections:?}");
    servers.iter().for_each(Server::assert_no_errors);
}

#[test]
fn must_send_each_of_100_000_events_of_three_processes_exactly_once() {
    let place = Place::new(On::Postgres);
    let servers = [place.serve(), place.serve(), place.serve()];
    must_send_each_event_once(&place, &servers, 513);
}

#[test]
fn must_send_each_of_20_000_events_of_one_process_on_sqlite_exactly_once() {
    let place = Place::new(On::Sqlite);
    must_send_each_event_once(&place, &[place.serve()], 308);
}
