//! The server's life, over a real connection.

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
);

/// Sends a request on a connection of its own and reads until the server closes it.
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
    let serving = tokio::spawn(serve(Config::default(), store.clone(), listener, stop.clone()));

    let answer = call(address, request("GET", "/healthz", "", "")).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    call(address, request("POST", "/v1/organizations", &token, &json!({"organization_id": "acme"}).to_string())).await;
    let manifest =
        json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1", "desired_state": "Active"});
    let answer = call(address, request("POST", "/v1/tenants", &token, &manifest.to_string())).await;
    let job = answer.split("\"job_id\":\"").nth(1).and_then(|rest| rest.split('"').next()).expect("a job").to_owned();
    let path = format!("/v1/tenants/acme-eu/jobs/{job}?wait_seconds=10");
    let answer = call(address, request("GET", &path, &token, "")).await;
    assert!(answer.contains("\"state\":\"completed\""), "{answer}");
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
    // Nothing tells when a request that waits has come to waiting, so it gets time to.
    tokio::time::sleep(Duration::from_millis(200)).await;
    stop.cancel();
    let answer = waits.await.expect("an answer");
    assert!(answer.contains("\"state\":\"queued\""), "{answer}");
    serving.await.expect("no panic").expect("drained");
}
