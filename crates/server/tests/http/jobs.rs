//! Jobs: cancelled, interrupted by a hold, failed in every way, and requested again.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::ids::{JobId, TenantId};
use tenancy_core::job::{FailureCode, Job};
use tenancy_server::config::Jobs;
use tenancy_server::jobs::Runner;
use tenancy_server::metrics::Metrics;
use tenancy_server::provisioner::{Provisioner, StepEnd, StepFailed, StepFuture, Work};
use tenancy_store::upkeep::Progress;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

on_both!(
    a_provisioner_that_panics_must_fail_the_job_at_that_step,
    a_job_that_fails_must_keep_what_its_steps_achieved_and_a_retry_not_do_it_again,
    what_a_provisioner_says_must_be_kept_as_every_database_takes_it,
    a_running_job_must_be_cancelled_and_its_worker_write_nothing_more,
    only_a_job_that_is_open_must_be_cancelled,
    a_hold_must_not_wait_for_a_job_that_waits,
    a_job_must_not_begin_to_wait_against_a_hold,
    what_a_job_failed_at_must_be_asked_for_again_though_nothing_changes,
    a_purge_must_leave_the_record_when_a_hold_keeps_it_by_its_end,
);

/// Behavior of the provisioner at a step.
enum Does {
    Says(String),
    Waits(String),
    Fails(String),
    Panics,
    PanicsAtOnce,
    /// Signals the start of the step, then waits for the test.
    IsLet,
}

/// Provisioner that follows the test's instructions for the n-th call.
struct Told {
    does: fn(usize, &str) -> Does,
    asked: AtomicUsize,
    begun: Semaphore,
    let_on: Semaphore,
}

fn told(does: fn(usize, &str) -> Does) -> Arc<Told> {
    Arc::new(Told { does, asked: AtomicUsize::new(0), begun: Semaphore::new(0), let_on: Semaphore::new(0) })
}

fn done() -> Does {
    Does::Says("done".to_owned())
}

impl Provisioner for Told {
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a> {
        let does = (self.does)(self.asked.fetch_add(1, Ordering::SeqCst), &work.step.to_string());
        assert!(!matches!(does, Does::PanicsAtOnce), "as instructed by the test");
        Box::pin(async move {
            match does {
                Does::Says(line) => Ok(StepEnd::done(work.step, line)),
                Does::Waits(what) => Ok(StepEnd::Waits { what, until: Timestamp::MAX }),
                Does::Fails(message) => Err(StepFailed { code: FailureCode::ProvisionerFailed, message }),
                Does::IsLet => {
                    self.begun.add_permits(1);
                    self.let_on.acquire().await.expect("open").forget();
                    Ok(StepEnd::done(work.step, "let"))
                }
                Does::Panics | Does::PanicsAtOnce => panic!("as instructed by the test"),
            }
        })
    }
}

impl Told {
    async fn has_begun(&self) {
        self.begun.acquire().await.expect("open").forget();
    }
}

async fn newest(house: &House) -> Value {
    let jobs = house.get("/v1/tenants/acme-eu/jobs?limit=1").await.ok(200).body;
    let id = jobs["items"][0]["job_id"].as_str().expect("a job").to_owned();
    house.get(&format!("/v1/tenants/acme-eu/jobs/{id}")).await.ok(200).body
}

fn path_of(job: &Value) -> String {
    format!("/v1/tenants/acme-eu/jobs/{}", job["job_id"].as_str().expect("an id"))
}

async fn state(house: &House) -> Value {
    house.get("/v1/tenants/acme-eu").await.ok(200).body["state"].clone()
}

/// Adds an environment, which queues an update.
async fn grow(house: &House) {
    let environments = json!([{"name": "dev", "isolation_level": "shared", "quotas": {"storageGiB": 50},
        "retention_days": 30}, {"name": "stage"}, {"name": "prod", "quotas": {"storageGiB": 400}}]);
    let body = json!({"environments": environments});
    house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], body).await.ok(200);
}

fn worked(house: &House) -> tokio::task::JoinHandle<()> {
    let runner = Arc::clone(&house.runner);
    tokio::spawn(async move { runner.run_once().await.map(drop).expect("worked") })
}

