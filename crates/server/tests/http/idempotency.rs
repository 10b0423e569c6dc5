//! Idempotency-Key: simultaneous requests, several callers, and several documents.

use crate::house::{House, On, on_both};
use jiff::SignedDuration;
use serde_json::{Value, json};
use std::sync::Arc;
use tenancy_core::actor::Actor;
use tenancy_core::apikey::Role;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::KeyId;
use tenancy_core::rules::organizations::{OrganizationManifest, create};
use tenancy_server::answer::Answer;
use tenancy_server::idempotency::IdempotencyKey;
use tenancy_server::tenancy::fresh_correlation_id;
use tenancy_server::token::token_digest;

on_both!(
    simultaneous_requests_must_have_one_effect,
    the_effect_of_the_first_request_must_not_refuse_simultaneous_ones,
    a_purge_must_erase_the_answers_about_its_tenant,
    a_key_must_belong_to_its_caller,
    what_is_refused_must_not_be_kept,
    what_changed_nothing_must_not_change_anything_when_it_is_sent_again,
    simultaneous_requests_that_change_nothing_must_have_one_answer,
    nothing_must_be_kept_in_the_name_of_a_key_that_is_revoked,
    a_file_must_go_on_where_it_was,
    files_of_other_documents_under_one_key_must_be_refused,
    simultaneous_files_must_have_one_effect,
    an_expired_answer_must_not_be_replayed,
    a_time_that_has_passed_since_must_not_refuse_what_was_answered,
);

