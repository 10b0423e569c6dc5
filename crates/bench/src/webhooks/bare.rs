//! The references: loops that only sign and POST, without a queue and without a record.

use super::receiver::{Manner, Receivers};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_core::Timestamp;
use tenancy_core::webhook::{Format, Secret};
use tenancy_server::webhooks::sending::{Message, Options, Outcome, Policy, Sender, Target};
use tenancy_server::webhooks::transport::Transport;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

const KEY: [u8; 32] = [7; 32];

/// Runs one loop for each endpoint on these threads. The leanest program that signs and POSTs: each loop keeps one
/// connection open. Returns the rate.
pub async fn leanest(threads: &Handle, receivers: &Receivers, endpoints: u64, body: &str, seconds: u64) -> f64 {
    let mut connections = Vec::new();
    for _ in 0..endpoints {
        connections.push(receivers.start(Manner::Healthy).await);
    }
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let loops: Vec<_> = (connections.into_iter())
        .map(|to| {
            let body = body.to_owned();
            threads.spawn(async move {
                let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
                let mut connection = connect(to).await;
                let mut sent = 0_u32;
                while Instant::now() < until {
                    post(&mut connection, to, &key, &body, sent).await;
                    sent += 1;
                }
                sent
            })
        })
        .collect();
    rate(began, loops).await
}

/// Runs a single loop on these threads. It signs and POSTs to the endpoints in turn, and waits for each answer before the next
/// request. Returns the rate.
pub async fn one_loop(threads: &Handle, receivers: &Receivers, endpoints: u64, body: &str, seconds: u64) -> f64 {
    let mut receiving = Vec::new();
    for _ in 0..endpoints {
        receiving.push(receivers.start(Manner::Healthy).await);
    }
    let (began, body) = (Instant::now(), body.to_owned());
    let until = began + Duration::from_secs(seconds);
    let one = threads.spawn(async move {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &KEY);
        let mut connections = Vec::new();
        for to in receiving {
            connections.push((to, connect(to).await));
        }
        let mut sent = 0_u32;
        while Instant::now() < until {
            for (to, connection) in &mut connections {
                post(connection, *to, &key, &body, sent).await;
                sent += 1;
            }
        }
        sent
    });
    rate(began, vec![one]).await
}

/// Runs one loop for each endpoint on these threads: each sends with the product's own sender.
pub async fn ordinary(threads: &Handle, receivers: &Receivers, endpoints: u64, body: &str, seconds: u64) -> f64 {
    let policy = Policy { allows_http: true, allows_loopback: true, platform_networks: Vec::new() };
    let sender = Arc::new(Sender::with(policy, Options::default()).expect("a sender"));
    let data = body.split_once("\"data\":").map_or("{}", |(_, data)| data.trim_end_matches('}'));
    let data = Bytes::from(format!("{data}}}"));
    let mut urls = Vec::new();
    for _ in 0..endpoints {
        urls.push(format!("http://{}/hooks", receivers.start(Manner::Healthy).await));
    }
    let began = Instant::now();
    let until = began + Duration::from_secs(seconds);
    let loops: Vec<_> = (urls.into_iter())
        .map(|url| {
            let (sender, data) = (Arc::clone(&sender), data.clone());
            threads.spawn(async move { send(&*sender, &url, data, until).await })
        })
        .collect();
    rate(began, loops).await
}

async fn send(sender: &dyn Transport, url: &str, data: Bytes, until: Instant) -> u32 {
    let text = format!("whsec_{}", STANDARD.encode(KEY));
    let secrets = [Secret { text, created_at: Timestamp::UNIX_EPOCH, expires_at: None }];
    let mut sent = 0;
    while Instant::now() < until {
        let now = Timestamp::now();
        let message = Message {
            id: format!("msg_{sent:032}"),
            event_type: super::REGISTERED.to_owned(),
            occurred_at: now,
            data: data.clone(),
            source: String::new(),
        };
        let timeout = Duration::from_secs(15);
        let target = Target { url, is_platform: true, timeout, secrets: &secrets, format: Format::Standard };
        let attempt = sender.send(target, &message, now).await;
        assert_eq!(attempt.outcome, Outcome::Delivered, "{:?}", attempt.detail);
        sent += 1;
    }
    sent
}

async fn rate(began: Instant, loops: Vec<tokio::task::JoinHandle<u32>>) -> f64 {
    let mut sent = 0.0;
    for one in loops {
        sent += f64::from(one.await.expect("a loop works"));
    }
    sent / began.elapsed().as_secs_f64()
}

async fn connect(to: SocketAddr) -> SendRequest<String> {
    let stream = TcpStream::connect(to).await.expect("connected");
    stream.set_nodelay(true).expect("no delay");
    let (sender, connection) = handshake(TokioIo::new(stream)).await.expect("HTTP");
    tokio::spawn(connection);
    sender
}

async fn post(connection: &mut SendRequest<String>, to: SocketAddr, key: &hmac::Key, body: &str, number: u32) {
    let (id, now) = (format!("msg_{number:032}"), Timestamp::now().as_second());
    let tag = hmac::sign(key, format!("{id}.{now}.{body}").as_bytes());
    let request = Request::post("/hooks")
        .header("host", to.to_string())
        .header("content-type", "application/json")
        .header("webhook-id", id)
        .header("webhook-timestamp", now)
        .header("webhook-signature", format!("v1,{}", STANDARD.encode(tag)))
        .body(body.to_owned())
        .expect("a request");
    connection.ready().await.expect("ready");
    let answer = connection.send_request(request).await.expect("answered");
    assert_eq!(answer.status(), 204);
}
