//! Preconditions of writes: sent once, in a header or in the body.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::{Value, json};
use std::sync::Arc;

on_both!(
    a_delete_must_take_its_version_from_its_body,
    a_header_that_is_given_twice_must_be_refused,
    what_is_to_be_made_must_not_match_a_version,
    one_of_simultaneous_creations_must_win_and_the_others_get_the_answer_of_later_ones,
);

async fn a_delete_must_take_its_version_from_its_body(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.post("/v1/tenants/acme-eu/suspend", ()).await.ok(202);
    house.work().await;
    for (path, done) in [
        ("/v1/tenants/acme-eu/environments/dev?allow=remove-environment", 204),
        ("/v1/tenants/acme-eu", 202),
        ("/v1/organizations/acme", 200),
    ] {
        let version = house.get(path.split('?').next().expect("a path")).await.ok(200).body["version"].clone();
        let delete = async |body: &str| house.send("DELETE", path, &[], body).await;
        delete("").await.ok(428);
        delete("{}").await.ok(428);
        assert_eq!(delete("version").await.ok(400).code(), "malformed", "{path}");
        for (bad, pointer) in [
            (json!({"version": version.to_string()}), "/version"),
            (json!({"version": version, "force": true}), "/force"),
            (json!([]), ""),
        ] {
            let refused = delete(&bad.to_string()).await.ok(422);
            assert_eq!(refused.body["errors"][0]["pointer"], pointer, "{path} {bad}");
        }
        assert_eq!(delete("{\"version\": 999}").await.ok(412).code(), "stale_version", "{path}");
        delete(&json!({"version": version}).to_string()).await.ok(done);
    }
    let made = house.post("/v1/keys", json!({"name": "gateway", "role": "viewer"})).await.ok(201).body;
    let key = format!("/v1/keys/{}", made["key_id"].as_str().expect("an id"));
    house.send("DELETE", &key, &[], json!({"force": true})).await.ok(422);
    house.send("DELETE", &key, &[], ()).await.ok(200);
}

async fn a_header_that_is_given_twice_must_be_refused(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    for (name, one, other) in
        [("if-match", "\"1\"", "\"2\""), ("if-none-match", "*", "*"), ("idempotency-key", "a", "b")]
    {
        let headers = [(name, one), (name, other)];
        let refused = house.send("PUT", "/v1/tenants/acme-eu", &headers, acme_eu()).await.ok(400);
        let detail = refused.body["detail"].as_str().expect("text");
        assert!(detail.to_ascii_lowercase().starts_with(name) && detail.contains("more than once"), "{detail}");
    }
}

async fn what_is_to_be_made_must_not_match_a_version(on: On) {
    let house = House::new(on).await;
    let (organization, tenant) = (json!({"organization_id": "acme"}), acme_eu());
    for (path, body) in [("/v1/organizations", &organization), ("/v1/tenants", &tenant)] {
        for tag in ["*", "\"1\""] {
            let refused = house.send("POST", path, &[("if-match", tag)], body).await.ok(412);
            assert_eq!((refused.code(), refused.body.get("current_version")), ("stale_version", None), "{path}");
            assert!(refused.body["detail"].as_str().is_some_and(|text| text.contains("without If-Match")));
        }
        house.send("POST", path, &[("if-none-match", "*")], body).await.ok(201);
    }
}

async fn one_of_simultaneous_creations_must_win_and_the_others_get_the_answer_of_later_ones(on: On) {
    let house = Arc::new(House::new(on).await);
    let none = [("if-none-match", "*")];
    for (path, body) in [
        ("/v1/organizations/acme", json!({})),
        ("/v1/tenants/acme-eu", acme_eu()),
        ("/v1/tenants/acme-eu/environments/stage", json!({})),
    ] {
        let put = |_| {
            let (house, body) = (Arc::clone(&house), body.clone());
            tokio::spawn(async move { house.send("PUT", path, &none, body).await })
        };
        let mut answers = Vec::new();
        for sent in (0..32).map(put).collect::<Vec<_>>() {
            let answered = sent.await.expect("an answer");
            answers.push((answered.status.as_u16(), told(&answered.body)));
        }
        answers.sort_by_key(|(status, _)| *status);
        let later = house.send("PUT", path, &none, &body).await.ok(412).body;
        assert!(later["detail"].as_str().is_some_and(|text| text.contains("already")), "{later:#}");
        assert_eq!(answers.remove(0).0, 201, "{path}");
        assert!(answers.iter().all(|answer| *answer == (412, told(&later))), "{path}: {answers:#?}");
    }
}

/// Returns the body of a refusal without its correlation id.
fn told(body: &Value) -> Value {
    let mut body = body.clone();
    body.as_object_mut().expect("an object").remove("correlation_id");
    body
}