async fn a_provisioner_that_panics_must_fail_the_job_at_that_step(on: On) {
    let provisioner = told(|nth, _| match nth {
        1 => Does::Panics,
        2 => Does::PanicsAtOnce,
        _ => done(),
    });
    let house = House::with(on, provisioner).await;
    house.furnish().await;
    for step in ["provision prod", "provision prod"] {
        let job = newest(&house).await;
        assert_eq!((&job["state"], &job["error_code"]), (&json!("failed"), &json!("panicked")));
        assert!(job["error"].as_str().expect("text").contains(step), "{job:#}");
        let failed = job["steps"].as_array().expect("steps").iter().find(|step| step["state"] == "failed");
        assert_eq!(failed.expect("a step")["name"], step);
        let figures = house.get("/metrics").await.body;
        assert!(figures.as_str().expect("text").contains("tenancy_jobs_running 0"), "{figures}");
        house.post("/v1/tenants/acme-eu/activate", ()).await.ok(202);
        house.work().await;
    }
    assert_eq!(state(&house).await, "Active");
}

/// Panics when its step is dropped, where no code catches the panic.
struct Unready(Semaphore);

struct Panics;

impl Drop for Panics {
    fn drop(&mut self) {
        panic!("as instructed by the test");
    }
}

impl Provisioner for Unready {
    fn step<'a>(&'a self, _work: Work<'a>) -> StepFuture<'a> {
        Box::pin(async move {
            let _panics = Panics;
            self.0.add_permits(1);
            std::future::pending().await
        })
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_in_the_work_on_a_job_must_count_it_as_ended() {
    let house = House::new(On::Sqlite).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", acme_eu()).await.ok(201);
    let (tenancy, unready) = (Arc::clone(&house.server.tenancy), Arc::new(Unready(Semaphore::new(0))));
    let (metrics, stop) = (Arc::new(Metrics::new(&tenancy.commits)), CancellationToken::new());
    let runner = Runner::new(tenancy, unready.clone(), Arc::clone(&metrics), Jobs::default(), stop.clone());
    let running = tokio::spawn(runner.run(Duration::ZERO));
    unready.0.acquire().await.expect("open").forget();
    assert_eq!(metrics.jobs_running.get(), 1);
    stop.cancel();
    running.await.expect("the runner itself goes on");
    assert_eq!(metrics.jobs_running.get(), 0);
    let lost = r#"tenancy_jobs_ended_total{action="create",outcome="lost"} 1"#;
    assert!(metrics.text().contains(lost), "{}", metrics.text());
}

async fn a_job_that_fails_must_keep_what_its_steps_achieved_and_a_retry_not_do_it_again(on: On) {
    let provisioner = told(|nth, _| if nth == 1 { Does::Fails("no capacity".to_owned()) } else { done() });
    let house = House::with(on, provisioner.clone()).await;
    house.furnish().await;
    let failed = newest(&house).await;
    let states: Vec<_> = failed["steps"].as_array().expect("steps").iter().map(|step| step["state"].clone()).collect();
    assert_eq!((&failed["state"], states), (&json!("failed"), vec![json!("done"), json!("failed"), json!("pending")]));
    assert!(failed["logs"].as_str().expect("text").contains("provision dev: done\n"), "{failed:#}");
    let event = house.events("event_type=ENVIRONMENT_PROVISIONED").await[0].clone();
    assert_eq!((&event["payload"]["name"], &event["payload"]["job_id"]), (&json!("dev"), &failed["job_id"]));
    assert!(event["actor"].as_str().expect("text").starts_with("controller:"), "{event:#}");
    let provisioned = async || {
        let tenant = house.server.tenancy.store.snapshot(&TenantId::known("acme-eu")).await.expect("readable");
        let environments = tenant.expect("there").environments.into_iter();
        environments.map(|environment| environment.provisioned_at.is_some()).collect::<Vec<_>>()
    };
    assert_eq!(provisioned().await, [true, false]);

    let again = house.post("/v1/tenants/acme-eu/activate", ()).await.ok(202).body["job"].clone();
    let again = house.get(&path_of(&again)).await.ok(200).body;
    let names: Vec<_> = again["steps"].as_array().expect("steps").iter().map(|step| step["name"].clone()).collect();
    assert_eq!(names, ["provision prod", "record"]);
    house.work().await;
    assert_eq!((provisioned().await, state(&house).await), (vec![true, true], json!("Active")));
    assert_eq!(provisioner.asked.load(Ordering::SeqCst), 2 + 1 + 2, "the two are opened");
}

fn odd(what: &str) -> String {
    format!("{what}\0{}", "ü".repeat(100_000))
}

async fn what_a_provisioner_says_must_be_kept_as_every_database_takes_it(on: On) {
    let provisioner = told(|nth, _| match nth {
        0 => Does::Says(odd("said")),
        1 => Does::Waits(odd("awaited")),
        _ => Does::Fails(odd("failed")),
    });
    let house = House::with(on, provisioner).await;
    house.furnish().await;
    let job = newest(&house).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("queued"), &json!(1)), "it waits");
    let waits = job["waiting_for"].as_str().expect("text").to_owned();
    let log = job["logs"].as_str().expect("text").to_owned();
    assert!(log.contains("provision dev: saidü") && log.contains("waits for awaitedü"), "{log}");
    assert!(waits.starts_with("awaitedü") && waits.len() <= 4096 && log.len() < 9000);
    house.post(&format!("{}/cancel", path_of(&job)), ()).await.ok(200);
    house.post("/v1/tenants/acme-eu/activate", ()).await.ok(202);
    house.work().await;
    let job = newest(&house).await;
    assert_eq!((&job["state"], &job["attempt"]), (&json!("failed"), &json!(1)));
    for text in ["error", "logs"] {
        let text = job[text].as_str().expect("text");
        assert!(text.contains("failedü") && text.len() < odd("failed").len() / 10, "{text}");
    }
}

