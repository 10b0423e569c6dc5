//! Refused calls are in the audit log; the last admin key; what callers that may not read keys learn of keys.

use crate::house::{House, On, on_both};
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use std::time::Duration;
use tenancy_core::apikey::Role;
use tenancy_server::http::peer::Peer;
use tenancy_server::refusals;
use tower::ServiceExt as _;

on_both!(
    refused_calls_must_be_in_the_audit_log_with_key_and_peer_and_without_the_token,
    a_flood_of_bad_tokens_must_leave_a_bounded_number_of_events,
    a_key_of_two_seconds_must_make_no_key_that_lives_longer,
    the_last_admin_key_must_be_revoked_only_if_it_is_confirmed,
    two_admins_that_revoke_each_other_at_once_must_leave_one,
    ids_and_roles_of_keys_must_be_shown_only_to_who_may_read_keys,
);

fn bearer(made: &Value) -> String {
    format!("Bearer {}", made["token"].as_str().expect("a token"))
}

fn path(made: &Value) -> String {
    format!("/v1/keys/{}", made["key_id"].as_str().expect("an id"))
}

async fn ask(house: &House, token: &str, method: &str, path: &str, body: Value) -> crate::house::Answered {
    let headers = [("authorization", token), ("content-type", "application/json")];
    house.send_as_it_is(method, path, &headers, body).await
}

async fn knock(house: &House, peer: &str, method: &str, path: &str, token: &str) -> u16 {
    let request = Request::builder().method(method).uri(path).header("authorization", token);
    let request = request.extension(Peer(peer.parse().expect("an address"))).body(Body::empty()).expect("a request");
    house.router.clone().oneshot(request).await.expect("an answer").status().as_u16()
}

async fn refused_calls_must_be_in_the_audit_log_with_key_and_peer_and_without_the_token(on: On) {
    let house = House::new(on).await;
    let viewer = house.post("/v1/keys", json!({"name": "grafana", "role": "viewer"})).await.ok(201).body;
    let gone = house.post("/v1/keys", json!({"name": "gone", "role": "viewer"})).await.ok(201).body;
    house.send("DELETE", &path(&gone), &[], ()).await.ok(200);
    for _ in 0..3 {
        assert_eq!(knock(&house, "192.0.2.7", "GET", "/v1/tenants/acme", "Bearer tenancy_guessed").await, 401);
    }
    assert_eq!(knock(&house, "192.0.2.8", "GET", "/v1/tenants", &bearer(&gone)).await, 401);
    assert_eq!(knock(&house, "2001:db8::9", "POST", "/v1/keys", &bearer(&viewer)).await, 403);
    // This one is let in by its role, and refused by the rule.
    let short = house.server.tenancy.store.now() + Duration::from_secs(60);
    let admin = json!({"name": "short", "role": "admin", "expires_at": short});
    let admin = house.post("/v1/keys", admin).await.ok(201).body;
    let later = json!({"name": "later", "role": "viewer", "expires_at": short + Duration::from_secs(60)});
    ask(&house, &bearer(&admin), "POST", "/v1/keys", later).await.ok(403);
    house.get("/v1/tenants/nobody").await.ok(404);

    assert!(house.events("event_type=ACCESS_REFUSED").await.is_empty(), "a loop records them");
    assert_eq!(refusals::run_once(&house.server.tenancy).await, Ok(4));
    assert_eq!(refusals::run_once(&house.server.tenancy).await, Ok(0));
    let events = house.events("event_type=ACCESS_REFUSED").await;
    let known = |event: &Value| {
        let said = &event["payload"];
        json!([said["method"], said["route"], said["code"], said["count"], said["key_id"], event["private"]["peer"]])
    };
    let expected = json!([
        ["GET", "/v1/tenants/{tenant_id}", "unauthenticated", 3, null, "192.0.2.7"],
        ["GET", "/v1/tenants", "unauthenticated", 1, gone["key_id"], "192.0.2.8"],
        ["POST", "/v1/keys", "forbidden", 1, viewer["key_id"], "2001:db8::9"],
        ["POST", "/v1/keys", "forbidden", 1, admin["key_id"], null],
    ]);
    assert_eq!(Value::Array(events.iter().map(known).collect()), expected);
    assert!(events.iter().all(|event| event["actor"] == "system:gate" && event.get("tenant_id").is_none()));
    let text = Value::Array(events).to_string();
    for token in ["tenancy_guessed", gone["token"].as_str().expect("text"), viewer["token"].as_str().expect("text")] {
        assert!(!text.contains(token));
    }
}

