//! Places that cannot be used, jobs that end halfway, and workers that come back late.

use crate::house::{House, On, on_both};
use crate::placements::{Placed, manifest, none};
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tenancy_core::Timestamp;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::{Access, Fence, Place};
use tenancy_placement::sqlite::SqliteFiles;
use tenancy_placement::{Connection, Fault, Found, Provisioner, Recorded, Wanted};
use tenancy_server::provisioner::{Placing, StepFuture, Work};
use tokio::sync::Semaphore;

on_both!(
    a_job_must_wait_for_a_place_that_cannot_be_used_and_then_go_on,
    every_step_must_have_the_same_result_when_it_is_done_again,
    what_a_failed_job_left_half_done_must_be_made_right_by_the_next,
    a_suspension_must_close_the_other_environments_when_one_cannot_be_closed,
    what_a_cancelled_activation_has_opened_must_be_closed_again,
    a_tenant_must_not_come_back_after_a_purge_has_begun_to_destroy_its_data,
    a_worker_that_lost_its_lease_must_change_no_place_when_it_comes_back,
);

/// Places that cannot be used while `is_away` is set, and do everything twice.
#[derive(Clone)]
struct Faulty {
    files: SqliteFiles,
    is_away: Arc<AtomicBool>,
    /// Number of calls that succeed; those after them fail.
    calls_left: Arc<AtomicUsize>,
    /// Number of next calls that fail.
    fail_next: Arc<AtomicUsize>,
}

impl Faulty {
    fn of(folder: &TempDir) -> Self {
        let files = SqliteFiles::open(folder.path()).expect("opens");
        Self {
            files,
            is_away: Arc::default(),
            calls_left: Arc::new(AtomicUsize::new(usize::MAX)),
            fail_next: Arc::default(),
        }
    }

    /// A house with such places.
    async fn placed(on: On) -> (Placed, Self) {
        let folder = tempfile::tempdir().expect("a folder");
        let faulty = Self::of(&folder);
        let house = House::with(on, Arc::new(Placing::new(faulty.clone()))).await;
        (Placed { house, folder }, faulty)
    }

    fn away_after(&self, calls: usize) {
        self.calls_left.store(calls, Ordering::SeqCst);
    }

    fn reach(&self) -> Result<(), Fault> {
        let away = || Fault::Unavailable("the disk of the environments".to_owned());
        if self.is_away.load(Ordering::SeqCst) || self.calls_left.load(Ordering::SeqCst) == 0 {
            return Err(away());
        }
        if self.fail_next.load(Ordering::SeqCst) > 0 {
            self.fail_next.fetch_sub(1, Ordering::SeqCst);
            return Err(away());
        }
        self.calls_left.fetch_sub(1, Ordering::SeqCst);
        Ok(())
    }
}

impl Provisioner for Faulty {
    fn look<'a>(&'a self, env_id: &'a EnvironmentId) -> BoxFuture<'a, Result<Option<Found>, Fault>> {
        self.files.look(env_id)
    }

    fn choose<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Place, Fault>> {
        self.files.choose(wanted)
    }

    fn make<'a>(
        &'a self,
        wanted: &'a Wanted,
        place: &'a Place,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            self.reach()?;
            self.files.make(wanted, place, access, fence).await?;
            self.files.make(wanted, place, access, fence).await
        })
    }

    fn verify<'a>(&'a self, recorded: &'a Recorded) -> BoxFuture<'a, Result<Found, Fault>> {
        self.files.verify(recorded)
    }

    fn update<'a>(&'a self, wanted: &'a Wanted, fence: Fence) -> BoxFuture<'a, Result<(), Fault>> {
        self.files.update(wanted, fence)
    }

    fn set_access<'a>(
        &'a self,
        recorded: &'a Recorded,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            self.reach()?;
            self.files.set_access(recorded, access, fence).await?;
            self.files.set_access(recorded, access, fence).await
        })
    }

    fn connect<'a>(
        &'a self,
        recorded: &'a Recorded,
        access: Access,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<Connection, Fault>> {
        self.files.connect(recorded, access, until)
    }

    fn expire<'a>(&'a self, now: Timestamp) -> BoxFuture<'a, Result<u64, Fault>> {
        self.files.expire(now)
    }

    fn remove<'a>(&'a self, recorded: &'a Recorded, fence: Fence) -> BoxFuture<'a, Result<(), Fault>> {
        Box::pin(async move {
            self.reach()?;
            self.files.remove(recorded, fence).await?;
            self.files.remove(recorded, fence).await
        })
    }
}

