//! Idempotency-Key: at one moment, across callers, and over many documents.

use crate::house::{House, On, on_both};
use serde_json::{Value, json};
use std::sync::Arc;
use tenancy_core::apikey::Role;

on_both!(
    requests_of_one_moment_must_have_one_effect,
    a_key_must_belong_to_its_caller,
    what_is_refused_or_changes_nothing_must_not_be_kept,
    a_file_must_go_on_where_it_was,
);

async fn requests_of_one_moment_must_have_one_effect(on: On) {
    let house = Arc::new(House::new(on).await);
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let send = |_| {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let manifest = json!({"organization_id": "acme", "region": "eu-west-1"});
            house.send("POST", "/v1/tenants", &[("idempotency-key", "one")], manifest).await.ok(201)
        })
    };
    let (mut bodies, mut first) = (Vec::new(), 0);
    for sent in (0..16).map(send).collect::<Vec<_>>() {
        let answered = sent.await.expect("an answer");
        first += usize::from(answered.header("idempotency-replayed").is_empty());
        bodies.push(answered.body);
    }
    assert_eq!(first, 1);
    assert!(bodies.iter().all(|body| *body == bodies[0]));
    assert_eq!(house.get("/v1/tenants").await.body["items"].as_array().expect("items").len(), 1);
}

async fn a_key_must_belong_to_its_caller(on: On) {
    let house = House::new(on).await;
    let make = async |role: Role, id: &str| {
        let token = format!("Bearer {}", house.token(role));
        let headers = [("authorization", token.as_str()), ("idempotency-key", "shared")];
        house.send_as_it_is("POST", "/v1/organizations", &headers, json!({"organization_id": id})).await
    };
    make(Role::Admin, "one").await.ok(201);
    make(Role::Operator, "two").await.ok(201);
    assert_eq!(make(Role::Operator, "three").await.ok(422).code(), "idempotency_key_reused");
}

async fn what_is_refused_or_changes_nothing_must_not_be_kept(on: On) {
    let house = House::new(on).await;
    let key = [("idempotency-key", "k"), ("if-match", "*")];
    let manifest = json!({"organization_id": "acme", "region": "eu-west-1", "tenant_id": "acme-eu"});
    house.send("POST", "/v1/tenants", &key, &manifest).await.ok(422);
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.send("POST", "/v1/tenants", &key[..1], &manifest).await.ok(201);
    let other = [("idempotency-key", "other"), ("if-match", "*")];
    house.send("PUT", "/v1/tenants/acme-eu", &other, &manifest).await.ok(200);
    let mut changed = manifest.clone();
    changed["display_name"] = json!("Acme");
    let now = house.send("PUT", "/v1/tenants/acme-eu", &other, &changed).await.ok(200);
    assert_eq!((&now.body["version"], now.header("idempotency-replayed")), (&json!(2), ""));
}

async fn a_file_must_go_on_where_it_was(on: On) {
    let house = House::new(on).await;
    let file = "kind: Organization\norganization_id: acme\n---\n\
                kind: Tenant\ntenant_id: a1\norganization_id: acme\nregion: eu-west-1\n---\n\
                kind: Tenant\ntenant_id: a2\norganization_id: nobody\nregion: eu-west-1\n";
    let key = [("idempotency-key", "file")];
    let results = |body: &Value| -> Vec<_> {
        body["results"]
            .as_array()
            .expect("lines")
            .iter()
            .map(|line| line["result"].as_str().expect("text").to_owned())
            .collect()
    };
    let first = house.send("POST", "/v1/apply", &key, file).await.ok(200);
    assert_eq!(results(&first.body), ["created", "created", "refused"]);
    assert_eq!(first.body["results"][2]["error"]["code"], "organization_missing");
    house.post("/v1/organizations", json!({"organization_id": "nobody"})).await.ok(201);
    let second = house.send("POST", "/v1/apply", &key, file).await.ok(200);
    assert_eq!(results(&second.body), ["created", "created", "created"]);
    assert_eq!(second.body["results"][1], first.body["results"][1]);
    let other = file.replace("a1", "a3");
    assert_eq!(house.send("POST", "/v1/apply", &key, other.as_str()).await.ok(422).code(), "idempotency_key_reused");
    house.get("/v1/tenants/a3").await.ok(404);
}
