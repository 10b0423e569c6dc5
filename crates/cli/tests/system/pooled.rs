//! Behind PgBouncer in transaction mode: no named statements, no start-up options, no LISTEN.

use super::agree;
use super::load::{End, Worker, prepare};
use super::place::{Place, shared};
use super::server::{PATIENCE, until};
use serde_json::json;
use std::sync::atomic::AtomicBool;
use tenancy_testkit::Chance;
use tenancy_testkit::PgBouncer;

const WORKERS: u64 = 4;

#[test]
fn must_serve_through_a_pooler() {
    let chance = Chance::new(6_432);
    let postgres = shared();
    let database = postgres.database("pooled");
    let pooler = PgBouncer::start(postgres);
    let url = format!("{}?pooler=transaction", pooler.url(&database));
    // Everything uses the pooler: migrations, the first key, two servers.
    let place = Place::bare(Some(url));
    let dev = place.dev(&[]);
    // As `dev` has it: a server with another provisioner would leave the jobs on places to `dev`.
    let mut serve = place.serve_with(&[("JOBS_PROVISIONER", "sqlite")]);
    // An Idempotency-Key belongs to the key that sent it.
    serve.set_token(dev.token());
    prepare(&mut dev.client());
    let mut workers: Vec<_> = (0..WORKERS).map(|number| Worker::new(number, &chance)).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&stop);
        for (worker, server) in workers.iter_mut().zip([&dev, &serve].into_iter().cycle()) {
            let (mut client, stop) = (server.client(), &stop);
            scope.spawn(move || worker.work(&mut client, stop));
        }
        let mut client = serve.client();
        until("jobs are done", PATIENCE, || {
            (client.get("/v1/jobs?state=completed").ok(200).items().len() >= 40).then_some(())
        });
    });
    let mut client = serve.client();
    for worker in &mut workers {
        worker.settle(&mut client);
        assert!(worker.failures.is_empty(), "{:?}", worker.failures);
    }
    // No process uses LISTEN, so a process finds the jobs of another one by polling.
    agree::at_rest(&mut client);
    agree::whole(&mut client, &workers);
    assert_eq!(client.get("/readyz").ok(200).body["wrong"], json!([]));
    serve.assert_no_errors();
    dev.assert_no_errors();
    serve.stop();
    dev.stop();
}
