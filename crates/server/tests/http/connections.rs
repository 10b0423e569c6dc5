//! Connections that are many, slow, or used only in one direction. All over real connections.

use crate::house::On;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tenancy_server::{Config, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes, and shorter than the default limits.
const SOON: Duration = Duration::from_secs(20);

/// A server with its own database.
pub struct Served {
    pub address: SocketAddr,
    pub token: String,
    stop: CancellationToken,
    serving: JoinHandle<Result<(), tenancy_core::Error>>,
    _directory: Option<TempDir>,
}

impl Served {
    /// Serves with a changed configuration.
    pub async fn with(change: impl FnOnce(&mut Config)) -> Self {
        let (store, token, directory) = On::Sqlite.store().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
        let mut config = Config::default();
        config.jobs.enabled = false;
        // The tests are about other limits.
        config.limits.header_read_timeout_seconds = 60;
        config.limits.connections.write_timeout_seconds = 60;
        change(&mut config);
        let serving = tokio::spawn(serve(config, store, listener, stop.clone()));
        Self { address, token, stop, serving, _directory: directory }
    }

    pub async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("a connection")
    }

    /// A connection on which the key was used.
    async fn keyed(&self) -> TcpStream {
        let mut stream = self.connect().await;
        let answer = ask(&mut stream, &self.whoami()).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        stream
    }

    fn whoami(&self) -> String {
        format!("GET /v1/whoami HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {}\r\n\r\n", self.token)
    }

    /// Opens a connection that requests many large answers and reads none.
    async fn unread(&self) -> TcpStream {
        let mut stream = self.connect().await;
        // The server may have closed it already.
        let _ = stream.write_all(LARGE.repeat(100).as_bytes()).await;
        stream
    }

    async fn metrics(&self) -> String {
        ask(&mut self.connect().await, "GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await
    }

    /// Waits until a limit has closed or refused something.
    async fn limited(&self, limit: &str) {
        let line = format!("tenancy_http_connections_limited_total{{limit=\"{limit}\"}}");
        let begun = Instant::now();
        while !self.metrics().await.contains(&line) {
            assert!(begun.elapsed() < SOON, "no limit {limit}");
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    pub async fn end(self) {
        self.stop.cancel();
        tokio::time::timeout(SOON, self.serving).await.expect("in time").expect("no panic").expect("drained");
    }
}

const LARGE: &str = "GET /openapi.json HTTP/1.1\r\nhost: x\r\n\r\n";

/// Sends a request and reads its answer, in time.
async fn ask(stream: &mut TcpStream, request: &str) -> String {
    stream.write_all(request.as_bytes()).await.expect("sent");
    tokio::time::timeout(SOON, answer(stream)).await.expect("in time")
}

async fn answer(stream: &mut (impl AsyncReadExt + Unpin)) -> String {
    let (mut text, mut byte) = (Vec::new(), [0]);
    while !text.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).await.expect("read"), 1, "closed: {}", String::from_utf8_lossy(&text));
        text.push(byte[0]);
    }
    let head = String::from_utf8_lossy(&text).to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).await.expect("read");
    text.extend(body);
    String::from_utf8(text).expect("text")
}

