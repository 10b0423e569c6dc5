//! The database becomes unavailable and returns.

use super::agree;
use super::http::{Client, Request};
use super::load::{End, Worker, prepare};
use super::place::{Place, cluster, shared};
use super::server::{PATIENCE, Server, until};
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use tenancy_testkit::Chance;
use tenancy_testkit::Proxy;

const WORKERS: usize = 4;

/// Maximum response time if the database refuses connections, and if it accepts data but does not answer.
const GONE: Duration = Duration::from_secs(12);
const SILENT: Duration = Duration::from_secs(36);

/// Maximum time until everything works again.
const BACK: Duration = Duration::from_secs(10);

#[test]
fn must_report_an_unavailable_database_and_recover() {
    let chance = Chance::new(57);
    let mut postgres = cluster();
    let place = Place::on(&postgres.database("away"));
    let server = place.serve();
    prepare(&mut server.client());
    let mut workers: Vec<_> = (0..WORKERS as u64).map(|number| Worker::new(number, &chance)).collect();
    let refused: Vec<_> = workers.iter().map(|worker| Arc::clone(&worker.refused)).collect();
    let refused = || refused.iter().map(|refused| refused.load(Ordering::Relaxed)).sum::<usize>();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&stop);
        for worker in &mut workers {
            let (mut client, stop) = (server.client(), &stop);
            scope.spawn(move || worker.work(&mut client, stop));
        }
        for crash in [false, true] {
            let mut client = server.client();
            until("there are tenants", PATIENCE, || (client.get("/v1/jobs").ok(200).items().len() > 5).then_some(()));
            if crash {
                postgres.kill()
            } else {
                postgres.stop()
            }
            let before = refused();
            refuses(&server, GONE);
            until("the workers are refused", PATIENCE, || (refused() > before + WORKERS).then_some(()));
            postgres.restart();
            let begun = Instant::now();
            until("it works again", BACK, || (client.get("/v1/tenants").status == 200).then_some(()));
            until("it is ready again", BACK, || (client.get("/readyz").status == 200).then_some(()));
            println!("back within {:?}", begun.elapsed());
        }
    });
    let mut client = server.client();
    for worker in &mut workers {
        worker.settle(&mut client);
        let odd = worker
            .failures
            .iter()
            .find(|failure| !(failure.contains("unavailable") || failure.contains("outcome_unknown")));
        assert!(odd.is_none(), "{odd:?}");
    }
    agree::at_rest(&mut client);
    agree::whole(&mut client, &workers);
    server.stop();
}

#[test]
fn must_answer_while_the_network_drops_all_packets_to_the_database() {
    let postgres = shared();
    let database = postgres.database("swallowed");
    let proxy = Proxy::start(postgres.address());
    let server = Place::on(&database).through(proxy.url(&database));
    let server = server.serve();
    let mut client = server.client();
    client.post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    proxy.freeze(true);
    refuses(&server, SILENT);
    proxy.freeze(false);
    until("it works again", BACK, || (client.get("/v1/tenants").status == 200).then_some(()));
    server.stop();
}

/// Checks that every kind of request is answered in time with 503. An unverified key must not be reported as invalid.
#[track_caller]
fn refuses(server: &Server, within: Duration) {
    let stranger = Client::new(server.address(), Some("tenancy_0000"));
    let tenant = json!({"tenant_id": "late", "organization_id": "acme", "region": "eu-west-1"});
    let asked = [
        (stranger, Request::get("/v1/whoami")),
        (server.client(), Request::get("/v1/whoami")),
        (server.client(), Request::get("/v1/tenants")),
        (server.client(), Request::get("/v1/tenants/counter")),
        (server.client(), Request::post("/v1/tenants", tenant).key("late")),
    ];
    std::thread::scope(|scope| {
        for (mut client, request) in asked {
            scope.spawn(move || {
                let begun = Instant::now();
                let answer = client.send(&request);
                let known = ["unavailable", "outcome_unknown"].into_iter().find(|code| *code == answer.code());
                answer.problem(503, known.unwrap_or("unavailable"));
                assert!(begun.elapsed() < within, "{request:?}: {:?}", begun.elapsed());
            });
        }
        let mut open = Client::new(server.address(), None);
        open.get("/healthz").ok(200);
        let begun = Instant::now();
        let ready = open.get("/readyz").ok(503).body;
        assert_eq!(ready["status"], "not ready");
        assert!(ready["wrong"].to_string().contains("database cannot be reached"), "{ready}");
        assert!(begun.elapsed() < within, "readyz: {:?}", begun.elapsed());
    });
}