async fn simultaneous_requests_must_have_one_effect(on: On) {
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

/// The effect of the first request makes the decisions of the others fail: the id is taken, the version changed, the
/// hold released.
async fn the_effect_of_the_first_request_must_not_refuse_simultaneous_ones(on: On) {
    let house = Arc::new(House::new(on).await);
    house.furnish().await;
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    let manifest = json!({"tenant_id": "acme-uk", "organization_id": "acme", "region": "eu-west-1"});
    for (method, path, body) in [
        ("POST", "/v1/tenants", manifest),
        ("PATCH", "/v1/tenants/acme-eu", json!({"display_name": "Acme of Europe", "version": 1})),
        ("POST", "/v1/tenants/acme-eu/activate", json!({"hold": "billing"})),
    ] {
        let sent = (0..12).map(|_| {
            let (house, body) = (Arc::clone(&house), body.clone());
            tokio::spawn(async move { house.send(method, path, &[("idempotency-key", path)], body).await })
        });
        let mut answers = Vec::new();
        for sent in sent.collect::<Vec<_>>() {
            let answered = sent.await.expect("an answer");
            answers.push((answered.status.as_u16(), answered.body));
        }
        assert!(
            answers[0].0 < 300 && answers.iter().all(|answer| *answer == answers[0]),
            "{method} {path}: {answers:#?}"
        );
    }
}

async fn a_purge_must_erase_the_answers_about_its_tenant(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let send = async |method: &str, path: &str, key: &str, body: Value| {
        let headers = [("idempotency-key", key), ("if-match", "*")];
        let headers = if method == "POST" { &headers[..1] } else { &headers };
        house.send(method, path, headers, body).await
    };
    let path = "/v1/tenants/acme-eu";
    let named = json!({"display_name": "Zoe Zimmermann", "policies": {"purgeAfterDays": 0}});
    send("PATCH", path, "changed", named.clone()).await.ok(200);
    send("PATCH", path, "unchanged", named.clone()).await.ok(200);
    let other = json!({"organization_id": "other", "display_name": "Other"});
    send("POST", "/v1/organizations", "other", other.clone()).await.ok(201);
    send("POST", &format!("{path}/suspend"), "suspended", json!({})).await.ok(202);
    house.work().await;
    send("DELETE", path, "deleted", json!({})).await.ok(202);
    house.work().await;
    send("PATCH", path, "unchanged", named.clone()).await.ok(200);
    let purge = format!("{path}/purge");
    send("POST", &purge, "purged", json!({})).await.ok(202);
    house.work().await;
    for key in ["changed", "unchanged"] {
        let erased = send("PATCH", path, key, named.clone()).await.ok(410);
        assert_eq!(erased.code(), "answer_erased", "{key}");
        assert_eq!(send("PATCH", path, key, json!({})).await.ok(422).code(), "idempotency_key_reused");
    }
    let again = send("POST", &purge, "purged", json!({})).await;
    assert_eq!(again.ok(410).code(), "answer_erased", "it was carried out");
    send("POST", "/v1/organizations", "other", other).await.ok(201);
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

async fn what_is_refused_must_not_be_kept(on: On) {
    let house = House::new(on).await;
    let key = [("idempotency-key", "k")];
    let manifest = json!({"organization_id": "acme", "region": "eu-west-1", "tenant_id": "acme-eu"});
    house.send("POST", "/v1/tenants", &key, &manifest).await.ok(422);
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.send("POST", "/v1/tenants", &key, &manifest).await.ok(201);
}

async fn what_changed_nothing_must_not_change_anything_when_it_is_sent_again(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let billing = json!({"hold": "billing"});
    house.post("/v1/tenants/acme-eu/suspend", &billing).await.ok(202);
    house.work().await;
    let suspend =
        async |body: &Value| house.send("POST", "/v1/tenants/acme-eu/suspend", &[("idempotency-key", "k")], body).await;
    let first = suspend(&billing).await.ok(202);
    assert_eq!(first.header("idempotency-replayed"), "");
    house.post("/v1/tenants/acme-eu/activate", &billing).await.ok(202);
    house.work().await;
    let again = suspend(&billing).await.ok(202);
    assert_eq!((&again.body, again.header("etag")), (&first.body, first.header("etag")));
    assert_eq!(again.header("idempotency-replayed"), "true");
    let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!((&tenant["state"], &tenant["holds"]), (&json!("Active"), &json!([])));
    assert_eq!(suspend(&json!({"hold": "abuse"})).await.ok(422).code(), "idempotency_key_reused");
}

async fn simultaneous_requests_that_change_nothing_must_have_one_answer(on: On) {
    let house = Arc::new(House::new(on).await);
    house.furnish().await;
    let send = |n: usize| {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let (any, patch) = (("if-match", "*"), json!({"labels": {"n": n.to_string()}}));
            if n % 2 == 1 {
                house.send("PATCH", "/v1/tenants/acme-eu", &[any], patch).await.ok(200);
                return None;
            }
            let same = json!({"region": "eu-west-1"});
            Some(house.send("PATCH", "/v1/tenants/acme-eu", &[any, ("idempotency-key", "one")], same).await.ok(200))
        })
    };
    let (mut bodies, mut first) = (Vec::new(), 0);
    for sent in (0..24).map(send).collect::<Vec<_>>() {
        let Some(answered) = sent.await.expect("an answer") else { continue };
        first += usize::from(answered.header("idempotency-replayed").is_empty());
        bodies.push((answered.header("etag").to_owned(), answered.body));
    }
    assert_eq!((bodies.len(), first), (12, 1));
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:#?}");
}

