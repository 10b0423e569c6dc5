//! Holds on organizations: all tenants follow, whatever happens at the same time.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Conflict};
use tenancy_core::ids::{CorrelationId, TenantId};
use tenancy_core::job::{FailureCode, Verb};
use tenancy_core::lifecycle::{Situation, next_action};
use tenancy_core::rules::lifecycle::activate;
use tenancy_core::rules::outcome::complete;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::State;
use tenancy_server::config::Jobs;
use tenancy_server::provisioner::{Provisioner, StepEnd, StepFailed, StepFuture, Work};
use tenancy_server::tenancy::RequestContext;
use tenancy_server::{expiry, hold_reconciler};
use tokio::sync::Semaphore;

on_both!(
    a_hold_on_an_organization_must_hold_all_its_tenants_and_no_others,
    a_hold_on_an_organization_must_end_by_itself,
    the_end_of_a_job_that_was_decided_before_a_hold_must_not_outlive_it,
    what_was_decided_under_a_hold_must_not_outlive_its_release,
    a_settling_that_is_cut_off_anywhere_must_go_on_and_do_nothing_twice,
    what_failed_must_be_tried_once_for_a_change,
    tenants_must_come_to_rest_whatever_comes_at_the_same_time,
    a_purge_must_not_begin_while_a_hold_on_the_organization_keeps_the_data,
);

async fn settle(house: &House) -> usize {
    hold_reconciler::run_once(&house.server.tenancy).await.expect("settled")
}

async fn come_to_rest(house: &House) {
    settle(house).await;
    house.work().await;
    assert_eq!(settle(house).await, 0, "all organizations are reconciled");
}

async fn register(house: &House, id: &str, organization: &str, desired: Value) {
    let manifest = json!({"tenant_id": id, "organization_id": organization, "region": "eu-west-1",
                          "desired_state": desired, "environments": [{"name": "prod"}]});
    house.post("/v1/tenants", manifest).await.ok(201);
}

async fn states(house: &House, ids: &[&str]) -> Vec<String> {
    let mut states = Vec::new();
    for id in ids {
        let tenant = house.get(&format!("/v1/tenants/{id}")).await.ok(200).body;
        states.push(tenant["state"].as_str().expect("a state").to_owned());
    }
    states
}

async fn snapshot(house: &House, id: &str) -> TenantSnapshot {
    house.server.tenancy.store.snapshot(&TenantId::known(id)).await.expect("readable").expect("there")
}

async fn commit(house: &House, changes: Option<Changes>) -> Result<(), Error> {
    house.server.tenancy.store.commit(changes.expect("changes")).await.map(drop)
}

fn request() -> RequestContext {
    RequestContext::by_part("test", CorrelationId::known("late"))
}

/// Requests the hold twice: it is placed once and recorded once.
async fn hold_acme_once(house: &House) {
    let before = house.events("").await.len();
    let hold = json!({"hold": "billing", "reason": "unpaid"});
    let held = house.post("/v1/organizations/acme/suspend", &hold).await.ok(200);
    assert_eq!(
        (&held.body["holds"][0]["hold"], &held.body["holds"][0]["reason"]),
        (&json!("billing"), &json!("unpaid"))
    );
    assert!(held.header("etag").starts_with("\"1.2.h"), "{}", held.header("etag"));
    assert_eq!(house.get("/v1/organizations/acme").await.ok(200).body, held.body);
    house.post("/v1/organizations/acme/suspend", &hold).await.ok(200);
    assert_eq!(house.events("").await.len(), before + 1, "requested twice, placed once");
    let placed = house.events("event_type=ORGANIZATION_HOLD_PLACED").await;
    assert_eq!(
        (placed[0]["payload"]["reason"].clone(), &placed[0]["private"]["reason"]),
        (Value::Null, &json!("unpaid"))
    );
}