/// A provisioner that stops before each step until it is let on, as a process that is stopped.
struct Stopped {
    places: Arc<dyn tenancy_server::provisioner::Provisioner>,
    begun: Semaphore,
    may_go_on: Semaphore,
}

impl tenancy_server::provisioner::Provisioner for Stopped {
    fn step<'a>(&'a self, work: Work<'a>) -> StepFuture<'a> {
        Box::pin(async move {
            self.begun.add_permits(1);
            self.may_go_on.acquire().await.expect("open").forget();
            self.places.step(work).await
        })
    }
}

async fn a_job_must_wait_for_a_place_that_cannot_be_used_and_then_go_on(on: On) {
    let folder = tempfile::tempdir().expect("a folder");
    let faulty = Faulty::of(&folder);
    faulty.is_away.store(true, Ordering::SeqCst);
    let house = House::with(on, Arc::new(Placing::new(faulty.clone()))).await;
    let placed = Placed { house, folder };
    placed.house.furnish().await;
    let job = placed.newest_job().await;
    assert_eq!((&job["state"], &job["waiting_for"]), (&json!("queued"), &json!("the disk of the environments")));
    let until = job["due_at"].as_str().expect("a time").parse::<tenancy_core::Timestamp>().expect("a time");
    assert!(until > placed.house.server.tenancy.now());
    // The place was recorded before it was made.
    let chosen = placed.recorded().await;
    assert_eq!(chosen.len(), 1);
    faulty.is_away.store(false, Ordering::SeqCst);
    placed.house.server.tenancy.store.shift_clock(Duration::from_secs(60));
    placed.house.work().await;
    assert_eq!(placed.house.get("/v1/tenants/acme-eu").await.ok(200).body["state"], "Active");
    assert_eq!(placed.files(), (placed.ids().await, none()));
    let after = placed.recorded().await;
    let is_same = after.iter().any(|placement| placement.place() == chosen[0].place());
    assert!(is_same, "the same place, with the same fingerprint");
}

async fn every_step_must_have_the_same_result_when_it_is_done_again(on: On) {
    let folder = tempfile::tempdir().expect("a folder");
    let house = House::with(on, Arc::new(Placing::new(Faulty::of(&folder)))).await;
    let placed = Placed { house, folder };
    let house = &placed.house;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", manifest()).await.ok(201);
    house.work().await;
    let ids = placed.ids().await;
    placed.act("suspend", json!({"hold": "operator"})).await;
    placed.act("activate", json!({"hold": "operator"})).await;
    assert_eq!(placed.files(), (ids, none()));
    placed.act("suspend", json!({"hold": "operator"})).await;
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    placed.act("purge", Value::Null).await;
    assert_eq!(placed.files(), (none(), none()));
    assert_eq!(house.events("event_type=JOB_FAILED").await, Vec::<Value>::new());
}

async fn what_a_failed_job_left_half_done_must_be_made_right_by_the_next(on: On) {
    let (placed, faulty) = Faulty::placed(on).await;
    let house = &placed.house;
    house.furnish().await;
    // The suspension closes the first environment, and is cancelled while it waits with the second.
    faulty.away_after(1);
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    house.work().await;
    let job = placed.newest_job().await;
    assert_eq!((placed.files().0.len(), &job["state"]), (1, &json!("queued")));
    let path = format!("/v1/tenants/acme-eu/jobs/{}/cancel", job["job_id"].as_str().expect("an id"));
    house.post(&path, ()).await.ok(200);
    assert_eq!(house.get("/v1/tenants/acme-eu").await.ok(200).body["state"], "Active");
    faulty.away_after(usize::MAX);
    house.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).await.ok(202);
    house.work().await;
    assert_eq!(placed.newest_job().await["action"], "update");
    assert_eq!(placed.files(), (placed.ids().await, none()));
}

