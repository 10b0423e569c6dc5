//! A user starts on SQLite and moves to PostgreSQL with everything.

use super::agree;
use super::http::{Client, Request};
use super::place::{On, Place, shared};
use super::server::Server;
use serde_json::{Value, json};

/// What a server answers about everything.
fn answers(client: &mut Client) -> Vec<(String, Value)> {
    let lists = ["/v1/tenants", "/v1/organizations", "/v1/audit", "/v1/jobs"];
    let mut all: Vec<_> = lists.iter().map(|path| ((*path).to_owned(), Value::Array(client.all(path)))).collect();
    for path in
        ["/v1/tenants/acme-eu", "/v1/tenants/stripe:cus_1", "/v1/tenants/acme-eu/versions/1", "/v1/organizations/acme"]
    {
        all.push((path.to_owned(), client.get(path).ok(200).body));
    }
    all
}

#[test]
fn must_answer_the_same_on_postgresql_after_a_copy() {
    let place = Place::new(On::Sqlite);
    let server = place.serve();
    let mut client = server.client();
    client.post("/v1/organizations", json!({"organization_id": "acme", "caps": {"tenants": 5}})).ok(201);
    let tenant = json!({
        "tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1", "desired_state": "Active",
        "display_name": "Größe", "aliases": {"stripe": "cus_1"}, "quotas": {"storageGiB": 5},
        "environments": [{"name": "dev"}, {"name": "prod"}],
        "webhooks": [{"name": "main", "url": "https://hooks.example.com/t", "events": ["TENANCY_*"]}],
    });
    let create = Request::post("/v1/tenants", tenant).key("once");
    let first = client.send(&create).ok(201);
    agree::at_rest(&mut client);
    client.send(&Request::patch("/v1/tenants/acme-eu", 1, json!({"labels": {"team": "a"}}))).ok(200);
    client.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing", "reason": "not paid"})).ok(202);
    agree::at_rest(&mut client);
    let before = answers(&mut client);
    let (exported, newest) = (exported(&place, &server), newest(&mut client));

    let database = shared().database("moved");
    let (from, to) = (format!("sqlite:{}", place.path(".tenancy/tenancy.db").display()), database.url());
    let copy = ["db", "copy", "--from", &from, "--to", &to];
    let refused = place.run(&copy);
    assert!(refused.code == 1 && refused.err.contains("is open in process"), "{refused:?}");
    server.stop();
    let refused = place.run(&copy);
    assert!(refused.code == 1 && refused.err.contains("lacks migrations"), "{refused:?}");
    place.good(&["db", "migrate", "--database", &to]);
    let said = place.good(&copy);
    assert!(said.lines().any(|line| line.starts_with("tenants ") && line.ends_with(" 1")), "{said}");
    let refused = place.run(&copy);
    assert!(refused.code == 1 && refused.err.contains("the target is in use"), "{refused:?}");

    // The key's token is valid there, too.
    let moved = place.through(to);
    let server = moved.serve();
    let mut client = server.client();
    assert_eq!(answers(&mut client), before);
    assert_eq!(self::exported(&moved, &server), exported);
    let again = client.send(&create).ok(201);
    assert_eq!((again.header("idempotency-replayed"), &again.body), ("true", &first.body));
    client.post("/v1/organizations", json!({"organization_id": "next"})).ok(201);
    assert_eq!(self::newest(&mut client), newest + 1);
    server.assert_no_errors();
    server.stop();
}

fn exported(place: &Place, server: &Server) -> String {
    let url = format!("http://{}", server.address());
    place.good(&["export", "--url", &url, "--token", server.token()])
}

fn newest(client: &mut Client) -> i64 {
    client.get("/v1/audit?order=desc&limit=1").ok(200).items()[0]["position"].as_i64().expect("a position")
}
