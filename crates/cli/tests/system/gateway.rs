//! `tenancy agent` behind nginx, with the configuration of docs/gateways.md.

use super::http::{Client, Request};
use super::place::{On, Place, on_both};
use super::server::{PATIENCE, Server, until};
use serde_json::json;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, Instant};
use tenancy_testkit::Nginx;

on_both!(must_refuse_a_suspended_tenant_within_milliseconds_and_work_without_the_server);

const HOST: &str = "acme.example.com";
/// Rounds of suspension and activation.
const ROUNDS: usize = 20;
/// The aim on a quiet machine is 250 ms.
const MOST_P95: Duration = Duration::from_secs(2);

/// Time within which the agent saves the last change.
const SAVED_WITHIN: Duration = Duration::from_secs(8);

/// The configuration of the documentation, with the addresses of the test.
pub fn nginx_in_front_of(agent: SocketAddr, application: SocketAddr) -> Nginx {
    let page = include_str!("../../../../docs/gateways.md");
    let block = page.split("```nginx\n").nth(1).and_then(|rest| rest.split("```").next()).expect("the configuration");
    let replaced = |text: &str, from: &str, to: String| {
        assert_eq!(text.matches(from).count(), 1, "{from} occurs once in docs/gateways.md");
        text.replace(from, &to)
    };
    let block = replaced(block, "server 127.0.0.1:7301;", format!("server {agent};"));
    let block = replaced(&block, "server 127.0.0.1:8080;", format!("server {application};"));
    Nginx::start(|port| replaced(&block, "listen 80;", format!("listen 127.0.0.1:{port};")))
}

/// An application that answers with the headers that it gets.
pub fn application() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let mut stream = BufReader::new(stream);
                loop {
                    let (mut head, mut length) = (String::new(), 0);
                    while !head.ends_with("\r\n\r\n") {
                        if stream.read_line(&mut head).unwrap_or(0) == 0 {
                            return;
                        }
                    }
                    for line in head.to_ascii_lowercase().lines() {
                        length = line.strip_prefix("content-length: ").map_or(length, |n| n.parse().expect("a number"));
                    }
                    stream.read_exact(&mut vec![0; length]).expect("the body");
                    let answer = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{head}", head.len());
                    stream.get_mut().write_all(answer.as_bytes()).expect("written");
                }
            });
        }
    });
    address
}

/// Starts an agent.
#[track_caller]
pub fn start_agent(place: &Place, url: &str, token: &str, arguments: &[&str]) -> Server {
    let mut command: Command = place.command(&["agent", "--url", url, "--listen", "127.0.0.1:0"]);
    command.args(arguments).env("TENANCY_TOKEN", token);
    place.start(command)
}

/// Waits until the agent has read the tenants.
pub fn ready(agent: &Server) {
    let mut client = Client::new(agent.address(), None);
    until("the agent is ready", PATIENCE, || (client.get("/readyz").status == 200).then_some(()));
}

/// A client that asks for [`HOST`].
pub struct Visitor(SocketAddr);

impl Visitor {
    pub fn of(nginx: &Nginx) -> Self {
        Self(nginx.address())
    }

    pub fn get(&self, headers: &str) -> (u16, String) {
        let mut stream = std::net::TcpStream::connect(self.0).expect("connected");
        let text = format!("GET /orders?tenant=acme-us HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n{headers}\r\n");
        stream.write_all(text.as_bytes()).expect("written");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("read");
        let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        (status, answer.to_ascii_lowercase())
    }

    pub fn until_status(&self, wanted: u16) -> Duration {
        let begun = Instant::now();
        until(&format!("nginx answers {wanted}"), PATIENCE, || (self.get("").0 == wanted).then_some(()));
        begun.elapsed()
    }
}

fn manifest(rate: i64) -> String {
    json!([
        {"kind": "Organization", "organization_id": "acme"},
        {"kind": "Tenant", "tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1",
         "desired_state": "Active", "quotas": {"apiRateLimit": rate}, "billing": {"plan": "gold"},
         "aliases": {"host": HOST}, "environments": [{"name": "prod"}]},
    ])
    .to_string()
}