async fn a_tenant_must_not_come_back_after_a_purge_has_begun_to_destroy_its_data(on: On) {
    let (placed, faulty) = Faulty::placed(on).await;
    let house = &placed.house;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", manifest()).await.ok(201);
    house.work().await;
    placed.act("suspend", json!({"hold": "operator"})).await;
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    faulty.away_after(1);
    placed.act("purge", Value::Null).await;
    let events = house.events("event_type=ENVIRONMENT_DESTRUCTION_STARTED").await;
    assert_eq!((events.len(), placed.files().1.len()), (2, 1), "recorded before it is done");
    house.server.tenancy.store.shift_clock(Duration::from_secs(60 * 60 * 24 * 30));
    house.work().await;
    assert_eq!(placed.newest_job().await["state"], "failed");
    let refused = house.post("/v1/tenants/acme-eu/undelete", ()).await.ok(409).body;
    let detail = refused["detail"].as_str().expect("a text");
    assert!(detail.contains("a purge has begun to destroy the data of environment dev"), "{detail}");
    faulty.away_after(usize::MAX);
    placed.act("purge", Value::Null).await;
    assert_eq!((placed.files(), placed.recorded().await), ((none(), none()), Vec::new()));
    assert_eq!(house.events("event_type=ENVIRONMENT_DESTRUCTION_STARTED").await.len(), 2);
}

async fn a_suspension_must_close_the_other_environments_when_one_cannot_be_closed(on: On) {
    let (placed, faulty) = Faulty::placed(on).await;
    placed.house.furnish().await;
    faulty.fail_next.store(1, Ordering::SeqCst);
    placed.act("suspend", json!({"hold": "security"})).await;
    let (open, closed) = placed.files();
    assert_eq!((open.len(), closed.len()), (1, 1));
    assert_eq!(placed.newest_job().await["waiting_for"], "the disk of the environments");
    placed.house.server.tenancy.store.shift_clock(Duration::from_secs(60));
    placed.house.work().await;
    assert_eq!(placed.files(), (none(), placed.ids().await));
    assert_eq!(placed.house.get("/v1/tenants/acme-eu").await.ok(200).body["state"], "Suspended");
}

async fn what_a_cancelled_activation_has_opened_must_be_closed_again(on: On) {
    let (placed, faulty) = Faulty::placed(on).await;
    let house = &placed.house;
    house.furnish().await;
    placed.act("suspend", json!({"hold": "billing"})).await;
    faulty.away_after(1);
    placed.act("activate", json!({"hold": "billing"})).await;
    let job = placed.newest_job().await;
    assert_eq!((placed.files().0.len(), &job["action"]), (1, &json!("activate")));
    faulty.away_after(usize::MAX);
    let path = format!("/v1/tenants/acme-eu/jobs/{}/cancel", job["job_id"].as_str().expect("an id"));
    house.post(&path, ()).await.ok(200);
    house.work().await;
    assert_eq!(placed.files(), (none(), placed.ids().await));
    let tenant = house.get("/v1/tenants/acme-eu").await.ok(200).body;
    assert_eq!((&tenant["state"], &tenant["open_job"]), (&json!("Suspended"), &Value::Null));
    assert_eq!(placed.newest_job().await["action"], "update", "it is not activated again by itself");
    placed.act("activate", json!({})).await;
    assert_eq!(placed.files(), (placed.ids().await, none()));
    assert_eq!(house.get("/v1/tenants/acme-eu").await.ok(200).body["state"], "Active");
}

async fn a_worker_that_lost_its_lease_must_change_no_place_when_it_comes_back(on: On) {
    let placed = Placed::new(on).await;
    let house = &placed.house;
    house.furnish().await;
    let ids = placed.ids().await;
    placed.act("suspend", json!({"hold": "billing"})).await;
    // A worker claims the activation, and is stopped before it opens the first environment.
    house.post("/v1/tenants/acme-eu/activate", json!({"hold": "billing"})).await.ok(202);
    let places = Arc::new(Placing::new(SqliteFiles::open(placed.folder.path()).expect("opens")));
    let stopped = Arc::new(Stopped { places, begun: Semaphore::new(0), may_go_on: Semaphore::new(0) });
    let runner = house.working_with(stopped.clone());
    let working = tokio::spawn(async move { runner.run_once().await });
    stopped.begun.acquire().await.expect("open").forget();
    // Another takes over when the lease ends, and then a hold closes everything again.
    house.server.tenancy.store.shift_clock(Duration::from_secs(tenancy_server::config::Jobs::default().lease_seconds));
    house.work().await;
    assert_eq!(placed.files(), (ids.clone(), none()));
    placed.act("suspend", json!({"hold": "security"})).await;
    assert_eq!(placed.files(), (none(), ids.clone()));
    stopped.may_go_on.add_permits(100);
    working.await.expect("no panic").expect("it lost the job");
    assert_eq!(placed.files(), (none(), ids));
    assert_eq!(house.get("/v1/tenants/acme-eu").await.ok(200).body["state"], "Suspended");
}
