//! Keys: delegation of rights, rotation, revocation with children, last use.

use crate::house::{Answered, House, On, on_both};
use serde_json::{Value, json};
use std::time::Duration;
use tenancy_server::key_usage;

on_both!(
    no_key_must_make_or_rotate_a_key_that_may_more_or_longer_than_itself,
    a_key_must_name_its_maker_and_be_revoked_with_its_children,
    a_rotated_key_must_take_both_tokens_until_the_overlap_is_over,
    a_request_under_way_must_not_be_refused_because_its_key_is_rotated,
    the_last_use_must_be_written_at_most_once_a_minute,
    every_bad_value_of_a_key_must_be_named,
);

fn bearer(made: &Value) -> String {
    format!("Bearer {}", made["token"].as_str().expect("a token"))
}

async fn make(house: &House, token: &str, document: Value) -> Answered {
    let headers = [("authorization", token), ("content-type", "application/json")];
    house.send_as_it_is("POST", "/v1/keys", &headers, document).await
}

async fn ask(house: &House, token: &str, method: &str, path: &str, document: Value) -> Answered {
    let headers = [("authorization", token), ("content-type", "application/json")];
    house.send_as_it_is(method, path, &headers, document).await
}

async fn no_key_must_make_or_rotate_a_key_that_may_more_or_longer_than_itself(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.post("/v1/organizations", json!({"organization_id": "globex"})).await.ok(201);
    let soon = house.server.tenancy.store.now() + Duration::from_secs(60);
    let short = json!({"name": "short", "role": "admin", "expires_at": soon});
    let short = bearer(&house.post("/v1/keys", short).await.ok(201).body);
    let later = soon + Duration::from_secs(1);
    let refused = make(&house, &short, json!({"name": "longer", "role": "viewer", "expires_at": later})).await;
    assert_eq!(refused.ok(403).code(), "forbidden");
    let child = make(&house, &short, json!({"name": "child", "role": "admin"})).await.ok(201).body;
    assert_eq!(child["expires_at"], json!(soon), "the expiry defaults to that of the caller");

    let forever = house.post("/v1/keys", json!({"name": "forever", "role": "viewer"})).await.ok(201).body;
    let rotate = format!("/v1/keys/{}/rotate", forever["key_id"].as_str().expect("an id"));
    ask(&house, &short, "POST", &rotate, json!({})).await.ok(403);

    let scoped = json!({"name": "acme admin", "role": "admin", "scope": "organization:acme"});
    let scoped = bearer(&house.post("/v1/keys", scoped).await.ok(201).body);
    for (role, scope, status) in [
        ("admin", Some("organization:acme"), 201),
        ("customer", Some("tenant:acme-eu"), 201),
        ("viewer", None, 201),
        ("viewer", Some("all"), 403),
        ("viewer", Some("organization:globex"), 403),
        ("viewer", Some("organization:nobody"), 403),
        ("viewer", Some("tenant:nobody"), 403),
    ] {
        let document = json!({"name": format!("{role} {scope:?}"), "role": role, "scope": scope});
        let made = make(&house, &scoped, document).await.ok(status);
        if status == 201 {
            assert_eq!(
                made.body["scope"],
                scope.unwrap_or("organization:acme"),
                "the scope defaults to that of the caller"
            );
        }
    }
    ask(&house, &scoped, "POST", &rotate, json!({})).await.ok(404);
    ask(&house, &scoped, "DELETE", &rotate.replace("/rotate", ""), json!({})).await.ok(404);
}

async fn a_key_must_name_its_maker_and_be_revoked_with_its_children(on: On) {
    let house = House::new(on).await;
    let admin = |name: &str| json!({"name": name, "role": "admin"});
    let first = house.post("/v1/keys", admin("first")).await.ok(201).body;
    let second = make(&house, &bearer(&first), admin("second")).await.ok(201).body;
    let third = make(&house, &bearer(&second), admin("third")).await.ok(201).body;
    let whoami = house.get("/v1/whoami").await.ok(200).body;
    assert_eq!(first["created_by"], whoami["key_id"]);
    assert_eq!((&second["created_by"], &third["created_by"]), (&first["key_id"], &second["key_id"]));

    let path = |key: &Value| format!("/v1/keys/{}", key["key_id"].as_str().expect("an id"));
    let alone = make(&house, &bearer(&first), admin("alone")).await.ok(201).body;
    house.send("DELETE", &path(&alone), &[], ()).await.ok(200);
    house
        .send("DELETE", &path(&first), &[("x-correlation-id", "all-of-them")], json!({"with_children": true}))
        .await
        .ok(200);
    for key in [&first, &second, &third] {
        ask(&house, &bearer(key), "GET", "/v1/whoami", Value::Null).await.ok(401);
        assert!(house.get(&path(key)).await.ok(200).body["revoked_at"].is_string());
    }
    house.get("/v1/whoami").await.ok(200);
    let events = house.events("correlation_id=all-of-them").await;
    let revoked: Vec<_> = events.iter().map(|event| event["payload"]["key_id"].clone()).collect();
    assert_eq!(revoked, [first["key_id"].clone(), second["key_id"].clone(), third["key_id"].clone()]);
}

