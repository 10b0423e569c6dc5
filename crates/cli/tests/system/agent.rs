//! `tenancy agent` alone: its answers, its limits, and who may ask. The control plane is one that has only the feed.

use super::gateway::{ready, start_agent};
use super::http::{Answer, Client, Request};
use super::place::Place;
use super::server::{PATIENCE, Server, until};
use serde_json::{Value, json};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tenancy_testkit::AccessFeed;

fn access(tenant_id: &str) -> Value {
    json!({
        "tenant_id": tenant_id, "organization_id": "acme", "aliases": [format!("host:{tenant_id}.example.com")],
        "allowed": true, "state": "Active", "access_level": "full", "plan": "gold", "region": "eu-west-1",
        "quotas": {"storageGiB": 5}, "version": 3, "position": 7,
        "environments": [
            {"name": "dev", "region": "us-east-1", "quotas": {"apiRateLimit": 2}, "state": "Active", "provisioned": true},
            {"name": "stage", "region": "eu-west-1", "quotas": {}, "state": "Draft", "provisioned": false},
        ],
    })
}

fn set(feed: &AccessFeed, tenant_id: &str, fields: &[(&str, Value)]) {
    let mut access = access(tenant_id);
    for (name, value) in fields {
        access[*name] = value.clone();
    }
    feed.set(tenant_id, &access.to_string());
}

fn started(feed: &AccessFeed, arguments: &[&str]) -> (Place, Server, Client) {
    let place = Place::bare(None);
    let agent = start_agent(&place, &feed.url(), "tenancy_token", arguments);
    ready(&agent);
    let client = Client::new(agent.address(), None);
    (place, agent, client)
}

fn verdict(client: &mut Client, tenant: &str) -> Answer {
    client.send(&Request::get("/v1/access/auth").header("x-tenant", tenant))
}

#[test]
fn must_answer_as_the_server_does() {
    let feed = AccessFeed::start();
    set(&feed, "acme-eu", &[]);
    set(
        &feed,
        "held",
        &[("allowed", json!(false)), ("reason", json!("hold_billing")), ("access_level", json!("none"))],
    );
    let (_place, agent, mut client) = started(&feed, &[]);
    let known = client.get("/v1/access?alias=host:acme-eu.example.com").ok(200);
    assert_eq!(known.body, access("acme-eu"));
    assert_eq!((known.header("cache-control"), known.header("age")), ("private, no-cache", "0"));
    let again = Request::get("/v1/access?tenant=acme-eu").header("if-none-match", known.header("etag"));
    client.send(&again).ok(304);
    let dev = client.get("/v1/access?tenant=acme-eu&environment=dev").ok(200);
    assert_eq!((&dev.body["region"], &dev.body["quotas"]), (&json!("us-east-1"), &json!({"apiRateLimit": 2})));
    assert_ne!(dev.header("etag"), known.header("etag"));
    let held = client.get("/v1/access?tenant=held").ok(200);
    assert_eq!(held.body["reason"], "hold_billing");
    client.get("/v1/access?tenant=nobody").problem(404, "not_found");
    for wrong in ["", "?tenant=a&alias=host:a", "?alias=a", "?tenant=", "?tenant=a&tenant=b", "?tenat=a", "?tenant=%ff"]
    {
        client.get(&format!("/v1/access{wrong}")).problem(400, "malformed");
    }
    client.send(&Request::new("POST", "/v1/access?tenant=acme-eu")).problem(405, "method_not_allowed");
    client.get("/v1/tenants").problem(404, "not_found");
    assert_eq!(client.get("/healthz").ok(200).body, json!({"status": "ok"}));
    let metrics = client.get("/metrics").ok(200).text;
    assert!(metrics.contains("tenancy_agent_tenants 2\n"), "{metrics}");
    agent.assert_no_errors();
    agent.stop();
}