async fn a_hold_on_an_organization_must_hold_all_its_tenants_and_no_others(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.post("/v1/organizations", json!({"organization_id": "beta"})).await.ok(201);
    register(&house, "acme-draft", "acme", Value::Null).await;
    register(&house, "acme-own", "acme", json!("Active")).await;
    register(&house, "beta-eu", "beta", json!("Active")).await;
    house.work().await;
    house.post("/v1/tenants/acme-own/suspend", json!({"hold": "abuse"})).await.ok(202);
    house.work().await;
    let tenant = house.get("/v1/tenants/acme-eu").await;
    hold_acme_once(&house).await;

    come_to_rest(&house).await;
    let all = ["acme-eu", "acme-draft", "acme-own", "beta-eu"];
    assert_eq!(states(&house, &all).await, ["Suspended", "Draft", "Suspended", "Active"]);
    let now = house.get("/v1/tenants/acme-eu").await.ok(200);
    assert_eq!(now.body["waits_for"], "held by billing on organization acme");
    assert_eq!((&now.body["holds"][0]["organization"], &now.body["version"]), (&json!(true), &tenant.body["version"]));
    let refused = house.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).await.ok(409);
    assert!(refused.body["detail"].as_str().expect("text").contains("billing on organization acme"), "{refused:?}");
    let request = house.events("event_type=TENANCY_SUSPENSION_REQUESTED").await;
    let request = request.iter().find(|event| event["tenant_id"] == "acme-eu").expect("asked for");
    assert_eq!(
        (&request["payload"]["cause"], &request["actor"]),
        (&json!("organization hold"), &json!("system:organization-holds"))
    );
    house.send("PUT", "/v1/tenants/acme-eu", &[("if-match", "*")], acme_eu()).await.ok(200);
    register(&house, "acme-new", "acme", json!("Active")).await;
    house.work().await;
    assert_eq!(states(&house, &["acme-eu", "acme-new"]).await, ["Suspended", "Draft"], "a manifest releases no hold");

    house.post("/v1/organizations/acme/activate", ()).await.ok(409);
    let freed = house.post("/v1/organizations/acme/activate", json!({"hold": "billing"})).await.ok(200);
    assert_eq!(freed.body["holds"], json!([]));
    come_to_rest(&house).await;
    let all = ["acme-eu", "acme-draft", "acme-own", "acme-new", "beta-eu"];
    assert_eq!(states(&house, &all).await, ["Active", "Draft", "Suspended", "Active", "Active"]);
    let untouched = house.get("/v1/tenants/beta-eu").await.body["counter"].clone();
    house.post("/v1/organizations/acme/suspend", ()).await.ok(200);
    come_to_rest(&house).await;
    assert_eq!(house.get("/v1/tenants/beta-eu").await.body["counter"], untouched, "only its own tenants are read");
    let gone = json!({"holds": [], "display_name": "Acme", "counter": 4});
    let refused = house.send("PATCH", "/v1/organizations/acme", &[("if-match", "*")], gone).await.ok(422);
    assert_eq!(refused.body["errors"][0]["code"], "read_only");
}

async fn a_hold_on_an_organization_must_end_by_itself(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let (store, hour) = (&house.server.tenancy.store, Duration::from_secs(3600));
    house.post("/v1/organizations/acme/suspend", json!({"until": store.now() + hour})).await.ok(200);
    come_to_rest(&house).await;
    assert_eq!(states(&house, &["acme-eu"]).await, ["Suspended"]);
    assert_eq!(expiry::release_holds(&house.server.tenancy).await.expect("looked"), 0);
    store.shift_clock(hour);
    assert_eq!(expiry::release_holds(&house.server.tenancy).await.expect("released"), 1);
    assert_eq!(expiry::release_holds(&house.server.tenancy).await.expect("looked"), 0);
    come_to_rest(&house).await;
    assert_eq!(states(&house, &["acme-eu"]).await, ["Active"]);
    assert_eq!(house.events("event_type=ORGANIZATION_HOLD_RELEASED").await[0]["actor"], "system:holds");
}

/// A tenant with an activation in progress, and the end of that activation as decided before a hold is placed.
async fn about_to_be_active(on: On) -> (House, Option<Changes>) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    register(&house, "t-1", "acme", json!("Active")).await;
    assert_eq!(house.runner.run_once().await.expect("created"), 1);
    let claimed = house.server.tenancy.store.claim("a test", 1, Duration::from_secs(60)).await.expect("claimed");
    let (before, context) =
        (snapshot(&house, "t-1").await, &mut house.server.tenancy.context(&request()).expect("a moment"));
    let ended = complete(&house.server.tenancy.declared, &before, &claimed[0], context).expect("decided");
    assert_eq!((ended.snapshot.tenant.facts.state, &ended.snapshot.open_job), (State::Active, &None));
    house.post("/v1/organizations/acme/suspend", ()).await.ok(200);
    (house, ended.changes)
}

async fn the_end_of_a_job_that_was_decided_before_a_hold_must_not_outlive_it(on: On) {
    // Committed before the reconciler reads the tenants: the decision missed the hold, and the reconciler corrects it.
    let (house, ended) = about_to_be_active(on).await;
    commit(&house, ended).await.expect("a decision made before the hold can be committed after it");
    assert_eq!(snapshot(&house, "t-1").await.open_job, None, "the reconciler has not run yet");
    come_to_rest(&house).await;
    assert_eq!(states(&house, &["t-1"]).await, ["Suspended"]);

    // Committed afterwards: the decision is made again and takes the hold into account.
    let (house, ended) = about_to_be_active(on).await;
    assert_eq!(settle(&house).await, 1);
    let refused = commit(&house, ended).await;
    assert!(matches!(refused, Err(Error::Conflict(Conflict::TenantMoved { .. }))), "{refused:?}");
    let (now, context) =
        (snapshot(&house, "t-1").await, &mut house.server.tenancy.context(&request()).expect("a moment"));
    let job = now.open_job.clone().expect("still open");
    let again = complete(&house.server.tenancy.declared, &now, &job, context).expect("decided");
    commit(&house, again.changes).await.expect("committed");
    come_to_rest(&house).await;
    assert_eq!(states(&house, &["t-1"]).await, ["Suspended"]);
}