async fn a_flood_of_bad_tokens_must_leave_a_bounded_number_of_events(on: On) {
    let house = House::new(on).await;
    let routes = ["tenants", "jobs", "audit", "keys", "organizations", "whoami", "status", "apply"];
    for n in 0..30 {
        for route in routes {
            for method in ["GET", "POST"] {
                knock(&house, "192.0.2.7", method, &format!("/v1/{route}"), &format!("Bearer {n}")).await;
            }
        }
    }
    let events = refusals::run_once(&house.server.tenancy).await.expect("recorded");
    assert!(events <= 9, "{events}");
    let events = house.events("event_type=ACCESS_REFUSED").await;
    let count: i64 = events.iter().filter_map(|event| event["payload"]["count"].as_i64()).sum();
    // 405 is no refusal of a caller.
    assert!(count >= 30 * 8, "no count is lost: {count}");
}

async fn a_key_of_two_seconds_must_make_no_key_that_lives_longer(on: On) {
    let house = House::new(on).await;
    let end = house.server.tenancy.store.now() + Duration::from_secs(2);
    let short = house.post("/v1/keys", json!({"name": "short", "role": "admin", "expires_at": end})).await.ok(201).body;
    let (token, mut children) = (bearer(&short), Vec::new());
    for (name, expires_at) in [("unsaid", None), ("null", Some(Value::Null)), ("soon", Some(json!(end)))] {
        let mut document = json!({"name": name, "role": "admin"});
        expires_at.into_iter().for_each(|at| document["expires_at"] = at);
        let made = ask(&house, &token, "POST", "/v1/keys", document).await;
        if made.status.as_u16() == 201 {
            assert_eq!(made.body["expires_at"], json!(end), "{name}");
            children.push(made.body);
        } else {
            assert!(matches!(made.status.as_u16(), 403 | 422), "{name}: {:#}", made.body);
        }
    }
    assert!(children.len() >= 2);
    for at in ["2099-01-01T00:00:00Z".to_owned(), (end + Duration::from_secs(1)).to_string()] {
        let document = json!({"name": "longer", "role": "viewer", "expires_at": at});
        ask(&house, &token, "POST", "/v1/keys", document).await.ok(403);
    }
    // A child cannot do it either, and neither can a rotation.
    let child = bearer(&children[0]);
    let grandchild = ask(&house, &child, "POST", "/v1/keys", json!({"name": "grandchild", "role": "admin"})).await;
    assert_eq!(grandchild.ok(201).body["expires_at"], json!(end));
    let rotate = format!("{}/rotate", path(&short));
    let rotated = ask(&house, &child, "POST", &rotate, json!({"overlap_seconds": 86_400})).await.ok(200).body;
    assert_eq!(rotated["expires_at"], json!(end));
    house.server.tenancy.store.shift_clock(Duration::from_secs(2));
    for key in [&short, &rotated, &children[0], &children[1]] {
        ask(&house, &bearer(key), "GET", "/v1/whoami", Value::Null).await.ok(401);
    }
}

