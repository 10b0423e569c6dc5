//! Optimistic concurrency over HTTP.

use super::http::Request;
use super::place::{On, Place, on_both};
use serde_json::json;
use std::sync::Barrier;

on_both!(must_let_one_of_32_writers_win);

const WRITERS: usize = 32;
const ROUNDS: i64 = 4;

fn must_let_one_of_32_writers_win(on: On) {
    let place = Place::new(on);
    let server = place.dev(&[]);
    let mut client = server.client();
    client.post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    let manifest = json!({"tenant_id": "contended", "organization_id": "acme", "region": "eu-west-1"});
    client.post("/v1/tenants", manifest).ok(201);
    for version in 1..=ROUNDS {
        let start = Barrier::new(WRITERS);
        let answers: Vec<_> = std::thread::scope(|scope| {
            let writers: Vec<_> = (0..WRITERS)
                .map(|writer| {
                    let (mut client, start) = (server.client(), &start);
                    let body = json!({"labels": {"winner": format!("{version}-{writer}")}});
                    let request = Request::patch("/v1/tenants/contended", version, body);
                    scope.spawn(move || {
                        // Connect before the race starts.
                        client.get("/v1/whoami").ok(200);
                        start.wait();
                        client.send(&request)
                    })
                })
                .collect();
            writers.into_iter().map(|writer| writer.join().expect("no panic")).collect()
        });
        let won: Vec<_> = (0..WRITERS).filter(|writer| answers[*writer].status == 200).collect();
        assert_eq!(won.len(), 1, "{answers:?}");
        for answer in answers.into_iter().filter(|answer| answer.status != 200) {
            let problem = answer.problem(412, "stale_version").body;
            assert_eq!(problem["current_version"], version + 1);
            let header = format!("If-Match: \"{}\"", version + 1);
            assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(&header)), "{problem}");
        }
        let tenant = client.get("/v1/tenants/contended").ok(200).body;
        let winner = format!("{version}-{}", won[0]);
        assert_eq!((&tenant["version"], &tenant["labels"]["winner"]), (&json!(version + 1), &json!(winner)));
    }
    let updated = client.all("/v1/tenants/contended/audit?event_type=TENANCY_UPDATED");
    let versions: Vec<_> = updated.iter().filter_map(|event| event["payload"]["version"].as_i64()).collect();
    assert_eq!(versions, (2..=ROUNDS + 1).collect::<Vec<_>>());
    server.assert_no_errors();
    server.stop();
}