async fn a_running_job_must_be_cancelled_and_its_worker_write_nothing_more(on: On) {
    let provisioner = told(|nth, _| if nth == 0 { Does::IsLet } else { done() });
    let house = House::with(on, provisioner.clone()).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", acme_eu()).await.ok(201);
    let working = worked(&house);
    provisioner.has_begun().await;
    let running = newest(&house).await;
    let path = format!("{}/cancel", path_of(&running));
    let cancelled = house.post(&path, json!({"reason": "zz-personal"})).await.ok(200).body;
    assert_eq!((&cancelled["state"], &cancelled["error_code"]), (&json!("failed"), &json!("cancelled")));
    assert_eq!(cancelled["job_id"], running["job_id"]);
    let event = house.events("event_type=JOB_CANCELLED").await[0].clone();
    assert_eq!((&event["payload"]["action"], event["payload"].to_string().contains("zz-")), (&json!("create"), false));

    let (store, job) = (&house.server.tenancy.store, job(&house, &running).await);
    let lease = (job.job_id.clone(), job.lease_epoch);
    let progress = Progress { progress: 0.5, steps: job.steps.clone(), log: "too late".to_owned() };
    assert!(!store.progress(&lease, progress).await.expect("asked"));
    let second = Duration::from_secs(1);
    assert_eq!(store.heartbeat(std::slice::from_ref(&lease), second, 5 * second).await.expect("asked"), []);
    let seen = store.snapshot(&job.tenant_id).await.expect("readable").expect("there").tenant;
    assert!(!store.put_aside(&lease, &seen, "nothing", Timestamp::MAX).await.expect("asked"));
    let before = (house.events("").await, newest(&house).await);
    provisioner.let_on.add_permits(1);
    working.await.expect("no panic");
    assert_eq!((house.events("").await, newest(&house).await), before);
    let figures = house.get("/metrics").await.body.as_str().expect("text").to_owned();
    assert!(figures.contains(r#"tenancy_jobs_ended_total{action="create",outcome="cancelled"} 1"#), "{figures}");

    house.post("/v1/tenants/acme-eu/activate", ()).await.ok(202);
    house.work().await;
    assert_eq!(state(&house).await, "Active");
}

async fn job(house: &House, job: &Value) -> Job {
    let id = JobId::known(job["job_id"].as_str().expect("an id"));
    house.server.tenancy.store.job(&TenantId::known("acme-eu"), &id).await.expect("readable").expect("there")
}

async fn only_a_job_that_is_open_must_be_cancelled(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let completed = format!("{}/cancel", path_of(&newest(&house).await));
    let before = house.events("").await.len();
    assert_eq!(house.post(&completed, ()).await.ok(409).code(), "not_in_this_state");
    house.post("/v1/tenants/acme-eu/jobs/job_none/cancel", ()).await.ok(404);
    let long = json!({"reason": "x".repeat(1025)});
    grow(&house).await;
    let path = format!("{}/cancel", path_of(&newest(&house).await));
    for bad in [long, json!({"reasons": "x"})] {
        house.post(&path, bad).await.ok(422);
    }
    assert_eq!(house.events("").await.len() - before, 3, "of the change alone");
    let first = house.post(&path, ()).await.ok(200).body;
    assert_eq!(house.post(&path, ()).await.ok(200).body, first, "it is cancelled already");
    assert_eq!(house.events("event_type=JOB_CANCELLED").await.len(), 1);
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["open_job"], Value::Null);
}

async fn a_hold_must_not_wait_for_a_job_that_waits(on: On) {
    let provisioner = told(|_, step| match step {
        "provision stage" => Does::Waits("a certificate".to_owned()),
        _ => done(),
    });
    let house = House::with(on, provisioner).await;
    house.furnish().await;
    grow(&house).await;
    house.work().await;
    let waiting = newest(&house).await;
    assert_eq!((&waiting["action"], &waiting["waiting_for"]), (&json!("update"), &json!("a certificate")));
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "security"})).await.ok(202);
    let cancelled = house.get(&path_of(&waiting)).await.ok(200).body;
    assert_eq!((&cancelled["state"], &cancelled["error_code"]), (&json!("failed"), &json!("cancelled")));
    house.work().await;
    assert_eq!(state(&house).await, "Suspended");
}