async fn the_last_admin_key_must_be_revoked_only_if_it_is_confirmed(on: On) {
    let house = House::new(on).await;
    let own = house.get("/v1/whoami").await.ok(200).body;
    let end = house.server.tenancy.store.now() + Duration::from_secs(60);
    for other in
        [json!({"name": "short", "role": "admin", "expires_at": end}), json!({"name": "ops", "role": "operator"})]
    {
        house.post("/v1/keys", other).await.ok(201);
    }
    let gone = house.post("/v1/keys", json!({"name": "gone", "role": "admin"})).await.ok(201).body;
    house.send("DELETE", &path(&gone), &[], ()).await.ok(200);
    for body in [json!({}), json!({"with_children": true})] {
        let refused = house.send("DELETE", &path(&own), &[], body).await.ok(409);
        assert_eq!(
            (refused.code(), &refused.body["errors"][0]["allow"]),
            ("not_allowed_by_name", &json!("last-admin-key"))
        );
        let detail = refused.body["detail"].as_str().expect("text");
        assert!(detail.contains("tenancy db key") && !detail.contains("destroy"), "{detail}");
        house.get("/v1/whoami").await.ok(200);
    }
    // Another one that its revocation takes with it is no replacement.
    let child = house.post("/v1/keys", json!({"name": "child", "role": "admin"})).await.ok(201).body;
    house.send("DELETE", &path(&own), &[], json!({"with_children": true})).await.ok(409);
    ask(&house, &bearer(&child), "GET", "/v1/whoami", Value::Null).await.ok(200);
    house.send("DELETE", &path(&own), &[], ()).await.ok(200);
    house.get("/v1/whoami").await.ok(401);
    let confirmed = format!("{}?allow=last-admin-key", path(&child));
    ask(&house, &bearer(&child), "DELETE", &path(&child), json!({})).await.ok(409);
    ask(&house, &bearer(&child), "DELETE", &confirmed, json!({})).await.ok(200);
}

async fn two_admins_that_revoke_each_other_at_once_must_leave_one(on: On) {
    let house = House::new(on).await;
    let own = house.get("/v1/whoami").await.ok(200).body;
    for round in 0..5 {
        let admin = json!({"name": format!("admin{round}"), "role": "admin"});
        let second = house.post("/v1/keys", admin).await.ok(201).body;
        let token = bearer(&second);
        let (own_path, second_path) = (path(&own), path(&second));
        let revoke_own = house.send("DELETE", &own_path, &[], ());
        let (first, other) = tokio::join!(revoke_own, ask(&house, &token, "DELETE", &second_path, json!({})));
        assert!(first.status.as_u16() != 200 || other.status.as_u16() != 200, "both are gone");
        if house.get("/v1/whoami").await.status.as_u16() == 401 {
            ask(&house, &token, "GET", "/v1/whoami", Value::Null).await.ok(200);
            break;
        }
    }
}

async fn ids_and_roles_of_keys_must_be_shown_only_to_who_may_read_keys(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.post("/v1/tenants/acme-eu/suspend", json!({"reason": "a test"})).await.ok(202);
    house.post("/v1/keys", json!({"name": "grafana", "role": "viewer"})).await.ok(201);
    let scoped = json!({"name": "portal", "role": "customer", "scope": "organization:acme"});
    let scoped = bearer(&house.post("/v1/keys", scoped).await.ok(201).body);
    ask(&house, &scoped, "PATCH", "/v1/tenants/acme-eu?", json!({})).await;
    refusals::run_once(&house.server.tenancy).await.expect("recorded");
    let patch = [("authorization", scoped.as_str()), ("if-match", "*")];
    house.send_as_it_is("PATCH", "/v1/tenants/acme-eu", &patch, json!({"display_name": "Mine"})).await.ok(200);
    let of = |role: Role| format!("Bearer {}", house.token(role));
    for (token, reads_keys) in [
        (of(Role::Viewer), false),
        (of(Role::Operator), false),
        (scoped.clone(), false),
        (of(Role::Auditor), true),
        (of(Role::Admin), true),
    ] {
        let mut said = String::new();
        for path in ["/v1/audit?limit=500", "/v1/tenants/acme-eu", "/v1/tenants/acme-eu/versions", "/v1/jobs"] {
            // Twice: the second answer can come from the response cache.
            for _ in 0..2 {
                said += &ask(&house, &token, "GET", path, Value::Null).await.ok(200).body.to_string();
            }
        }
        assert_eq!(said.contains("key_"), reads_keys, "{said}");
        assert_eq!(said.contains("\"role\""), reads_keys, "{said}");
        assert!(said.contains("portal"), "the name of a customer's key is shown: {said}");
    }
}