/// A tenant that its own hold and a hold on its organization suspend, and the release of its own hold as decided under
/// both.
async fn about_to_be_released(on: On) -> (House, Option<Changes>) {
    let house = House::new(on).await;
    house.furnish().await;
    house.post("/v1/tenants/acme-eu/suspend", ()).await.ok(202);
    house.post("/v1/organizations/acme/suspend", ()).await.ok(200);
    come_to_rest(&house).await;
    let (before, context) =
        (snapshot(&house, "acme-eu").await, &mut house.server.tenancy.context(&request()).expect("one"));
    let released = activate(&house.server.tenancy.declared, &before, None, context).expect("decided");
    assert_eq!(released.snapshot.open_job, None, "the other hold remains");
    house.post("/v1/organizations/acme/activate", ()).await.ok(200);
    (house, released.changes)
}

async fn what_was_decided_under_a_hold_must_not_outlive_its_release(on: On) {
    let (house, released) = about_to_be_released(on).await;
    commit(&house, released).await.expect("a decision made before the release can be committed after it");
    assert_eq!(snapshot(&house, "acme-eu").await.open_job, None, "the reconciler has not run yet");
    come_to_rest(&house).await;
    assert_eq!(states(&house, &["acme-eu"]).await, ["Active"]);

    let (house, released) = about_to_be_released(on).await;
    assert_eq!(settle(&house).await, 1);
    let refused = commit(&house, released).await;
    assert!(matches!(refused, Err(Error::Conflict(Conflict::TenantMoved { .. }))), "{refused:?}");
    house.post("/v1/tenants/acme-eu/activate", ()).await.ok(202);
    come_to_rest(&house).await;
    assert_eq!(states(&house, &["acme-eu"]).await, ["Active"]);
}

async fn a_settling_that_is_cut_off_anywhere_must_go_on_and_do_nothing_twice(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let ids: Vec<_> = (0..40).map(|number| format!("t-{number:02}")).collect();
    for id in &ids {
        register(&house, id, "acme", json!("Active")).await;
    }
    house.work().await;
    house.post("/v1/organizations/acme/suspend", ()).await.ok(200);
    for microseconds in (0..6000).step_by(300) {
        let cut = hold_reconciler::run_once(&house.server.tenancy);
        // A future that is dropped at an await point has the same progress as a process that is killed there.
        let _ = tokio::time::timeout(Duration::from_micros(microseconds), cut).await;
        if microseconds % 900 == 0 {
            house.runner.run_once().await.expect("some jobs");
        }
    }
    come_to_rest(&house).await;
    let ids: Vec<_> = ids.iter().map(String::as_str).collect();
    assert!(states(&house, &ids).await.iter().all(|state| state == "Suspended"));
    assert_eq!(house.events("event_type=TENANCY_SUSPENSION_REQUESTED").await.len(), ids.len(), "each once");
}

/// Provisioner whose close steps fail.
struct NeverCloses;

impl Provisioner for NeverCloses {
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a> {
        let fails = work.step.verb == Verb::Close;
        let message = "the close step fails".to_owned();
        let result = if fails {
            Err(StepFailed { code: FailureCode::ProvisionerFailed, message })
        } else {
            Ok(StepEnd::done(work.step, "done"))
        };
        Box::pin(std::future::ready(result))
    }
}

async fn what_failed_must_be_tried_once_for_a_change(on: On) {
    let house = House::with(on, Arc::new(NeverCloses)).await;
    house.furnish().await;
    for (attempts, kind) in [(1, "billing"), (2, "security")] {
        house.post("/v1/organizations/acme/suspend", json!({"hold": kind})).await.ok(200);
        // As if a process had crashed each time before it could record that all tenants follow.
        let unsettled = house.server.tenancy.store.unsettled_organizations(None, 9).await.expect("readable");
        for _ in 0..3 {
            let since = unsettled[0].updated_at;
            let command = tenancy_server::operations::organization_holds::Settle {
                tenant: TenantId::known("acme-eu"),
                changed_at: since,
            };
            house.server.tenancy.decide_and_commit(&command, &request(), None).await.expect("settled");
            house.work().await;
        }
        come_to_rest(&house).await;
        assert_eq!(house.events("event_type=JOB_FAILED").await.len(), attempts, "{kind}");
    }
    let waits_for = "suspend, which failed last time: see the error of its last job";
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["waits_for"], waits_for);
}