async fn a_job_must_not_begin_to_wait_against_a_hold(on: On) {
    let provisioner = told(|_, step| match step {
        "provision stage" => Does::Waits("a certificate".to_owned()),
        _ => done(),
    });
    let house = House::with(on, provisioner).await;
    house.furnish().await;
    grow(&house).await;
    // The hold is placed after the job was claimed and before it reaches the step that waits.
    let jobs = house.server.tenancy.store.claim("me", 1, Duration::ZERO).await.expect("claimed");
    assert_eq!(jobs.len(), 1);
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "security"})).await.ok(202);
    house.work().await;
    assert_eq!(state(&house).await, "Suspended");
    let failed = house.events("event_type=JOB_FAILED").await;
    assert_eq!(
        (&failed[0]["payload"]["code"], &failed[0]["payload"]["action"]),
        (&json!("cancelled"), &json!("update"))
    );
}

async fn what_a_job_failed_at_must_be_asked_for_again_though_nothing_changes(on: On) {
    let provisioner = told(|nth, _| match nth {
        4 | 6 => Does::Fails("no capacity".to_owned()),
        _ => done(),
    });
    let house = House::with(on, provisioner).await;
    house.furnish().await;
    grow(&house).await;
    house.work().await;
    let hold = json!({"hold": "billing", "reason": "late"});
    for (verb, body, asked) in [
        ("activate", json!({}), "TENANCY_UPDATE_REQUESTED"),
        ("suspend", hold.clone(), "TENANCY_SUSPENSION_REQUESTED"),
        ("suspend", hold, "TENANCY_SUSPENSION_REQUESTED"),
    ] {
        let before = house.events(&format!("event_type={asked}")).await.len();
        let path = format!("/v1/tenants/acme-eu/{verb}");
        let job = house.post(&path, body).await.ok(202).body["job"].clone();
        assert!(job["job_id"].is_string(), "{verb}: {job}");
        assert_eq!(house.events(&format!("event_type={asked}")).await.len(), before + 1);
        house.work().await;
    }
    assert_eq!(state(&house).await, "Suspended");
}

async fn a_purge_must_leave_the_record_when_a_hold_keeps_it_by_its_end(on: On) {
    let provisioner = told(|_, step| if step == "destroy prod" { Does::IsLet } else { done() });
    let house = House::with(on, provisioner.clone()).await;
    house.furnish().await;
    let any = [("if-match", "*")];
    house.send("PATCH", "/v1/tenants/acme-eu", &any, json!({"policies": {"purgeAfterDays": 0}})).await.ok(200);
    house.post("/v1/tenants/acme-eu/suspend", ()).await.ok(202);
    house.work().await;
    house.send("DELETE", "/v1/tenants/acme-eu", &any, ()).await.ok(202);
    house.work().await;
    house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
    let working = worked(&house);
    provisioner.has_begun().await;
    let refused = house.post(&format!("{}/cancel", path_of(&newest(&house).await)), ()).await.ok(409);
    assert!(refused.body["detail"].as_str().expect("text").contains("may have destroyed data"), "{:#}", refused.body);
    house.post("/v1/organizations/acme/suspend", json!({"hold": "legal"})).await.ok(200);
    provisioner.let_on.add_permits(1);
    working.await.expect("no panic");
    let job = newest(&house).await;
    assert_eq!((&job["state"], &job["error_code"]), (&json!("failed"), &json!("data_held")));
    let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!((&tenant["purged_at"], &tenant["display_name"]), (&Value::Null, &json!("Acme Europe")));
}
