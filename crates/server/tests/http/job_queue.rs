//! What is said of jobs that no process has claimed.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::{Value, json};
use std::time::Duration;
use tenancy_core::apikey::Role;

const WHY: &str = "a process: no process works jobs (jobs.enabled)";

async fn a_due_job_that_nobody_claims_must_say_what_it_waits_for(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", acme_eu()).await.ok(201);
    let jobs = house.get("/v1/tenants/acme-eu/jobs").await.ok(200);
    let job = jobs.body["items"][0].clone();
    assert_eq!((&job["state"], &job["waiting_for"]), (&json!("queued"), &Value::Null), "it may be claimed yet");
    let status = house.get("/v1/status").await.ok(200).body;
    assert_eq!((&status["jobs"]["due"], &status["jobs"]["waits_for"]), (&json!(1), &json!([])));
    assert!(status["database"]["bytes"].as_i64() > Some(10_000) && status["version"].is_string(), "{status}");

    house.server.tenancy.store.shift_clock(Duration::from_secs(6));
    let path = format!("/v1/tenants/acme-eu/jobs/{}", job["job_id"].as_str().expect("an id"));
    assert_eq!(house.get(&path).await.ok(200).body["waiting_for"], WHY);
    assert_eq!(house.get("/v1/jobs").await.ok(200).body["items"][0]["waiting_for"], WHY);
    let status = house.get("/v1/status").await.ok(200).body;
    assert_eq!(status["jobs"]["waits_for"], json!([{"condition": WHY, "jobs": 1}]));
    assert_eq!(house.get("/readyz").await.ok(200).body["warnings"], json!([]));

    house.server.tenancy.store.shift_clock(Duration::from_secs(30));
    let warnings = house.get("/readyz").await.ok(200).body["warnings"].to_string();
    assert!(warnings.contains(WHY), "{warnings}");
    house.work().await;
    assert_eq!(house.get("/readyz").await.ok(200).body["warnings"], json!([]));
    assert_eq!(house.get("/v1/status").await.ok(200).body["jobs"]["due"], 0);
}

async fn lists_must_take_several_states_and_the_log_an_actor_and_an_organization(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.work().await;
    house.post("/v1/tenants/acme-eu/suspend", json!({"reason": "r"})).await.ok(202);
    house.work().await;
    for (query, count) in [("state=Active,Suspended", 1), ("state=Active&state=Draft", 0), ("state=Suspended", 1)] {
        let found = house.get(&format!("/v1/tenants?{query}")).await.ok(200).body;
        assert_eq!(found["items"].as_array().map(Vec::len), Some(count), "{query}");
    }
    assert_eq!(house.get("/v1/tenants?state=Active,Nowhere").await.status, 400);
    let jobs = house.get("/v1/jobs?state=completed,queued").await.ok(200).body;
    assert!(jobs["items"].as_array().is_some_and(|jobs| jobs.len() >= 2), "{jobs}");

    let id = house.send_as(Role::Admin, "GET", "/v1/whoami", ()).await.ok(200).body["key_id"].clone();
    let actor = format!("user:{}", id.as_str().expect("an id"));
    let placed = house.events(&format!("event_type=TENANCY_HOLD_PLACED&actor={actor}&organization_id=acme")).await;
    assert_eq!(placed.len(), 1);
    assert!(house.events(&format!("actor={actor}")).await.iter().all(|event| event["actor"] == *actor));
    assert_eq!(house.events("actor=user:key_0").await, [] as [Value; 0]);
    let of_acme = house.events("organization_id=acme").await;
    assert!(!of_acme.is_empty() && of_acme.iter().all(|event| event["tenant_id"] == "acme-eu"), "{of_acme:?}");
    assert_eq!(house.events("organization_id=other").await, [] as [Value; 0]);
}

on_both!(
    a_due_job_that_nobody_claims_must_say_what_it_waits_for,
    lists_must_take_several_states_and_the_log_an_actor_and_an_organization,
);