async fn tenants_must_come_to_rest_whatever_comes_at_the_same_time(on: On) {
    let house = Arc::new(House::new(on).await);
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    let mut tasks = tokio::task::JoinSet::new();
    let (settles, works) = (Arc::clone(&house), Arc::clone(&house));
    let background = [
        tokio::spawn(async move {
            loop {
                settle(&settles).await;
                tokio::task::yield_now().await;
            }
        }),
        tokio::spawn(async move {
            loop {
                works.work().await;
                tokio::task::yield_now().await;
            }
        }),
    ];
    // Runs one task for each change of a tenant, concurrently with the holds.
    let changed = Arc::new(Semaphore::new(0));
    for number in 0..6 {
        let (house, changed) = (Arc::clone(&house), Arc::clone(&changed));
        tasks.spawn(async move {
            let id = format!("t-{number}");
            for round in 0..8 {
                match round {
                    0 => register(&house, &id, "acme", json!("Active")).await,
                    // A request that finds an open job or a missing hold is refused; the task continues.
                    1 | 4 | 6 => drop(house.post(&format!("/v1/tenants/{id}/suspend"), ()).await),
                    2 | 5 | 7 => drop(house.post(&format!("/v1/tenants/{id}/activate"), ()).await),
                    _ => {
                        let desired = json!({"desired_state": if number % 2 == 0 { "Active" } else { "Suspended" }});
                        house.send("PATCH", &format!("/v1/tenants/{id}"), &[("if-match", "*")], desired).await.ok(200);
                    }
                }
                changed.add_permits(1);
            }
        });
    }
    let holds = Arc::clone(&house);
    tasks.spawn(async move {
        for round in 0..11 {
            let verb = if round % 2 == 0 { "suspend" } else { "activate" };
            holds.post(&format!("/v1/organizations/acme/{verb}"), json!({"hold": "billing"})).await.ok(200);
            changed.acquire_many(4).await.expect("open").forget();
        }
    });
    while let Some(done) = tasks.join_next().await {
        done.expect("no panic");
    }
    for task in background {
        task.abort();
        let _ = task.await;
    }
    // A job that was claimed by an aborted task is taken over when its lease ends.
    house.server.tenancy.store.shift_clock(Duration::from_secs(Jobs::default().lease_seconds));
    at_rest(&house, &["Draft", "Suspended"]).await;
    house.post("/v1/organizations/acme/activate", json!({"hold": "billing"})).await.ok(200);
    at_rest(&house, &["Active", "Draft", "Suspended"]).await;
}

/// Checks that each tenant has the state that its manifest and the holds ask for.
async fn at_rest(house: &House, among: &[&str]) {
    come_to_rest(house).await;
    for number in 0..6 {
        let snapshot = snapshot(house, &format!("t-{number}")).await;
        assert_eq!(snapshot.open_job, None);
        let next = next_action(Situation::of(&house.server.tenancy.declared, &snapshot));
        assert_eq!(next, None, "{snapshot:#?}");
    }
    for number in 0..6 {
        let tenant = snapshot(house, &format!("t-{number}")).await.tenant;
        assert!(among.contains(&tenant.facts.state.as_str()), "{tenant:?}");
    }
}

async fn a_purge_must_not_begin_while_a_hold_on_the_organization_keeps_the_data(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let any = [("if-match", "*")];
    house.send("PATCH", "/v1/tenants/acme-eu", &any, json!({"policies": {"purgeAfterDays": 0}})).await.ok(200);
    house.post("/v1/tenants/acme-eu/suspend", ()).await.ok(202);
    house.work().await;
    house.send("DELETE", "/v1/tenants/acme-eu", &any, ()).await.ok(202);
    house.work().await;
    house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
    house.post("/v1/organizations/acme/suspend", json!({"hold": "legal", "reason": "a court"})).await.ok(200);
    come_to_rest(&house).await;
    let kept = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!((&kept["purged_at"], &kept["display_name"]), (&Value::Null, &json!("Acme Europe")));
    assert_eq!(house.events("event_type=JOB_FAILED").await[0]["payload"]["code"], "data_held");
    let refused = house.post("/v1/tenants/acme-eu/purge", ()).await.ok(409);
    assert!(refused.body["detail"].as_str().expect("text").contains("legal on organization acme"), "{refused:?}");
    house.post("/v1/organizations/acme/activate", json!({"hold": "legal"})).await.ok(200);
    come_to_rest(&house).await;
    house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
    house.work().await;
    assert!(house.get("/v1/tenants/acme-eu").await.body["purged_at"].is_string());
}
