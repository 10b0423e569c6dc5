//! Lifecycle of a tenant: registered, held, changed by jobs, purged.

use crate::house::{House, On, on_both};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tenancy_core::job::FailureCode;
use tenancy_server::expiry;
use tenancy_server::provisioner::{Provisioner, StepEnd, StepFailed, StepFuture, Work};

on_both!(
    a_desired_state_must_be_reached_and_recorded,
    a_hold_must_override_the_desired_state_until_it_is_released,
    a_hold_must_end_by_itself,
    a_tenant_must_be_deleted_undeleted_and_purged,
    a_job_that_fails_must_say_where_and_what_to_do,
);

const HOUR: Duration = Duration::from_secs(3600);

fn types(events: &[Value]) -> Vec<&str> {
    events.iter().map(|event| event["event_type"].as_str().expect("text")).collect()
}

async fn a_desired_state_must_be_reached_and_recorded(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!(
        (&tenant["state"], &tenant["open_job"], &tenant["waits_for"]),
        (&json!("Active"), &Value::Null, &Value::Null)
    );
    let log = house.get("/v1/tenants/acme-eu/audit").await.ok(200).body["items"].as_array().expect("items").clone();
    assert_eq!(
        types(&log),
        [
            "TENANCY_REGISTERED",
            "ENVIRONMENT_CREATED",
            "ENVIRONMENT_CREATED",
            "ENVIRONMENT_PROVISIONED",
            "ENVIRONMENT_PROVISIONED",
            "TENANCY_CREATED",
            "TENANCY_ACTIVATION_REQUESTED",
            "TENANCY_ACTIVATED",
        ]
    );
    let jobs = house.get("/v1/tenants/acme-eu/jobs").await.ok(200).body["items"].as_array().expect("items").clone();
    assert_eq!((&jobs[0]["action"], &jobs[1]["action"]), (&json!("activate"), &json!("create")));
    let path = format!("/v1/tenants/acme-eu/jobs/{}", jobs[1]["job_id"].as_str().expect("an id"));
    let create = house.get(&path).await.ok(200).body;
    assert_eq!((&create["state"], &create["progress"]), (&json!("completed"), &json!(1.0)));
    assert!(
        create["logs"]
            .as_str()
            .expect("a log")
            .contains("would provision dev of acme-eu (mt-standard, eu-west-1, shared)")
    );
    assert!(create["steps"].as_array().expect("steps").iter().all(|step| step["state"] == "done"));
}

async fn a_hold_must_override_the_desired_state_until_it_is_released(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let suspended =
        house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing", "reason": "late"})).await.ok(202);
    let job = suspended.body["job"]["job_id"].as_str().expect("a job").to_owned();
    assert_eq!(suspended.header("location"), format!("/v1/tenants/acme-eu/jobs/{job}"));
    house.work().await;
    let ended = house.get(&format!("/v1/tenants/acme-eu/jobs/{job}?wait_seconds=5")).await.ok(200).body;
    assert_eq!(ended["state"], "completed");
    let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!((&tenant["state"], &tenant["version"]), (&json!("Suspended"), &json!(1)));
    assert_eq!(tenant["waits_for"], "held by billing");
    assert_eq!((&tenant["holds"][0]["hold"], &tenant["holds"][0]["reason"]), (&json!("billing"), &json!("late")));
    let refused = house.post("/v1/tenants/acme-eu/activate", ()).await.ok(409);
    assert!(refused.body["detail"].as_str().expect("text").contains("billing"), "{:#}", refused.body);
    house.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).await.ok(202);
    house.work().await;
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Active");
}

async fn a_hold_must_end_by_itself(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let store = &house.server.tenancy.store;
    let until = store.now() + HOUR;
    house.post("/v1/tenants/acme-eu/suspend", json!({"until": until})).await.ok(202);
    house.work().await;
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Suspended");
    assert_eq!(expiry::release_holds(&house.server.tenancy).await.expect("looked"), 0);
    store.shift_clock(HOUR);
    assert_eq!(expiry::release_holds(&house.server.tenancy).await.expect("released"), 1);
    house.work().await;
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Active");
    let released = house.events("event_type=TENANCY_HOLD_RELEASED").await;
    assert_eq!(released[0]["actor"], "system:holds");
}

async fn a_tenant_must_be_deleted_undeleted_and_purged(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let any = [("if-match", "*")];
    house.send("PATCH", "/v1/tenants/acme-eu", &any, json!({"policies": {"purgeAfterDays": 0}})).await.ok(200);
    assert_eq!(house.send("DELETE", "/v1/tenants/acme-eu", &any, ()).await.ok(409).code(), "not_in_this_state");
    house.post("/v1/tenants/acme-eu/suspend", ()).await.ok(202);
    house.work().await;
    house.send("DELETE", "/v1/tenants/acme-eu", &any, ()).await.ok(202);
    house.work().await;
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Archived");
    let refused = house.send("PATCH", "/v1/tenants/acme-eu", &any, json!({"display_name": "x"})).await;
    assert_eq!(refused.ok(409).code(), "not_in_this_state");
    house.post("/v1/tenants/acme-eu/undelete", ()).await.ok(202);
    house.work().await;
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Suspended");
    house.send("DELETE", "/v1/tenants/acme-eu", &any, ()).await.ok(202);
    house.work().await;
    house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
    house.work().await;
    assert!(house.get("/v1/tenants/acme-eu").await.ok(200).body["purged_at"].is_string());
    house.post("/v1/tenants/acme-eu/undelete", ()).await.ok(409);
    let again = json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1"});
    assert_eq!(house.post("/v1/tenants", again).await.ok(409).code(), "tenant_exists");
    assert_eq!(house.get("/v1/organizations/acme").await.body["usage"]["tenants"], 0);
}

/// Provisioner whose first steps fail.
struct Stubborn(AtomicUsize);

impl Provisioner for Stubborn {
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a> {
        let fails = self.0.fetch_sub(1, Ordering::SeqCst) > 0;
        let message = format!("{} has no capacity: add some", work.step);
        let result = if fails {
            Err(StepFailed { code: FailureCode::ProvisionerFailed, message })
        } else {
            Ok(StepEnd::done(work.step, "done"))
        };
        Box::pin(std::future::ready(result))
    }
}

async fn a_job_that_fails_must_say_where_and_what_to_do(on: On) {
    let house = House::with(on, Arc::new(Stubborn(AtomicUsize::new(1)))).await;
    house.furnish().await;
    let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!(tenant["state"], "Draft");
    assert_eq!(tenant["waits_for"], "create, which failed last time: see the error of its last job");
    let jobs = house.get("/v1/jobs?state=failed").await.ok(200).body["items"].as_array().expect("items").clone();
    assert_eq!(
        (&jobs[0]["error_code"], &jobs[0]["error"]),
        (&json!("provisioner_failed"), &json!("provision dev has no capacity: add some"))
    );
    assert_eq!(jobs[0]["steps"][0], json!({"name": "provision dev", "state": "failed"}));
    let failed = house.events("event_type=JOB_FAILED").await;
    assert!(failed[0]["actor"].as_str().expect("text").starts_with("controller:runner-"), "{failed:#?}");
}
