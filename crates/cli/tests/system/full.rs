//! A file size limit, which simulates a full disk without root privileges.

use super::agree;
use super::http::Request;
use super::load::{End, Worker, prepare};
use super::place::{On, Place};
use super::server::{PATIENCE, Server, until};
use serde_json::json;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use tenancy_testkit::Chance;

const WORKERS: u64 = 3;

#[test]
fn must_refuse_writes_on_a_full_disk_and_recover() {
    let chance = Chance::new(28);
    let place = Place::new(On::Sqlite);
    // A process that ignores SIGXFSZ gets a write error instead, as from a full disk. Child processes inherit this.
    let mut shell = Command::new("sh");
    let program = env!("CARGO_BIN_EXE_tenancy");
    shell.args(["-c", &format!("trap '' XFSZ; exec {program} serve --listen 127.0.0.1:0")]);
    let mut command = place.like(shell);
    // A short lease, so that jobs that were held during the failure are soon continued.
    command.env("TENANCY_JOBS_LEASE_SECONDS", "2").env("TENANCY_JOBS_HEARTBEAT_SECONDS", "1");
    let server = place.start(command);
    let mut client = server.client();
    prepare(&mut client);
    let mut workers: Vec<_> = (0..WORKERS).map(|number| Worker::new(number, &chance)).collect();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let _end = End(&stop);
        for worker in &mut workers {
            let (mut client, stop) = (server.client(), &stop);
            scope.spawn(move || worker.work(&mut client, stop));
        }
        // First limit: a little space in each file. Second limit: none, not even for a line of the server's log.
        let mut number = 0;
        for room in ["65536", "0"] {
            limit(&server, room);
            let refused = until("writes are refused", PATIENCE, || {
                number += 1;
                let body = json!({"organization_id": format!("more-{number}")});
                let answer = client.send(&Request::post("/v1/organizations", body));
                (answer.status >= 500).then_some(answer)
            });
            refused.problem(503, "unavailable");
            // Reads still succeed.
            client.get("/v1/tenants/counter").ok(200);
            client.get("/healthz").ok(200);
            limit(&server, "unlimited");
            until("writes succeed again", PATIENCE, || {
                let label = json!({"labels": {"room": room}});
                let patch = Request::new("PATCH", "/v1/organizations/acme").header("if-match", "*");
                let patch = Request { body: label.to_string(), ..patch };
                (client.send(&patch).status == 200).then_some(())
            });
        }
    });
    for worker in &mut workers {
        worker.settle(&mut client);
        let odd = worker.failures.iter().find(|failure| !failure.contains("unavailable"));
        assert!(odd.is_none(), "{odd:?}");
    }
    println!("{} changes were refused", workers.iter().map(|worker| worker.failures.len()).sum::<usize>());
    agree::at_rest(&mut client);
    agree::whole(&mut client, &workers);
    server.stop();
    // The data on disk is consistent too.
    let again = place.serve();
    agree::log_and_record_agree(&mut again.client());
    again.stop();
}

/// Sets the maximum size of a file of the server, in bytes.
fn limit(server: &Server, bytes: &str) {
    let pid = server.pid().to_string();
    let done = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={bytes}:unlimited")]).output();
    let done = done.expect("prlimit (Debian: util-linux)");
    assert!(done.status.success(), "{done:?}");
}