#[test]
fn must_answer_a_gateway_with_200_or_403_for_any_method_and_path() {
    let feed = AccessFeed::start();
    set(&feed, "acme-eu", &[]);
    set(
        &feed,
        "held",
        &[("allowed", json!(false)), ("reason", json!("hold_billing")), ("access_level", json!("none"))],
    );
    let (_place, agent, mut client) = started(&feed, &[]);
    // As Envoy asks: with the method and the path of its client behind the prefix, and the host of its client.
    for method in ["GET", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"] {
        let path = "/v1/access/auth/orders/7%2F8?tenant=held&x=%ff";
        let request = Request::new(method, path).header("x-forwarded-host", "ACME-eu.example.com:8443");
        let answer = client.send(&request).ok(200);
        assert_eq!((answer.header("x-tenant-id"), answer.header("x-tenant-plan")), ("acme-eu", "gold"));
        assert_eq!((answer.header("x-tenant-quota-storagegib"), answer.header("cache-control")), ("5", "no-store"));
    }
    let refused = |client: &mut Client, request: &Request, reason: &str| {
        let answer = client.send(request).ok(403);
        assert_eq!((answer.header("x-tenant-reason"), &answer.body["reason"]), (reason, &json!(reason)));
    };
    let auth = |query: &str| Request::get(format!("/v1/access/auth{query}"));
    refused(&mut client, &auth("?tenant=held"), "hold_billing");
    refused(&mut client, &auth("").header("x-tenant", "host:nobody.example.com"), "tenant_unknown");
    refused(&mut client, &auth("?tenant=acme-eu&environment=qa"), "environment_missing");
    refused(&mut client, &auth("?tenant=acme-eu&environment=stage"), "environment_not_provisioned");
    refused(&mut client, &auth("").header("x-tenant", "acme-eu").header("x-tenant", "held"), "bad_request");
    refused(&mut client, &auth("?limited=500"), "bad_request");
    assert_eq!(client.get("/v1/access/authority").status, 404);
    agent.stop();
}

#[test]
fn must_limit_each_tenant_to_its_rate() {
    let feed = AccessFeed::start();
    set(&feed, "slow", &[("quotas", json!({"apiRateLimit": 5}))]);
    set(&feed, "other", &[("quotas", json!({"apiRateLimit": 5}))]);
    set(&feed, "none", &[("quotas", json!({"apiRateLimit": 0}))]);
    set(&feed, "free", &[]);
    let fast_dev = json!([
        {"name": "dev", "region": "eu-west-1", "quotas": {"apiRateLimit": 1000}, "state": "Active", "provisioned": true},
    ]);
    set(&feed, "small", &[("quotas", json!({"apiRateLimit": 1})), ("environments", fast_dev)]);
    let (place, agent, mut client) = started(&feed, &[]);
    let begun = Instant::now();
    let mut allowed = 0;
    let limited = loop {
        let answer = verdict(&mut client, "slow");
        match answer.status {
            200 => allowed += 1,
            _ => break answer.ok(429),
        }
    };
    let most = 5 + usize::try_from(begun.elapsed().as_millis()).expect("short") * 5 / 1000 + 1;
    assert!((5..=most).contains(&allowed), "{allowed} of {most}");
    assert_eq!((limited.header("x-tenant-reason"), limited.header("retry-after")), ("rate_limited", "1"));
    assert_eq!(limited.header("x-tenant-id"), "slow");
    verdict(&mut client, "other").ok(200);
    verdict(&mut client, "none").ok(429);
    assert!((0..100).all(|_| verdict(&mut client, "free").status == 200));
    assert!((0..100).all(|_| client.get("/v1/access?tenant=slow").status == 200), "only verdicts are limited");
    // nginx turns every status but 200, 401 and 403 into an error.
    let answer = client.get("/v1/access/auth?tenant=none&limited=403").ok(403);
    assert_eq!((answer.header("x-tenant-reason"), answer.header("retry-after")), ("rate_limited", "60"));
    let dev = Request::get("/v1/access/auth?tenant=free&environment=dev");
    let statuses: Vec<_> = (0..4).map(|_| client.send(&dev).status).collect();
    assert!(statuses.contains(&429) && statuses[..2] == [200, 200], "the rate of the environment: {statuses:?}");
    let dev = Request::get("/v1/access/auth?tenant=small&environment=dev");
    let statuses: Vec<_> = (0..4).map(|_| client.send(&dev).status).collect();
    assert!(statuses[0] == 200 && statuses.contains(&429), "the rate of the tenant counts, too: {statuses:?}");
    // A new limit counts at once.
    set(&feed, "none", &[("quotas", json!({"apiRateLimit": 1000}))]);
    until("the new limit", PATIENCE, || (verdict(&mut client, "none").status == 200).then_some(()));
    let metrics = client.get("/metrics").text;
    assert!(!metrics.contains("{answer=\"limited\"} 0"), "{metrics}");
    agent.stop();
    let unlimited = start_agent(&place, &feed.url(), "tenancy_token", &["--no-rate-limit"]);
    ready(&unlimited);
    set(&feed, "slow", &[("quotas", json!({"apiRateLimit": 0}))]);
    let mut client = Client::new(unlimited.address(), None);
    assert!((0..20).all(|_| verdict(&mut client, "slow").status == 200));
}

