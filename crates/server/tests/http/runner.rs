//! The job engine: leases that are released or taken over, and writes of a process that lost its lease.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::json;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::declared::Declared;
use tenancy_server::config::Jobs;
use tenancy_server::jobs::Runner;
use tenancy_server::metrics::Metrics;
use tenancy_server::provisioner::{Provisioner, StepEnd, StepFuture, Work};
use tenancy_server::tenancy::Tenancy;
use tenancy_store::database::Database;
use tenancy_testkit::{Armed, Fault, Message, Proxy};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

on_both!(
    a_stop_must_give_leases_back_and_the_job_go_on_from_its_step,
    a_lease_that_is_over_must_be_taken_over_and_its_old_holder_write_nothing,
    heartbeats_must_keep_a_lease_however_long_a_step_takes,
    a_stop_must_not_wait_for_a_step_longer_than_it_is_told,
    a_write_must_come_to_its_end_when_who_asked_goes_away,
    a_job_that_waits_must_say_for_what_and_until_when_and_go_on_from_its_step,
    a_job_that_waits_too_long_must_be_given_up_and_say_for_what_it_waited,
    runners_must_share_the_work_and_do_nothing_twice,
);

/// Drain time of a stopping runner.
const DRAIN: Duration = Duration::from_secs(20);

/// Does one step for each permit, and records the steps.
struct OneByOne {
    permits: Semaphore,
    begun: Semaphore,
    done: Mutex<Vec<String>>,
}

impl OneByOne {
    fn new() -> Arc<Self> {
        Arc::new(Self { permits: Semaphore::new(0), begun: Semaphore::new(0), done: Mutex::default() })
    }

    fn done(&self) -> Vec<String> {
        self.done.lock().expect("nobody panicked").clone()
    }
}

impl Provisioner for OneByOne {
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a> {
        Box::pin(async move {
            self.begun.add_permits(1);
            self.permits.acquire().await.expect("open").forget();
            self.done.lock().expect("nobody panicked").push(work.step.to_string());
            Ok(StepEnd::done(work.step, "done"))
        })
    }
}

async fn registered(on: On, provisioner: Arc<OneByOne>) -> House {
    let house = House::with(on, provisioner).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", acme_eu()).await.ok(201);
    house
}

fn another(house: &House, provisioner: Arc<dyn Provisioner>, jobs: Jobs, stop: &CancellationToken) -> Arc<Runner> {
    let tenancy = Arc::clone(&house.server.tenancy);
    let metrics = Arc::new(Metrics::new(&tenancy.commits));
    Runner::new(tenancy, provisioner, metrics, jobs, stop.clone())
}

async fn a_stop_must_give_leases_back_and_the_job_go_on_from_its_step(on: On) {
    let steps = OneByOne::new();
    let house = registered(on, Arc::clone(&steps)).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(another(&house, steps.clone(), Jobs::default(), &stop).run(DRAIN));
    steps.begun.acquire().await.expect("open").forget();
    stop.cancel();
    steps.permits.add_permits(1);
    tokio::time::timeout(Duration::from_secs(5), running).await.expect("in time").expect("no panic");
    let job = house.get("/v1/jobs").await.ok(200).body["items"][0].clone();
    assert_eq!((&job["state"], &job["attempt"]), (&json!("queued"), &json!(1)));
    assert_eq!(job["steps"][0]["state"], "done");
    steps.permits.add_permits(100);
    house.work().await;
    assert_eq!(steps.done(), ["provision dev", "provision prod", "open dev", "open prod"]);
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Active");
}

/// Otherwise the next process would have to wait until the lease ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_must_give_back_the_lease_of_a_job_whose_outcome_cannot_be_committed() {
    let steps = OneByOne::new();
    steps.permits.add_permits(100);
    let house = registered(On::Postgres, Arc::clone(&steps)).await;
    let postgres = house.postgres.as_ref().expect("PostgreSQL");
    postgres.execute(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no'; END $$; \
         CREATE TRIGGER refuse BEFORE UPDATE OF state ON tenants FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let stop = CancellationToken::new();
    let running = tokio::spawn(another(&house, steps.clone(), Jobs::default(), &stop).run(DRAIN));
    let failed = r#"tenancy_commits_total{outcome="internal"}"#;
    while !house.get("/metrics").await.body.as_str().is_some_and(|figures| figures.contains(failed)) {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(20), running).await.expect("in time").expect("no panic");
    let job = house.get("/v1/jobs").await.ok(200).body["items"][0].clone();
    assert_eq!(job["state"], "queued");
    postgres.execute("DROP TRIGGER refuse ON tenants");
    house.work().await;
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Active");
}

