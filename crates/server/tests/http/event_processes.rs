//! The event feed of several processes on one PostgreSQL, and of clients that disconnect or do not read.

use crate::connections::Served;
use crate::event_reader::Reader;
use crate::house::{House, On};
use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_testkit::Chance;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Registrations of each process.
const REGISTRATIONS: usize = 150;

/// Follows the log on any of the processes, disconnects at random, and continues behind the last event received.
async fn follow(
    houses: Arc<Vec<House>>,
    mut chance: Chance,
    is_written: Arc<tokio::sync::watch::Receiver<i64>>,
) -> Vec<i64> {
    let (mut seen, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let house = &houses[chance.index(houses.len())];
        let mut reader = Reader::open(house, "", cursor.as_deref()).await;
        for _ in 0..chance.below(60) {
            let frame = reader.next().await.expect("the stream goes on");
            if frame.is_audit() {
                seen.push(frame.position());
            }
            cursor = frame.id.or(cursor);
            let last = *is_written.borrow();
            if last > 0 && seen.last() == Some(&last) {
                return seen;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_send_each_event_of_three_processes_exactly_once_to_followers_that_disconnect() {
    let first = House::new(On::Postgres).await;
    first.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let (second, third) = (first.beside().await, first.beside().await);
    let houses = Arc::new(vec![first, second, third]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a time");
    let mut chance = Chance::new(now.as_secs());
    let (told, is_written) = tokio::sync::watch::channel(0);
    let is_written = Arc::new(is_written);
    let followers: Vec<_> =
        (0..6).map(|_| tokio::spawn(follow(Arc::clone(&houses), chance.fork(), Arc::clone(&is_written)))).collect();
    let writers: Vec<_> = (0..houses.len())
        .map(|of| {
            let houses = Arc::clone(&houses);
            tokio::spawn(async move {
                for number in 0..REGISTRATIONS {
                    let id = format!("t-{of}-{number}");
                    let manifest = json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1"});
                    houses[of].post("/v1/tenants", manifest).await.ok(201);
                }
            })
        })
        .collect();
    for writer in writers {
        writer.await.expect("written");
    }
    // The last event is written when every follower can see that it is the last one.
    let last = houses[0].server.tenancy.feed.newest().await.expect("the end").newest;
    let refresh = json!({"organization_id": "globex"});
    told.send(last + 1).expect("followers");
    houses[1].post("/v1/organizations", refresh).await.ok(201);
    for follower in followers {
        let seen = tokio::time::timeout(Duration::from_secs(120), follower).await.expect("in time").expect("no panic");
        assert_eq!(seen, (1..=last + 1).collect::<Vec<_>>());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_close_the_connection_of_a_client_that_does_not_read_its_stream() {
    let served = Served::with(|config| config.limits.connections.write_timeout_seconds = 1).await;
    let labels: serde_json::Map<_, _> =
        (0..60).map(|number| (format!("label-{number}"), json!("x".repeat(60)))).collect();
    let send = async |method: &str, path: &str, body: String| {
        let mut stream = served.connect().await;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {}\r\nif-match: *\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            served.token,
            body.len()
        );
        stream.write_all(request.as_bytes()).await.expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.expect("an answer");
        answer
    };
    let made = send("POST", "/v1/organizations", json!({"organization_id": "acme"}).to_string()).await;
    assert!(made.starts_with("HTTP/1.1 201"), "{made}");
    let socket = tokio::net::TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(4096).expect("set");
    let mut unread = socket.connect(served.address).await.expect("a connection");
    let request = format!(
        "GET /v1/events HTTP/1.1\r\nhost: x\r\naccept: text/event-stream\r\nauthorization: Bearer {}\r\n\r\n",
        served.token
    );
    unread.write_all(request.as_bytes()).await.expect("sent");
    let begun = Instant::now();
    let mut number = 0;
    loop {
        // What happens meanwhile fills the buffers of the system.
        let manifest = json!({"tenant_id": format!("t-{number}"), "organization_id": "acme", "region": "eu-west-1", "labels": labels});
        let made = send("POST", "/v1/tenants", manifest.to_string()).await;
        assert!(made.starts_with("HTTP/1.1 201"), "{made}");
        number += 1;
        let metrics = send("GET", "/metrics", String::new()).await;
        if metrics.contains("tenancy_http_connections_limited_total{limit=\"write_timeout\"}") {
            break;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "the connection is still open after {number} events");
    }
    served.end().await;
}