fn must_refuse_a_suspended_tenant_within_milliseconds_and_work_without_the_server(on: On) {
    let place = Place::new(on);
    let server = place.serve();
    let mut control = server.client();
    std::fs::write(place.path("acme.json"), manifest(1_000_000)).expect("written");
    let file = place.path("acme.json").to_string_lossy().into_owned();
    let url = format!("http://{}", server.address());
    let applied = place.command(&["apply", "-f", &file, "--url", &url]).env("TENANCY_TOKEN", place.token()).output();
    assert!(applied.as_ref().is_ok_and(|ran| ran.status.success()), "{applied:?}");
    let made = control.post("/v1/keys", json!({"name": "gateway", "role": "gateway"})).ok(201);
    let token = made.body["token"].as_str().expect("a token").to_owned();
    let agent = start_agent(&place, &url, &token, &[]);
    ready(&agent);
    let nginx = nginx_in_front_of(agent.address(), application());
    let visitor = Visitor::of(&nginx);
    visitor.until_status(200);
    must_strip_and_describe(&visitor);

    must_refuse_soon(on, &mut control, &visitor);
    must_limit(&mut control, &visitor);

    // The server is killed: nobody who asks notices.
    server.kill();
    for _ in 0..200 {
        assert_eq!(visitor.get("").0, 200);
    }
    let mut client = Client::new(agent.address(), None);
    let known = until("the answer ages", PATIENCE, || {
        let known = client.get("/v1/access?tenant=acme-eu").ok(200);
        (known.header("age").parse::<u64>().expect("an age") >= 1).then_some(known)
    });
    assert_eq!((&known.body["allowed"], &known.body["plan"]), (&json!(true), &json!("gold")));
    // The server returns, and the agent follows it again.
    let address = server.address().to_string();
    server.assert_no_errors();
    drop(server);
    let server = place.start(place.command(&["serve", "--listen", &address]));
    let mut control = server.client();
    control.post("/v1/tenants/acme-eu/suspend", json!({"hold": "abuse"})).ok(202);
    visitor.until_status(403);
    control.post("/v1/tenants/acme-eu/activate", json!({"hold": "abuse"})).ok(202);
    visitor.until_status(200);
    server.kill();

    // The agent is killed too, and starts again from its file. With another key, nothing is there.
    let state = place.path(".local/state/tenancy");
    until("the file is saved", PATIENCE, || std::fs::read_dir(&state).ok()?.next().map(drop));
    std::thread::sleep(SAVED_WITHIN);
    agent.kill();
    drop(agent);
    let again = start_agent(&place, &url, &token, &[]);
    let verdict = Request::get("/v1/access/auth").header("x-forwarded-host", HOST);
    let answer = Client::new(again.address(), None).send(&verdict).ok(200);
    assert_eq!(answer.header("x-tenant-id"), "acme-eu");
    again.stop();
    let other = start_agent(&place, &url, "tenancy_another", &[]);
    let answer = Client::new(other.address(), None).send(&verdict).ok(403);
    assert_eq!(answer.header("x-tenant-reason"), "unavailable");
    assert_eq!(std::fs::read_dir(&state).expect("read").count(), 0, "the file of the other key is removed");
    other.stop();
    server.assert_no_errors();
}

/// From the answer to a suspension to the first 403.
fn must_refuse_soon(on: On, control: &mut Client, visitor: &Visitor) {
    let mut times: Vec<_> = (0..ROUNDS)
        .map(|round| {
            control
                .post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing", "reason": format!("{round}")}))
                .ok(202);
            let time = visitor.until_status(403);
            control.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).ok(202);
            visitor.until_status(200);
            time
        })
        .collect();
    times.sort();
    let (median, p95) = (times[ROUNDS / 2], times[ROUNDS * 95 / 100 - 1]);
    println!("{on:?}: from the answer to the suspension to the first 403: p50 {median:?}, p95 {p95:?}");
    assert!(p95 <= MOST_P95, "{times:?}");
}

/// Too many requests are a 429 of nginx, with the time to wait.
fn must_limit(control: &mut Client, visitor: &Visitor) {
    let mut set = |rate: i64| {
        let version = control.get("/v1/tenants/acme-eu").ok(200).body["version"].as_i64().expect("a version");
        let quotas = json!({"quotas": {"apiRateLimit": rate}});
        control.send(&Request::patch("/v1/tenants/acme-eu", version, quotas)).ok(200);
    };
    set(1);
    let limited = until("nginx answers 429", PATIENCE, || Some(visitor.get("")).filter(|(status, _)| *status == 429));
    assert!(limited.1.contains("\r\nretry-after: 1\r\n"), "{}", limited.1);
    set(1_000_000);
    visitor.until_status(200);
}

/// What the application gets is from the agent, whatever the client sends.
fn must_strip_and_describe(visitor: &Visitor) {
    let forged = "X-Tenant: acme-us\r\nX-Tenant-Id: acme-us\r\nX-Tenant-Plan: forged\r\nX-Tenant-State: forged\r\n\
        X-Tenant-Region: forged\r\nX-Tenant-Reason: forged\r\nX-Tenant-Stale: forged\r\nX-Tenant-Environment: forged\r\n\
        X-Tenant-Organization: forged\r\nX-Tenant-Version: forged\r\nX-Tenant-Quota-ApiRateLimit: forged\r\n\
        X-Tenant-Quota-StorageGiB: forged\r\nX-Tenant-Quota-ConcurrentJobs: forged\r\nX_Tenant_Id: forged\r\n\
        X-Forwarded-Host: forged\r\nAuthorization: Bearer forged-token-of-the-application\r\n";
    let (status, answer) = visitor.get(forged);
    assert_eq!(status, 200, "{answer}");
    for line in ["x-tenant-id: acme-eu", "x-tenant-plan: gold", "x-tenant-quota-apiratelimit: 1000000"] {
        assert!(answer.lines().any(|found| found == line), "{line} is not in {answer}");
    }
    let forged: Vec<_> = answer.lines().filter(|line| line.contains("tenant") && line.contains("forged")).collect();
    assert!(forged.is_empty() && !answer.contains("\r\nx-tenant: "), "{forged:?} {answer}");
    assert!(answer.contains("authorization: bearer forged-token-of-the-application"), "the application's own header");
}
