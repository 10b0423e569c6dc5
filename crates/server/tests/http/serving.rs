//! The lifecycle of a server process, over a real connection.

use crate::house::{On, on_both};
use serde_json::json;
use std::time::Duration;
use tenancy_server::{Config, serve};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

on_both!(
    a_server_must_work_jobs_and_stop_with_every_answer_given,
    headers_that_do_not_come_or_do_not_end_must_not_hold_a_connection,
    a_client_that_waits_must_be_answered_when_the_server_stops,
    a_connection_must_go_on_behind_a_refusal_or_say_that_it_ends,
);

/// Sends a request on a new connection and reads until the server closes it.
async fn call(address: std::net::SocketAddr, request: String) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(request.as_bytes()).await.expect("sent");
    let mut answer = String::new();
    let read = stream.read_to_string(&mut answer);
    tokio::time::timeout(Duration::from_secs(10), read).await.expect("in time").expect("read");
    answer
}

fn request(method: &str, path: &str, token: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\nauthorization: Bearer {token}\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn a_server_must_work_jobs_and_stop_with_every_answer_given(on: On) {
    let (store, token, _directory) = on.store().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
    let mut config = Config::default();
    // Queuing a job notifies the runner. Without the notification, it would look too late.
    config.jobs.poll_milliseconds = 600_000;
    let serving = tokio::spawn(serve(config, store.clone(), listener, stop.clone()));

    let answer = call(address, request("GET", "/healthz", "", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    call(address, request("POST", "/v1/organizations", &token, &json!({"organization_id": "acme"}).to_string())).await;
    let manifest =
        json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1", "desired_state": "Active"});
    let answer = call(address, request("POST", "/v1/tenants", &token, &manifest.to_string())).await;
    assert!(answer.starts_with("HTTP/1.1 201"), "{answer}");
    for action in ["create", "activate"] {
        let jobs = call(address, request("GET", "/v1/tenants/acme-eu/jobs", &token, "")).await;
        let job = jobs.split("\"job_id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a job");
        let path = format!("/v1/tenants/acme-eu/jobs/{job}?wait_seconds=10");
        let answer = call(address, request("GET", &path, &token, "")).await;
        assert!(answer.contains("\"state\":\"completed\""), "{action}: {answer}");
    }
    let activated = call(address, request("GET", "/v1/tenants/acme-eu", &token, "")).await;
    assert!(activated.contains("\"state\":\"Active\""), "{activated}");
    let metrics = call(address, request("GET", "/metrics", "", "")).await;
    assert!(metrics.contains("tenancy_jobs_ended_total") && !metrics.contains("acme"), "{metrics}");

    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), serving).await.expect("in time").expect("no panic").expect("drained");
    assert!(TcpStream::connect(address).await.is_err());
    store.close().await;
}

async fn headers_that_do_not_come_or_do_not_end_must_not_hold_a_connection(on: On) {
    let (store, _, _directory) = on.store().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
    let mut config = Config::default();
    config.limits.header_read_timeout_seconds = 1;
    config.limits.max_header_bytes = 8 * 1024;
    let serving = tokio::spawn(serve(config, store, listener, stop.clone()));
    let slow = call(address, "GET /healthz HTTP/1.1\r\nhost".to_owned()).await;
    assert!(!slow.starts_with("HTTP/1.1 200"), "{slow:?}");
    let long = format!("GET /healthz HTTP/1.1\r\nhost: x\r\na: {}\r\n\r\n", "x".repeat(10_000));
    let long = call(address, long).await;
    assert!(long.starts_with("HTTP/1.1 431"), "{long:?}");
    stop.cancel();
    serving.await.expect("no panic").expect("drained");
}

async fn a_client_that_waits_must_be_answered_when_the_server_stops(on: On) {
    let (store, token, _directory) = on.store().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
    let mut config = Config::default();
    config.jobs.enabled = false;
    let serving = tokio::spawn(serve(config, store, listener, stop.clone()));
    call(address, request("POST", "/v1/organizations", &token, "{\"organization_id\": \"acme\"}")).await;
    let manifest = json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1"});
    let answer = call(address, request("POST", "/v1/tenants", &token, &manifest.to_string())).await;
    let job = answer.split("\"job_id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a job").to_owned();
    let path = format!("/v1/tenants/acme-eu/jobs/{job}?wait_seconds=60");
    let waits = tokio::spawn(call(address, request("GET", &path, &token, "")));
    // Nothing signals that a request has started to wait, so the test gives it time.
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    let answer = waits.await.expect("an answer");
    assert!(answer.contains("\"state\":\"queued\""), "{answer}");
    serving.await.expect("no panic").expect("drained");
}

/// Reads one answer from a connection that may stay open. Returns its head.
async fn answer_of(stream: &mut TcpStream) -> String {
    let (mut head, mut byte) = (Vec::new(), [0]);
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).await.expect("read"), 1, "it is closed: {}", String::from_utf8_lossy(&head));
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).expect("text").to_lowercase();
    let length = head.split("content-length: ").nth(1).and_then(|rest| rest.split("\r\n").next()).expect("a length");
    let mut body = vec![0; length.parse().expect("a number")];
    stream.read_exact(&mut body).await.expect("read");
    head
}

async fn a_connection_must_go_on_behind_a_refusal_or_say_that_it_ends(on: On) {
    let (store, token, _directory) = on.store().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (address, stop) = (listener.local_addr().expect("an address"), CancellationToken::new());
    let serving = tokio::spawn(serve(Config::default(), store, listener, stop.clone()));
    let head = |method: &str, path: &str, token: &str, length: usize| {
        format!(
            "{method} {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n"
        )
    };
    // The body is sent after the answer.
    for (method, path, token, status) in [
        ("POST", "/v1/tenants", "none", "401"),
        ("POST", "/v1/nothing", &token, "404"),
        ("POST", "/v1/whoami", &token, "405"),
        ("POST", "/v1/tenants?what=1", &token, "400"),
    ] {
        let mut stream = TcpStream::connect(address).await.expect("a connection");
        stream.write_all(head(method, path, token, 2).as_bytes()).await.expect("sent");
        let answer = answer_of(&mut stream).await;
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
        assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    }
    // If the body was read or empty, the connection stays open.
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    for (request, status) in [
        (head("POST", "/v1/tenants", &token, 2) + "{}", "422"),
        (head("POST", "/v1/tenants", &token, 1) + "{", "400"),
        (head("GET", "/v1/tenants/nobody", &token, 0), "404"),
        (head("GET", "/v1/tenants", "none", 0), "401"),
        (head("GET", "/v1/tenants", &token, 0), "200"),
    ] {
        stream.write_all(request.as_bytes()).await.expect("sent");
        let answer = answer_of(&mut stream).await;
        assert!(answer.starts_with(&format!("http/1.1 {status}")), "{answer}");
        assert!(!answer.contains("connection: close"), "{answer}");
    }
    drop(stream);
    stop.cancel();
    serving.await.expect("no panic").expect("drained");
}