/// The requests start before the server knows that the key is revoked.
async fn nothing_must_be_kept_in_the_name_of_a_key_that_is_revoked(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let made = house.post("/v1/keys", json!({"name": "gateway", "role": "admin"})).await.ok(201).body;
    let (key_id, token) = (made["key_id"].as_str().expect("an id"), made["token"].as_str().expect("a token"));
    let digest = token_digest(token);
    let tenancy = &house.server.tenancy;
    let good = Arc::new(tenancy.store.api_key(&digest).await.expect("readable").expect("there"));
    let same = "{\"display_name\": null}";
    let ask = async |path: &str, key: &str| {
        let authorization = format!("Bearer {token}");
        let headers = [("authorization", authorization.as_str()), ("if-match", "*"), ("idempotency-key", key)];
        house.send_as_it_is("PATCH", path, &headers, same).await
    };
    let kept = async |path: &str, key: &str| {
        let key = IdempotencyKey::new(&good.key_id, key.as_bytes(), "PATCH", path, same.as_bytes()).expect("a key");
        key.first_answer(tenancy).await.expect("readable").is_some()
    };
    let path = "/v1/organizations/acme";
    ask(path, "good").await.ok(200);
    assert!(kept(path, "good").await);
    house.send("DELETE", &format!("/v1/keys/{key_id}"), &[], ()).await.ok(200);
    house.server.authentication.remember(digest, Arc::clone(&good));
    assert_eq!(ask(path, "late").await.ok(401).code(), "unauthenticated");
    assert!(!kept(path, "late").await);
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
    let first = house.send("POST", "/v1/apply?partial=true", &key, file).await.ok(200);
    assert_eq!(results(&first.body), ["created", "created", "refused"]);
    assert_eq!(first.body["results"][2]["error"]["code"], "organization_missing");
    house.post("/v1/organizations", json!({"organization_id": "nobody"})).await.ok(201);
    let second = house.send("POST", "/v1/apply?partial=true", &key, file).await.ok(200);
    assert_eq!(results(&second.body), ["created", "created", "created"]);
    assert_eq!(second.body["results"][1], first.body["results"][1]);
    let other = file.replace("a1", "a3");
    let reused = house.send("POST", "/v1/apply?partial=true", &key, other.as_str()).await.ok(422);
    assert_eq!(reused.code(), "idempotency_key_reused");
    house.get("/v1/tenants/a3").await.ok(404);
}

async fn files_of_other_documents_under_one_key_must_be_refused(on: On) {
    let house = House::new(on).await;
    let file = |ids: &[&str]| {
        let one = |id: &&str| format!("kind: Organization\norganization_id: {id}\n");
        ids.iter().map(one).collect::<Vec<_>>().join("---\n")
    };
    let key = [("idempotency-key", "file")];
    let apply = async |ids: &[&str]| house.send("POST", "/v1/apply", &key, file(ids).as_str()).await;
    // Nothing of the first document is written, so the second document starts the request.
    house.post("/v1/organizations", json!({"organization_id": "first"})).await.ok(201);
    let made = apply(&["first", "second", "third"]).await.ok(200).body;
    assert_eq!(apply(&["fourth"]).await.ok(422).code(), "idempotency_key_reused");
    assert_eq!(apply(&["first"]).await.ok(422).code(), "idempotency_key_reused");
    house.get("/v1/organizations/fourth").await.ok(404);
    let events = house.events("").await.len();
    assert_eq!(apply(&["first", "second", "third"]).await.ok(200).body, made);
    assert_eq!(house.events("").await.len(), events);
}

async fn simultaneous_files_must_have_one_effect(on: On) {
    let house = Arc::new(House::new(on).await);
    let send = |at: usize| {
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            let (one, other) = [("a1", "a2"), ("b1", "b2")][at % 2];
            let file = format!(
                "kind: Organization\norganization_id: {one}\n---\nkind: Organization\norganization_id: {other}\n"
            );
            loop {
                let answered = house.send("POST", "/v1/apply", &[("idempotency-key", "one")], file.as_str()).await;
                // A key applies one file at a time.
                if answered.status != 429 {
                    return (at % 2, answered);
                }
                tokio::task::yield_now().await;
            }
        })
    };
    let mut answers = [Vec::new(), Vec::new()];
    for sent in (0..16).map(send).collect::<Vec<_>>() {
        let (file, answered) = sent.await.expect("an answer");
        answers[file].push((answered.status.as_u16(), answered.body));
    }
    let (won, lost) = if answers[0][0].0 == 200 { (&answers[0], &answers[1]) } else { (&answers[1], &answers[0]) };
    assert!(won.iter().all(|answer| answer.0 == 200 && answer.1 == won[0].1), "{won:#?}");
    assert!(lost.iter().all(|answer| answer.0 == 422 && answer.1["code"] == "idempotency_key_reused"), "{lost:#?}");
    assert_eq!(house.get("/v1/organizations").await.body["items"].as_array().expect("items").len(), 2);
}