/// Returns whether the server has closed the connection.
async fn is_closed(stream: &mut TcpStream) -> bool {
    let ended = async { while stream.read(&mut [0; 65536]).await.is_ok_and(|read| read > 0) {} };
    tokio::time::timeout(Duration::from_millis(200), ended).await.is_ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_let_a_key_in_while_connections_without_one_pipeline_and_never_read() {
    let served = Served::with(|config| {
        config.limits.max_connections = 64;
        config.limits.connections.max_without_key = 16;
    })
    .await;
    let mut early = served.keyed().await;
    let mut flood = Vec::new();
    for round in 0..8 {
        for _ in 0..10 {
            flood.push(served.unread().await);
        }
        let begun = Instant::now();
        let mut late = served.keyed().await;
        for stream in [&mut early, &mut late] {
            let answer = ask(stream, &served.whoami()).await;
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        }
        assert!(begun.elapsed() < SOON, "round {round}: {:?}", begun.elapsed());
    }
    assert!(is_closed(&mut flood[0]).await, "the oldest connection is closed first");
    served.limited("without_key").await;
    drop(flood);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_cap_the_connections_of_a_peer_and_of_all() {
    for (limit, per_peer, all) in [("per_peer", 3, 64), ("all", 64, 3)] {
        let served = Served::with(|config| {
            config.limits.max_connections = all;
            config.limits.connections.max_per_peer = per_peer;
        })
        .await;
        let mut silent = served.connect().await;
        let mut keyed = vec![served.keyed().await, served.keyed().await, served.keyed().await];
        assert!(is_closed(&mut silent).await, "{limit}: a connection without a key makes room");
        // All have shown a key: the next one is refused at once, with an answer.
        let refused = tokio::time::timeout(SOON, answer(&mut served.connect().await)).await.expect("in time");
        assert!(refused.starts_with("HTTP/1.1 503") && refused.contains("retry-after: 1"), "{refused}");
        for stream in &mut keyed {
            assert!(ask(stream, &served.whoami()).await.starts_with("HTTP/1.1 200"));
        }
        drop(keyed.pop());
        served.limited(limit).await;
        served.end().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_not_cap_a_trusted_proxy_like_a_peer() {
    let served = Served::with(|config| {
        config.trusted_proxies = vec!["127.0.0.0/8".parse().expect("a network")];
        config.limits.connections.max_per_peer = 2;
        config.limits.connections.max_without_key = 2;
    })
    .await;
    let mut open = Vec::new();
    for _ in 0..5 {
        open.push(served.connect().await);
    }
    for stream in &mut open {
        assert!(ask(stream, &served.whoami()).await.starts_with("HTTP/1.1 200"));
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_close_a_connection_that_does_not_read() {
    let served = Served::with(|config| config.limits.connections.write_timeout_seconds = 1).await;
    let mut stuck = served.unread().await;
    // Many small answers without a body count too.
    let mut heads = served.connect().await;
    let many = "HEAD /docs HTTP/1.1\r\nhost: x\r\n\r\n".repeat(1000);
    let floods = tokio::spawn(async move { while heads.write_all(many.as_bytes()).await.is_ok() {} });
    served.limited("write_timeout").await;
    assert!(is_closed(&mut stuck).await);
    tokio::time::timeout(SOON, floods).await.expect("closed in time").expect("no panic");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_bound_the_responses_that_nobody_reads() {
    let served = Served::with(|config| config.limits.connections.max_response_bytes_in_flight = 64 * 1024).await;
    let mut stuck = served.unread().await;
    let mut other = served.connect().await;
    // The first answers go to buffers of the system. When those are full, one answer uses up the budget.
    let begun = Instant::now();
    let refused = loop {
        let answer = ask(&mut other, LARGE).await;
        if answer.starts_with("HTTP/1.1 503") {
            break answer;
        }
        assert!(begun.elapsed() < SOON, "never refused");
    };
    assert!(refused.contains("retry-after: 1") && refused.contains("\"code\":\"busy\""), "{refused}");
    // Small answers are not affected, and after a second the answer that nobody reads makes room.
    assert!(ask(&mut other, &served.whoami()).await.starts_with("HTTP/1.1 200"));
    while !ask(&mut other, LARGE).await.starts_with("HTTP/1.1 200") {
        assert!(begun.elapsed() < SOON, "always refused");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(is_closed(&mut stuck).await);
    served.limited("response_bytes").await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_answer_a_client_that_sends_its_whole_body_before_it_reads() {
    let served = Served::with(|_| {}).await;
    let mib = 1024 * 1024;
    for (token, path, bytes, status) in [
        (&*served.token, "/v1/tenants", 20 * mib, "413"),
        (&*served.token, "/v1/nothing", 20 * mib, "404"),
        (&*served.token, "/v1/tenants?what=1", 20 * mib, "400"),
        ("none", "/v1/tenants", mib - 1024, "401"),
    ] {
        let mut stream = served.connect().await;
        if token != "none" {
            ask(&mut stream, &served.whoami()).await;
        }
        let head = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {bytes}\r\n\r\n"
        );
        let mut request = head.into_bytes();
        request.resize(request.len() + bytes, b' ');
        tokio::time::timeout(SOON, stream.write_all(&request)).await.expect("in time").expect(status);
        let answer = tokio::time::timeout(SOON, answer(&mut stream)).await.expect("in time");
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
        assert!(answer.contains("connection: close"), "{answer}");
    }
    // Who sends without end is cut off.
    let mut stream = served.connect().await;
    let head = "POST /v1/tenants HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999999\r\n\r\n";
    stream.write_all(head.as_bytes()).await.expect("sent");
    let endless = async { while stream.write_all(&[b' '; 65536]).await.is_ok() {} };
    tokio::time::timeout(SOON, endless).await.expect("cut off in time");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_refuse_a_missing_or_double_host_and_two_authorizations() {
    let served = Served::with(|_| {}).await;
    let key = format!("authorization: Bearer {}\r\n", served.token);
    for (version, headers, status) in [
        ("1.1", key.clone(), "400"),
        ("1.1", format!("host: x\r\nhost: x\r\n{key}"), "400"),
        ("1.1", format!("host: x\r\n{key}{key}"), "400"),
        ("1.1", format!("host: x\r\n{key}"), "200"),
        ("1.0", key.clone(), "200"),
    ] {
        let request = format!("GET /v1/whoami HTTP/{version}\r\n{headers}\r\n");
        let answer = ask(&mut served.connect().await, &request).await;
        assert!(answer.split(' ').nth(1) == Some(status), "{request}{answer}");
        assert!(status == "200" || answer.contains("\"code\":\"malformed\""), "{answer}");
    }
    served.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_serve_metrics_on_an_address_of_its_own_only() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("an address");
    let served = Served::with(|config| config.metrics_listen = free.to_string()).await;
    assert!(served.metrics().await.starts_with("HTTP/1.1 404"));
    for (path, status) in [("/metrics", "200"), ("/v1/whoami", "404"), ("/docs", "404")] {
        let mut stream = TcpStream::connect(free).await.expect("a connection");
        let answer = ask(&mut stream, &format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{path}: {answer}");
    }
    served.end().await;
}