#[test]
fn must_serve_or_refuse_above_the_maximum_age_as_told() {
    let feed = AccessFeed::start();
    set(&feed, "acme-eu", &[]);
    let (_one, serving, mut first) = started(&feed, &["--max-age", "1s", "--no-snapshot"]);
    let (_two, refusing, mut second) = started(&feed, &["--max-age", "1s", "--when-stale", "refuse", "--no-snapshot"]);
    assert_eq!(verdict(&mut second, "acme-eu").ok(200).header("x-tenant-stale"), "");
    feed.down();
    let refused = until("the answers are too old", PATIENCE, || {
        let answer = verdict(&mut second, "acme-eu");
        (answer.status != 200).then_some(answer)
    });
    assert_eq!(refused.ok(403).header("x-tenant-reason"), "stale");
    second.get("/v1/access?tenant=acme-eu").problem(503, "unavailable");
    assert_eq!(second.get("/readyz").status, 503);
    let stale = until("served", PATIENCE, || {
        let answer = verdict(&mut first, "acme-eu").ok(200);
        (answer.header("x-tenant-stale") == "true").then_some(answer)
    });
    assert!(stale.header("age").parse::<u64>().expect("an age") >= 1);
    feed.up();
    until("both are current", PATIENCE, || {
        let is_current = |answer: Answer| answer.status == 200 && answer.header("x-tenant-stale").is_empty();
        (is_current(verdict(&mut first, "acme-eu")) && is_current(verdict(&mut second, "acme-eu"))).then_some(())
    });
    serving.stop();
    refusing.stop();
}

#[test]
fn must_remove_its_file_when_the_key_is_refused_or_the_log_was_restored() {
    let feed = AccessFeed::start();
    set(&feed, "acme-eu", &[]);
    set(&feed, "lost", &[]);
    let (place, agent, mut client) = started(&feed, &["--snapshot", "agent.snapshot"]);
    let path = place.path("agent.snapshot");
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    until("saved", PATIENCE, || read().contains("\"lost\"").then_some(()));
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    feed.restore_without("lost");
    until("saved again", PATIENCE, || (!read().is_empty() && !read().contains("\"lost\"")).then_some(()));
    assert_eq!(verdict(&mut client, "lost").ok(403).header("x-tenant-reason"), "tenant_unknown");
    feed.refuse_key();
    feed.end("key_revoked");
    until("removed", PATIENCE, || (!path.exists()).then_some(()));
    verdict(&mut client, "acme-eu").ok(200);
    agent.stop();
    assert!(!path.exists(), "a stop saves nothing with a refused key");
}

#[test]
fn must_listen_elsewhere_only_with_a_token_and_tls() {
    let feed = AccessFeed::start();
    set(&feed, "acme-eu", &[]);
    let place = Place::bare(None);
    let url = feed.url();
    let at = |address: &str| place.run(&["agent", "--url", &url, "--listen", address, "--no-snapshot"]);
    let refused = at("0.0.0.0:0");
    assert_eq!(refused.code, 2, "{}", refused.err);
    assert!(refused.err.contains("--client-token-file") && refused.err.contains("--tls-cert"), "{}", refused.err);
    std::fs::write(place.path("short"), "short\n").expect("written");
    let short = place.run(&["agent", "--url", &url, "--client-token-file", "short"]);
    assert!(short.code == 1 && short.err.contains("16"), "{}", short.err);
    std::fs::write(place.path("token"), "a-token-of-the-gateway\n").expect("written");
    let agent = start_agent(&place, &url, "tenancy_token", &["--client-token-file", "token", "--no-snapshot"]);
    ready(&agent);
    let mut without = Client::new(agent.address(), None);
    assert_eq!(verdict(&mut without, "acme-eu").ok(403).header("x-tenant-reason"), "unauthenticated");
    without.get("/v1/access?tenant=acme-eu").problem(401, "unauthenticated");
    let mut wrong = Client::new(agent.address(), Some("a-token-of-the-gatewaz"));
    verdict(&mut wrong, "acme-eu").ok(403);
    let mut with = Client::new(agent.address(), Some("a-token-of-the-gateway"));
    verdict(&mut with, "acme-eu").ok(200);
    with.get("/v1/access?tenant=acme-eu").ok(200);
    assert!(!agent.errors().contains("a-token-of"), "tokens are not logged");
    agent.stop();
}