/// Creates an organization as of `ago`, under the admin's Idempotency-Key `key`, with this request.
async fn made(house: &House, ago: SignedDuration, key: &str, request: &Value) {
    let tenancy = &house.server.tenancy;
    let keys = house.get("/v1/keys").await.ok(200).body;
    let admin = keys["items"].as_array().expect("keys").iter().find(|key| key["role"] == "admin").expect("an admin");
    let owner = KeyId::known(admin["key_id"].as_str().expect("an id"));
    let then = tenancy.store.now() - ago;
    let mut context = DecisionContext::new(then, [7; 32], Actor::user(&owner), fresh_correlation_id());
    let (manifest, _) = OrganizationManifest::parse(&tenancy.declared, request).expect("good");
    let mut changes = create(&manifest, &mut context).expect("made").changes.expect("something changes");
    let answer = Answer { status: 201, body: json!({"of": "then"}).to_string(), ..Answer::default() };
    let body = request.to_string();
    let key = IdempotencyKey::new(&owner, key.as_bytes(), "POST", "/v1/organizations", body.as_bytes());
    changes.store_answer(key.expect("a key").record(&answer, then));
    tenancy.store.commit(changes).await.expect("committed");
}

/// The expired record is still in the database.
async fn an_expired_answer_must_not_be_replayed(on: On) {
    let day = SignedDuration::from_hours(24);
    let [then, now] = ["then", "now"].map(|id| json!({"organization_id": id}));
    for (ago, kept) in [(day - SignedDuration::from_mins(1), true), (day, false)] {
        let house = House::new(on).await;
        made(&house, ago, "key", &then).await;
        let send =
            async |body: &Value| house.send("POST", "/v1/organizations", &[("idempotency-key", "key")], body).await;
        let (again, other) = (send(&then).await, send(&now).await);
        if kept {
            assert_eq!(again.ok(201).body, json!({"of": "then"}));
            assert_eq!(other.ok(422).code(), "idempotency_key_reused");
        } else {
            assert_eq!(again.ok(409).code(), "organization_exists", "it is asked for anew");
            assert_eq!(other.ok(201).header("idempotency-replayed"), "");
            let replayed = send(&now).await.ok(201);
            assert_eq!(
                (replayed.header("idempotency-replayed"), &replayed.body["organization_id"]),
                ("true", &json!("now"))
            );
        }
    }
}

async fn a_time_that_has_passed_since_must_not_refuse_what_was_answered(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let store = &house.server.tenancy.store;
    let soon = store.now() + SignedDuration::from_mins(1);
    let requests = [
        ("/v1/tenants/acme-eu/suspend", json!({"hold": "billing", "until": soon}), 202),
        ("/v1/organizations/acme/suspend", json!({"hold": "billing", "until": soon}), 200),
        ("/v1/keys", json!({"name": "for a minute", "role": "viewer", "expires_at": soon}), 201),
    ];
    let mut firsts = Vec::new();
    for (path, body, status) in &requests {
        firsts.push(house.send("POST", path, &[("idempotency-key", path)], body.clone()).await.ok(*status).body);
    }
    store.shift_clock(std::time::Duration::from_secs(120));
    for ((path, body, status), first) in requests.iter().zip(&mut firsts) {
        let again = house.send("POST", path, &[("idempotency-key", path)], body.clone()).await.ok(*status);
        assert_eq!(again.header("idempotency-replayed"), "true", "{path}");
        // Only the first answer contains the token.
        first.as_object_mut().expect("an object").remove("token");
        assert_eq!(again.body, *first, "{path}");
        let late = house.send("POST", path, &[("idempotency-key", "late")], body.clone()).await;
        assert_eq!(late.status, 422, "{path}: {}", late.body);
    }
}