async fn a_lease_that_is_over_must_be_taken_over_and_its_old_holder_write_nothing(on: On) {
    let (dead, steps) = (OneByOne::new(), OneByOne::new());
    let house = registered(on, Arc::clone(&steps)).await;
    // After the drain it sends no heartbeats, so other processes take its jobs over.
    let first = another(&house, dead.clone(), Jobs::default(), &CancellationToken::new());
    let working = tokio::spawn(async move { first.run_once().await });
    dead.begun.acquire().await.expect("open").forget();
    assert_eq!(house.runner.run_once().await.expect("claimed"), 0);
    house.server.tenancy.store.shift_clock(Duration::from_secs(Jobs::default().lease_seconds));
    steps.permits.add_permits(100);
    assert_eq!(house.runner.run_once().await.expect("claimed"), 1);
    let events = house.events("").await.len();
    dead.permits.add_permits(100);
    working.await.expect("no panic").expect("worked");
    assert_eq!(house.events("").await.len(), events);
    let created = house.events("event_type=TENANCY_CREATED").await;
    assert_eq!(created.len(), 1);
    let jobs = house.get("/v1/jobs?state=completed").await.ok(200).body;
    assert_eq!(jobs["items"][0]["attempt"], 2);
}

/// Returns the end of the lease of the only open job.
async fn lease_ends(house: &House) -> Timestamp {
    let job = house.get("/v1/jobs?state=running").await.ok(200).body["items"][0].clone();
    job["due_at"].as_str().expect("text").parse().expect("a time")
}

/// Provisioner whose steps never end. Counts those in progress.
struct Endless {
    begun: Semaphore,
    under_way: Arc<AtomicUsize>,
}

struct Gone(Arc<AtomicUsize>);

impl Drop for Gone {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Endless {
    fn new() -> Arc<Self> {
        Arc::new(Self { begun: Semaphore::new(0), under_way: Arc::default() })
    }