#[test]
fn must_serve_tls_to_other_machines() {
    let feed = AccessFeed::start();
    set(&feed, "acme-eu", &[]);
    let place = Place::bare(None);
    let names = ["localhost".to_owned()];
    let rcgen::CertifiedKey { cert, signing_key } = rcgen::generate_simple_self_signed(names).expect("made");
    std::fs::write(place.path("cert.pem"), cert.pem()).expect("written");
    std::fs::write(place.path("key.pem"), signing_key.serialize_pem()).expect("written");
    std::fs::write(place.path("token"), "a-token-of-the-gateway\n").expect("written");
    let url = feed.url();
    let mut command = place.command(&["agent", "--url", &url, "--no-snapshot", "--listen", "0.0.0.0:0"]);
    command.args(["--client-token-file", "token", "--tls-cert", "cert.pem", "--tls-key", "key.pem"]);
    let out = place.path("tls.out");
    let mut child = command.stdout(std::fs::File::create(&out).expect("a log")).spawn().expect("started");
    let port = until("it serves", PATIENCE, || {
        let said = std::fs::read_to_string(&out).expect("its output");
        Some(said.trim_end().split_once("https://0.0.0.0:")?.1.parse::<u16>().expect("a port"))
    });
    // Another test may have installed it already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let trusted = reqwest::Certificate::from_pem(cert.pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([trusted]).no_proxy().build().expect("a client");
    let ask = |token: &str| {
        let request = client.get(format!("https://localhost:{port}/v1/access/auth?tenant=acme-eu")).bearer_auth(token);
        runtime.block_on(async { request.send().await.expect("answered").status().as_u16() })
    };
    until("it answers", PATIENCE, || (ask("a-token-of-the-gateway") == 200).then_some(()));
    assert_eq!(ask("another-token-0123456789"), 403);
    tenancy_testkit::signal(child.id(), tenancy_testkit::Signal::TERM);
    assert!(until("it stops", PATIENCE, || child.try_wait().expect("waited")).success());
}

#[test]
fn must_serve_on_a_unix_socket_and_remove_it() {
    let feed = AccessFeed::start();
    set(&feed, "acme-eu", &[]);
    let place = Place::bare(None);
    let (path, url) = (place.path("agent.sock"), feed.url());
    let mut command = place.command(&["agent", "--url", &url, "--no-snapshot", "--socket-mode", "600"]);
    command.arg("--listen").arg(format!("unix:{}", path.display()));
    command.stderr(std::fs::File::create(place.path("unix.err")).expect("a log")).stdout(std::process::Stdio::null());
    let mut child = command.spawn().expect("started");
    let ask = || {
        let mut stream = UnixStream::connect(&path).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("set");
        let request = "GET /v1/access/auth HTTP/1.1\r\nhost: acme-eu.example.com\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).ok()?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).ok()?;
        answer.starts_with("HTTP/1.1 200").then_some(answer)
    };
    let answer = until("it answers", PATIENCE, ask);
    assert!(answer.contains("x-tenant-id: acme-eu"), "{answer}");
    assert_eq!(std::fs::metadata(&path).expect("there").permissions().mode() & 0o777, 0o600);
    tenancy_testkit::signal(child.id(), tenancy_testkit::Signal::TERM);
    let status = until("it stops", PATIENCE, || child.try_wait().expect("waited"));
    assert!(status.success(), "{}", std::fs::read_to_string(place.path("unix.err")).unwrap_or_default());
    assert!(!path.exists());
}