async fn a_rotated_key_must_take_both_tokens_until_the_overlap_is_over(on: On) {
    let house = House::new(on).await;
    let made = house.post("/v1/keys", json!({"name": "gateway", "role": "viewer"})).await.ok(201).body;
    let rotate = format!("/v1/keys/{}/rotate", made["key_id"].as_str().expect("an id"));
    let rotated = house.post(&rotate, json!({"overlap_seconds": 60})).await.ok(200).body;
    assert_eq!((&rotated["key_id"], &rotated["name"]), (&made["key_id"], &made["name"]));
    assert!(rotated["previous_expires_at"].is_string());
    for token in [bearer(&made), bearer(&rotated)] {
        let whoami = ask(&house, &token, "GET", "/v1/whoami", Value::Null).await.ok(200).body;
        assert_eq!(whoami["key_id"], made["key_id"]);
    }
    house.server.tenancy.store.shift_clock(Duration::from_secs(61));
    ask(&house, &bearer(&made), "GET", "/v1/whoami", Value::Null).await.ok(401);
    ask(&house, &bearer(&rotated), "GET", "/v1/whoami", Value::Null).await.ok(200);

    let again = house.post(&rotate, json!({"overlap_seconds": 0})).await.ok(200).body;
    assert_eq!(again.get("previous_expires_at"), None);
    ask(&house, &bearer(&rotated), "GET", "/v1/whoami", Value::Null).await.ok(401);
    ask(&house, &bearer(&again), "GET", "/v1/whoami", Value::Null).await.ok(200);
    house.send("DELETE", rotate.trim_end_matches("/rotate"), &[], ()).await.ok(200);
    house.post(&rotate, json!({})).await.ok(409);
}

/// Another process rotates the key. This server is not notified; the commit finds that the key has changed.
async fn a_request_under_way_must_not_be_refused_because_its_key_is_rotated(on: On) {
    let house = House::new(on).await;
    let made = house.post("/v1/keys", json!({"name": "ci", "role": "operator"})).await.ok(201).body;
    let token = bearer(&made);
    ask(&house, &token, "GET", "/v1/whoami", Value::Null).await.ok(200);
    let digest = tenancy_server::token::token_digest(made["token"].as_str().expect("a token"));
    let before = house.server.authentication.remembered(&digest).expect("it was good");
    let rotate = format!("/v1/keys/{}/rotate", made["key_id"].as_str().expect("an id"));
    house.post(&rotate, json!({})).await.ok(200);
    house.server.authentication.remember(digest.clone(), before.clone());
    ask(&house, &token, "POST", "/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);

    // A leaked token is refused at once, even if it is cached.
    house.post(&rotate, json!({"overlap_seconds": 0})).await.ok(200);
    house.server.authentication.remember(digest, before);
    ask(&house, &token, "POST", "/v1/organizations", json!({"organization_id": "beta"})).await.ok(401);
    house.get("/v1/organizations/beta").await.ok(404);
}

async fn the_last_use_must_be_written_at_most_once_a_minute(on: On) {
    let house = House::new(on).await;
    let tenancy = &house.server.tenancy;
    let made = house.post("/v1/keys", json!({"name": "gateway", "role": "viewer"})).await.ok(201).body;
    let path = format!("/v1/keys/{}", made["key_id"].as_str().expect("an id"));
    let used = async || {
        ask(&house, &bearer(&made), "GET", "/v1/whoami", Value::Null).await.ok(200);
        key_usage::run_once(tenancy).await.expect("written");
        house.get(&path).await.ok(200).body
    };
    assert_eq!(house.get(&path).await.ok(200).body.get("last_used_at"), None);
    let first = used().await;
    assert!(first["last_used_at"].is_string());
    tenancy.store.shift_clock(Duration::from_secs(30));
    assert_eq!(used().await["last_used_at"], first["last_used_at"], "not twice a minute");
    tenancy.store.shift_clock(Duration::from_secs(31));
    assert_ne!(used().await["last_used_at"], first["last_used_at"]);
}

async fn every_bad_value_of_a_key_must_be_named(on: On) {
    let house = House::new(on).await;
    let bad = json!({"name": "", "role": "owner", "scope": "acme", "expires_at": "soon", "more": 1});
    let refused = house.post("/v1/keys", bad).await.ok(422);
    let pointers: Vec<_> = refused.body["errors"]
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| error["pointer"].as_str().expect("text").to_owned())
        .collect();
    for pointer in ["/role", "/scope", "/expires_at", "/more"] {
        assert!(pointers.iter().any(|found| found == pointer), "{pointer} of {pointers:?}");
    }
    let refused = house.post("/v1/keys", json!({"name": "x", "role": "customer"})).await.ok(422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/scope");
    let refused =
        house.post("/v1/keys", json!({"name": "x", "role": "viewer", "scope": "tenant:nobody"})).await.ok(422);
    assert_eq!(refused.body["errors"][0]["pointer"], "/scope");
    let rotate = json!({"overlap_seconds": -1, "more": true});
    let made = house.post("/v1/keys", json!({"name": "y", "role": "viewer"})).await.ok(201).body;
    let path = format!("/v1/keys/{}/rotate", made["key_id"].as_str().expect("an id"));
    assert_eq!(house.post(&path, rotate).await.ok(422).body["errors"].as_array().expect("errors").len(), 2);
}