    fn under_way(&self) -> usize {
        self.under_way.load(Ordering::SeqCst)
    }
}

impl Provisioner for Endless {
    fn step<'a>(&'a self, _work: Work<'a>) -> StepFuture<'a> {
        Box::pin(async move {
            self.under_way.fetch_add(1, Ordering::SeqCst);
            let _gone = Gone(Arc::clone(&self.under_way));
            self.begun.add_permits(1);
            std::future::pending().await
        })
    }
}

async fn a_stop_must_not_wait_for_a_step_longer_than_it_is_told(on: On) {
    let (endless, steps) = (Endless::new(), OneByOne::new());
    let house = registered(on, Arc::clone(&steps)).await;
    let stop = CancellationToken::new();
    let running = tokio::spawn(another(&house, endless.clone(), Jobs::default(), &stop).run(Duration::ZERO));
    endless.begun.acquire().await.expect("open").forget();
    stop.cancel();
    tokio::time::timeout(Duration::from_secs(10), running).await.expect("in time").expect("no panic");
    assert_eq!(endless.under_way(), 0, "the step is dropped");
    let job = house.get("/v1/jobs").await.ok(200).body["items"][0].clone();
    assert_eq!((&job["state"], &job["steps"][0]["state"]), (&json!("queued"), &json!("pending")));
    steps.permits.add_permits(100);
    house.work().await;
    assert_eq!(steps.done(), ["provision dev", "provision prod", "open dev", "open prod"]);
}

/// A runner that connects to the database through a proxy and runs the only job of the house.
async fn behind(house: &House, proxy: &Proxy, endless: &Arc<Endless>, jobs: Jobs) -> (Armed, CancellationToken) {
    let database = Database::Postgres(proxy.url(house.postgres.as_ref().expect("PostgreSQL")));
    let tenancy = Tenancy::new(database.open_for_test().await.expect("open"), Declared::default());
    let (metrics, stop) = (Arc::new(Metrics::new(&tenancy.commits)), CancellationToken::new());
    let beat = |message: &Message| message.executes() && message.sql_contains("prolonged");
    let fault = Fault::delay(Duration::from_secs(3600)).when(beat);
    let beats = proxy.arm(if jobs.lease_seconds == LOST { fault.repeated() } else { fault });
    drop(tokio::spawn(Runner::new(tenancy, endless.clone(), metrics, jobs, stop.clone()).run(DRAIN)));
    endless.begun.acquire().await.expect("open").forget();
    (beats, stop)
}

/// The lease of a process whose heartbeats do not arrive.
const LOST: u64 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_cannot_prolong_a_lease_must_stop_its_step_before_another_begins_it() {
    let (endless, steps) = (Endless::new(), OneByOne::new());
    let house = registered(On::Postgres, Arc::clone(&steps)).await;
    let proxy = Proxy::start(tenancy_testkit::Postgres::shared().address());
    let jobs = Jobs { lease_seconds: LOST, heartbeat_seconds: 1, poll_milliseconds: 60_000, ..Jobs::default() };
    let (beats, stop) = behind(&house, &proxy, &endless, jobs).await;
    let jobs = Jobs { poll_milliseconds: 10, ..Jobs::default() };
    let other = tokio::spawn(another(&house, steps.clone(), jobs, &stop).run(DRAIN));
    steps.begun.acquire().await.expect("open").forget();
    assert_eq!(endless.under_way(), 0);
    assert!(beats.fired() > 0);
    stop.cancel();
    steps.permits.add_permits(100);
    other.await.expect("no panic");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_heartbeat_that_hangs_must_not_keep_the_next_one_from_prolonging_the_lease() {
    let endless = Endless::new();
    let house = registered(On::Postgres, OneByOne::new()).await;
    let proxy = Proxy::start(tenancy_testkit::Postgres::shared().address());
    let jobs = Jobs { lease_seconds: 10, heartbeat_seconds: 1, ..Jobs::default() };
    let (beats, stop) = behind(&house, &proxy, &endless, jobs).await;
    beats.wait().await;
    let due_at = async || {
        let job = house.get("/v1/jobs").await.ok(200).body["items"][0].clone();
        job["due_at"].as_str().expect("text").parse::<Timestamp>().expect("a time")
    };
    let before = due_at().await;
    let prolonged = async { while due_at().await <= before {} };
    tokio::time::timeout(Duration::from_secs(8), prolonged).await.expect("before the lease is over");
    assert_eq!(endless.under_way(), 1);
    stop.cancel();
}

async fn heartbeats_must_keep_a_lease_however_long_a_step_takes(on: On) {
    let steps = OneByOne::new();
    let house = registered(on, Arc::clone(&steps)).await;
    let (stop, jobs) = (CancellationToken::new(), Jobs { lease_seconds: 20, heartbeat_seconds: 1, ..Jobs::default() });
    let running = tokio::spawn(another(&house, steps.clone(), jobs, &stop).run(DRAIN));
    steps.begun.acquire().await.expect("open").forget();
    let (store, first) = (&house.server.tenancy.store, lease_ends(&house).await);
    store.shift_clock(Duration::from_secs(15));
    while lease_ends(&house).await < first + Duration::from_secs(15) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    store.shift_clock(Duration::from_secs(10));
    assert!(store.now() > first, "the lease that was claimed would be over");
    assert_eq!(house.runner.run_once().await.expect("claimed"), 0);
    steps.permits.add_permits(100);
    let path = "/v1/jobs?state=completed";
    while house.get(path).await.body["items"].as_array().is_none_or(|jobs| jobs.len() < 2) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    running.await.expect("no panic");
    assert_eq!(house.get("/v1/tenants/acme-eu").await.body["state"], "Active");
}

async fn a_write_must_come_to_its_end_when_who_asked_goes_away(on: On) {
    let house = House::new(on).await;
    let done = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&done);
    let (goes_away, gone) = tokio::sync::oneshot::channel();
    let work = house.server.tenancy.to_its_end(async move {
        gone.await.expect("told");
        counted.fetch_add(1, Ordering::SeqCst);
        Ok(())
    });
    assert!(tokio::time::timeout(Duration::ZERO, work).await.is_err());
    goes_away.send(()).expect("it waits");
    house.server.tenancy.drain().await;
    assert_eq!(done.load(Ordering::SeqCst), 1);
}

/// Waits once in the second environment, for 300 ms. Records the calls and their times.
#[derive(Default)]
struct WaitsOnce {
    asked: Mutex<Vec<(String, Timestamp)>>,
}

impl WaitsOnce {
    fn asked(&self) -> Vec<(String, Timestamp)> {
        self.asked.lock().expect("nobody panicked").clone()
    }
}

impl Provisioner for WaitsOnce {
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a> {
        self.asked.lock().expect("nobody panicked").push((work.step.to_string(), Timestamp::now()));
        let asked = self.asked();
        let first = asked.iter().filter(|(step, _)| *step == work.step.to_string()).count() == 1;
        let end = if work.step.to_string() == "provision prod" && first {
            StepEnd::Waits { what: "a certificate".to_owned(), until: asked[1].1 + Duration::from_millis(300) }
        } else {
            StepEnd::done(work.step, "done")
        };
        Box::pin(std::future::ready(Ok(end)))
    }
}

async fn a_job_that_waits_must_say_for_what_and_until_when_and_go_on_from_its_step(on: On) {
    let steps = Arc::new(WaitsOnce::default());
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", acme_eu()).await.ok(201);
    let jobs = Jobs { poll_milliseconds: 10, ..Jobs::default() };
    let runner = another(&house, steps.clone(), jobs, &CancellationToken::new());
    assert_eq!(runner.run_once().await.expect("claimed"), 1);
    let job = house.get("/v1/jobs").await.ok(200).body["items"][0].clone();
    assert_eq!((&job["state"], &job["waiting_for"]), (&json!("queued"), &json!("a certificate")));
    let due: Timestamp = job["due_at"].as_str().expect("text").parse().expect("a time");
    let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!(
        (&tenant["state"], &tenant["waits_for"]),
        (&json!("Draft"), &json!(format!("job {} (create)", job["job_id"].as_str().expect("text"))))
    );
    let path = format!("/v1/tenants/acme-eu/jobs/{}", job["job_id"].as_str().expect("text"));
    let log = house.get(&path).await.ok(200).body["logs"].as_str().expect("text").to_owned();
    assert!(log.ends_with("provision prod waits for a certificate\n"), "{log}");
    while steps.asked().len() < 5 {
        runner.run_once().await.expect("claimed");
    }
    let asked = steps.asked();
    let names: Vec<_> = asked.iter().map(|(step, _)| step.as_str()).collect();
    assert_eq!(names, ["provision dev", "provision prod", "provision prod", "open dev", "open prod"]);
    // Here the clock of the database is this machine's, and its measured offset is less than this tolerance.
    assert!(asked[2].1 + Duration::from_millis(100) >= due, "{asked:?}, due {due}");
    let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!((&tenant["state"], &tenant["waits_for"]), (&json!("Active"), &json!(null)));
}

/// Waits forever.
struct NeverReady;

impl Provisioner for NeverReady {
    fn step<'a>(&'a self, _work: Work<'a>) -> StepFuture<'a> {
        let what = "a certificate".to_owned();
        Box::pin(std::future::ready(Ok(StepEnd::Waits { what, until: Timestamp::MAX })))
    }
}

async fn a_job_that_waits_too_long_must_be_given_up_and_say_for_what_it_waited(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", acme_eu()).await.ok(201);
    let patient = another(&house, Arc::new(NeverReady), Jobs::default(), &CancellationToken::new());
    house
        .post("/v1/tenants", json!({"tenant_id": "t-2", "organization_id": "acme", "region": "eu-west-1"}))
        .await
        .ok(201);
    assert_eq!(patient.run_once().await.expect("claimed"), 2);
    let waiting = house.get("/v1/jobs?state=queued").await.ok(200).body;
    assert_eq!(
        waiting["items"].as_array().map(Vec::len),
        Some(1),
        "a tenant without environments has no step that waits"
    );
    let time = |name: &str| waiting["items"][0][name].as_str().expect("text").parse::<Timestamp>().expect("a time");
    assert_eq!(time("due_at"), time("created_at") + Duration::from_secs(72 * 3600), "the last call is then");

    house
        .post(
            "/v1/tenants",
            json!({"tenant_id": "t-3", "organization_id": "acme", "region": "eu-west-1",
        "environments": [{"name": "dev", "region": "eu-west-1", "isolation_level": "shared"}]}),
        )
        .await
        .ok(201);
    let hasty = Jobs { give_up_hours: 0, ..Jobs::default() };
    let hasty = another(&house, Arc::new(NeverReady), hasty, &CancellationToken::new());
    assert_eq!(hasty.run_once().await.expect("claimed"), 1);
    let failed = house.get("/v1/jobs?state=failed").await.ok(200).body["items"][0].clone();
    assert_eq!((&failed["tenant_id"], &failed["error_code"]), (&json!("t-3"), &json!("given_up")));
    let error = failed["error"].as_str().expect("text");
    assert!(error.contains("waits for a certificate") && error.contains("request the action again"), "{error}");
    assert_eq!(failed["steps"][0], json!({"name": "provision dev", "state": "failed"}));
    assert_eq!(house.events("event_type=JOB_FAILED").await[0]["payload"]["code"], "given_up");
}

async fn runners_must_share_the_work_and_do_nothing_twice(on: On) {
    let house = House::new(on).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    for n in 0..30 {
        let manifest = json!({"tenant_id": format!("t-{n}"), "organization_id": "acme", "region": "eu-west-1", "desired_state": "Active"});
        house.post("/v1/tenants", manifest).await.ok(201);
    }
    let stop = CancellationToken::new();
    let recorder = || Arc::new(tenancy_server::provisioner::Recorder);
    let running: Vec<_> =
        (0..3).map(|_| tokio::spawn(another(&house, recorder(), Jobs::default(), &stop).run(DRAIN))).collect();
    while house.get("/v1/tenants?state=Active&limit=500").await.body["items"].as_array().map(Vec::len) != Some(30) {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    stop.cancel();
    for runner in running {
        runner.await.expect("no panic");
    }
    assert_eq!(house.events("event_type=TENANCY_CREATED").await.len(), 30);
    assert_eq!(house.events("event_type=TENANCY_ACTIVATED").await.len(), 30);
    assert!(house.events("event_type=JOB_FAILED").await.is_empty());
}
