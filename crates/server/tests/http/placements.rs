//! Environments that exist: jobs make SQLite files, open, close and destroy them.

use crate::house::{House, On, acme_eu, on_both};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;
use tenancy_core::ids::TenantId;
use tenancy_core::placement::EnvironmentPlacement;
use tenancy_placement::sqlite::SqliteFiles;
use tenancy_server::provisioner::{Placing, Recorder};

on_both!(
    an_environment_must_have_a_file_that_its_jobs_open_close_and_destroy,
    an_environment_of_a_suspended_tenant_must_be_made_closed,
    a_removed_environment_must_be_closed_and_destroyed_with_its_tenant,
    what_would_move_the_data_of_an_environment_must_be_refused,
    a_process_that_only_records_must_leave_places_alone_and_say_what_it_waits_for,
    an_environment_of_a_server_that_only_records_must_say_so_and_live_on,
    a_change_of_quotas_must_reach_the_place,
    connection_data_must_be_given_with_a_reason_only_while_the_environment_is_in_service,
);

/// A house whose environments are SQLite files.
pub struct Placed {
    pub house: House,
    pub folder: TempDir,
}

impl Placed {
    pub async fn new(on: On) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = SqliteFiles::open(folder.path()).expect("opens");
        Self { house: House::with(on, Arc::new(Placing::new(files))).await, folder }
    }

    /// Paths of the files that programs can open, and of the closed ones, by the ids of their environments.
    pub fn files(&self) -> (BTreeSet<String>, BTreeSet<String>) {
        (folders(self.folder.path()), folders(&self.folder.path().join("closed")))
    }

    pub async fn ids(&self) -> BTreeSet<String> {
        let tenant = self.house.get("/v1/tenants/acme-eu").await.ok(200).body;
        let environments = tenant["environments"].as_array().expect("a list");
        environments.iter().map(|one| one["env_id"].as_str().expect("an id").to_owned()).collect()
    }

    pub async fn recorded(&self) -> Vec<EnvironmentPlacement> {
        let tenant = TenantId::parse("acme-eu").expect("an id");
        self.house.server.tenancy.store.places(&tenant).await.expect("read")
    }

    pub async fn act(&self, verb: &str, body: Value) {
        let path = format!("/v1/tenants/acme-eu/{verb}");
        match body {
            Value::Null => self.house.post(&path, ()).await.ok(202),
            body => self.house.post(&path, body).await.ok(202),
        };
        self.house.work().await;
    }

    async fn set_environments(&self, names: &[&str]) {
        let environments: Vec<_> = names.iter().map(|name| entry(name)).collect();
        let path =
            "/v1/tenants/acme-eu?allow=remove-environment&allow=move-isolation&allow=remove-quota&allow=less-retention";
        self.house.send("PATCH", path, &[("if-match", "*")], json!({"environments": environments})).await.ok(200);
        self.house.work().await;
    }

    pub async fn newest_job(&self) -> Value {
        let jobs = self.house.get("/v1/tenants/acme-eu/jobs?limit=1").await.ok(200).body;
        let id = jobs["items"][0]["job_id"].as_str().expect("a job").to_owned();
        self.house.get(&format!("/v1/tenants/acme-eu/jobs/{id}")).await.ok(200).body
    }
}

fn folders(of: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(of).expect("a folder").map(|entry| entry.expect("an entry").path());
    let with_file = entries.filter(|path| path.join("data.sqlite").exists());
    with_file.map(|path| path.file_name().expect("a name").to_string_lossy().into_owned()).collect()
}

/// Entry of an environment as in [`acme_eu`].
fn entry(name: &str) -> Value {
    if name == "dev" { json!({"name": name, "isolation_level": "shared"}) } else { json!({"name": name}) }
}

pub fn none() -> BTreeSet<String> {
    BTreeSet::new()
}

pub fn manifest() -> Value {
    let mut manifest = acme_eu();
    manifest["policies"]["purgeAfterDays"] = json!(0);
    manifest
}

async fn an_environment_must_have_a_file_that_its_jobs_open_close_and_destroy(on: On) {
    let placed = Placed::new(on).await;
    let house = &placed.house;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", manifest()).await.ok(201);
    house.work().await;
    let ids = placed.ids().await;
    assert_eq!(placed.files(), (ids.clone(), none()));
    let environment = house.get("/v1/tenants/acme-eu/environments/dev").await.ok(200).body;
    assert_eq!(
        (&environment["place"]["kind"], &environment["place"]["location"]),
        (&json!("sqlite"), &environment["env_id"])
    );
    let events = house.events("event_type=ENVIRONMENT_PLACED").await;
    assert_eq!(events.len(), 2);
    assert_eq!(events[0]["payload"]["env_id"], environment["env_id"]);

    let file = placed.folder.path().join(environment["env_id"].as_str().expect("an id")).join("data.sqlite");
    let open = || rusqlite::Connection::open_with_flags(&file, rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE);
    open()
        .expect("opens")
        .execute_batch("CREATE TABLE notes (text); INSERT INTO notes VALUES ('kept')")
        .expect("written");
    placed.act("suspend", json!({"hold": "billing"})).await;
    assert_eq!(placed.files(), (none(), ids.clone()));
    assert!(open().is_err(), "a suspended environment refuses programs");
    placed.act("activate", json!({"hold": "billing"})).await;
    assert_eq!(placed.files(), (ids.clone(), none()));
    let kept: String = open().expect("opens").query_row("SELECT text FROM notes", [], |row| row.get(0)).expect("a row");
    assert_eq!(kept, "kept");

    placed.act("suspend", json!({"hold": "operator"})).await;
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    assert_eq!(placed.files(), (none(), ids), "an archived tenant keeps its data");
    placed.act("undelete", Value::Null).await;
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    placed.act("purge", Value::Null).await;
    assert_eq!(placed.files(), (none(), none()));
    assert_eq!(placed.recorded().await, []);
}

async fn an_environment_of_a_suspended_tenant_must_be_made_closed(on: On) {
    let placed = Placed::new(on).await;
    placed.house.furnish().await;
    placed.act("suspend", json!({"hold": "security"})).await;
    placed.set_environments(&["dev", "stage", "prod"]).await;
    let ids = placed.ids().await;
    assert_eq!(ids.len(), 3);
    assert_eq!(placed.files(), (none(), ids.clone()));
    placed.act("activate", json!({"hold": "security"})).await;
    assert_eq!(placed.files(), (ids, none()));
}

async fn a_removed_environment_must_be_closed_and_destroyed_with_its_tenant(on: On) {
    let placed = Placed::new(on).await;
    let house = &placed.house;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", manifest()).await.ok(201);
    house.work().await;
    let dev = house.get("/v1/tenants/acme-eu/environments/dev").await.ok(200).body["env_id"].clone();
    let dev = BTreeSet::from([dev.as_str().expect("an id").to_owned()]);
    placed.set_environments(&["prod"]).await;
    assert_eq!(placed.files(), (placed.ids().await, dev.clone()));
    let closed = house.events("event_type=ENVIRONMENT_CLOSED").await;
    assert_eq!((closed.len(), &closed[0]["payload"]["name"]), (1, &json!("dev")));

    // One of the same name is another environment with another file.
    placed.set_environments(&["dev", "prod"]).await;
    assert_eq!(placed.files(), (placed.ids().await, dev.clone()));
    assert!(placed.ids().await.is_disjoint(&dev));
    // The closed file stays closed, whatever happens to the tenant.
    placed.act("suspend", json!({"hold": "operator"})).await;
    placed.act("activate", json!({"hold": "operator"})).await;
    assert_eq!(placed.files(), (placed.ids().await, dev.clone()));

    placed.act("suspend", json!({"hold": "operator"})).await;
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    placed.act("purge", Value::Null).await;
    assert_eq!(placed.files(), (none(), none()), "also the one that was removed before");
}

async fn what_would_move_the_data_of_an_environment_must_be_refused(on: On) {
    let placed = Placed::new(on).await;
    placed.house.furnish().await;
    let moved = json!({"profile": "st-dedicated", "environments": [
        {"name": "dev", "region": "us-east-1", "isolation_level": "strict", "quotas": {"storageGiB": 50}, "retention_days": 30},
        {"name": "prod", "quotas": {"storageGiB": 400}}]});
    let path = "/v1/tenants/acme-eu?allow=move-region&allow=move-isolation&allow=move-profile&allow=loosen-policy";
    let refused = placed.house.send("PATCH", path, &[("if-match", "*")], moved).await.ok(422);
    let errors = refused.body["errors"].as_array().expect("errors");
    let found: Vec<_> = errors.iter().map(|error| (error["code"].as_str(), error["pointer"].as_str())).collect();
    let expected = ["/profile", "/environments/dev/region", "/environments/dev/isolation_level"];
    for pointer in expected {
        assert!(found.contains(&(Some("needs_move"), Some(pointer))), "{pointer}: {:#}", refused.body);
    }
    assert_eq!(placed.house.get("/v1/tenants/acme-eu").await.ok(200).body["version"], 1);
}

async fn a_process_that_only_records_must_leave_places_alone_and_say_what_it_waits_for(on: On) {
    let placed = Placed::new(on).await;
    placed.house.furnish().await;
    let ids = placed.ids().await;
    let recording = placed.house.working_with(Arc::new(Recorder));
    placed.house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    recording.run_once().await.expect("worked");
    let job = placed.newest_job().await;
    let waits = job["waiting_for"].as_str().expect("it waits");
    assert!(waits.contains("jobs.provisioner") && waits.contains("kind sqlite"), "{waits}");
    assert_eq!(placed.files(), (ids, none()));
    assert_eq!(placed.house.get("/v1/tenants/acme-eu").await.ok(200).body["state"], "Active");
}

async fn an_environment_of_a_server_that_only_records_must_say_so_and_live_on(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let environment = house.get("/v1/tenants/acme-eu/environments/dev").await.ok(200).body;
    assert_eq!(environment["place"], json!({"kind": "record"}));
    // A server that makes places takes over.
    let folder = tempfile::tempdir().expect("a folder");
    let files = SqliteFiles::open(folder.path()).expect("opens");
    let placing = house.working_with(Arc::new(Placing::new(files)));
    house.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).await.ok(202);
    while placing.run_once().await.expect("worked") > 0 {}
    assert_eq!(house.get("/v1/tenants/acme-eu").await.ok(200).body["state"], "Suspended");
    assert_eq!(folders(folder.path()), none());
}

/// Returns a provisioner with files of this process.
pub fn places() -> Arc<dyn tenancy_server::provisioner::Provisioner> {
    static FOLDER: OnceLock<TempDir> = OnceLock::new();
    let folder = FOLDER.get_or_init(|| tempfile::tempdir().expect("a folder"));
    Arc::new(Placing::new(SqliteFiles::open(folder.path()).expect("opens")))
}

/// Creates an active tenant whose environment has a place.
pub async fn place(house: &House) {
    let manifest = json!({"tenant_id": "acme-placed", "organization_id": "acme", "region": "eu-west-1",
        "desired_state": "Active", "environments": [{"name": "dev"}]});
    house.post("/v1/tenants", manifest).await.ok(201);
    let runner = house.working_with(places());
    while runner.run_once().await.expect("worked") > 0 {}
}

async fn a_change_of_quotas_must_reach_the_place(on: On) {
    let placed = Placed::new(on).await;
    let house = &placed.house;
    house.furnish().await;
    let dev = house.get("/v1/tenants/acme-eu/environments/dev").await.ok(200).body["env_id"].clone();
    let file = placed.folder.path().join(dev.as_str().expect("an id")).join("data.sqlite");
    let told = || {
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
        let text = "SELECT settings ->> '$.quotas.storageGiB' FROM tenancy_environment";
        rusqlite::Connection::open_with_flags(&file, flags)
            .and_then(|open| open.query_row(text, [], |row| row.get::<_, i64>(0)))
    };
    assert_eq!(told(), Ok(50));
    let path = "/v1/tenants/acme-eu/environments/dev";
    house.send("PATCH", path, &[("if-match", "*")], json!({"quotas": {"storageGiB": 70}})).await.ok(200);
    house.work().await;
    assert_eq!(told(), Ok(70));
    let job = placed.newest_job().await;
    let steps: Vec<_> = job["steps"].as_array().expect("steps").iter().map(|step| step["name"].clone()).collect();
    assert_eq!((&job["action"], steps), (&json!("update"), vec![json!("update dev"), json!("record")]));
    assert_eq!(house.events("event_type=ENVIRONMENT_SETTINGS_APPLIED").await.len(), 1);
    // What a place is not told queues nothing.
    house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], json!({"labels": {"a": "b"}})).await.ok(200);
    assert_eq!(house.get("/v1/tenants/acme-eu").await.ok(200).body["open_job"], Value::Null);
}

async fn connection_data_must_be_given_with_a_reason_only_while_the_environment_is_in_service(on: On) {
    let placed = Placed::new(on).await;
    let house = &placed.house;
    house.furnish().await;
    let path = "/v1/tenants/acme-eu/environments/dev/connection";
    let refused = house.post(path, json!({"access": "all"})).await.ok(422);
    let pointers: Vec<_> =
        refused.body["errors"].as_array().expect("errors").iter().map(|e| e["pointer"].clone()).collect();
    assert_eq!(pointers, [json!("/reason"), json!("/access")]);
    let given = house.post(path, json!({"reason": "ticket 4711"})).await.ok(200).body;
    let file = given["file"].as_str().expect("a path").to_owned();
    assert!(Path::new(&file).is_absolute() && Path::new(&file).exists(), "{file}");
    assert_eq!((&given["kind"], &given["access"]), (&json!("sqlite"), &json!("read_only")));
    let events = house.events("event_type=ENVIRONMENT_CONNECTED").await;
    assert_eq!((events.len(), &events[0]["private"]["reason"]), (1, &json!("ticket 4711")));
    assert!(!events[0]["payload"].to_string().contains("4711"));
    placed.act("suspend", json!({"hold": "billing"})).await;
    let refused = house.post(path, json!({"reason": "ticket 4711"})).await.ok(409).body;
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("must be Active")), "{refused:#}");
    let recorded = House::new(on).await;
    recorded.furnish().await;
    let refused = recorded.post(path, json!({"reason": "ticket 4711"})).await.ok(409).body;
    assert!(refused["detail"].as_str().is_some_and(|why| why.contains("has no place")), "{refused:#}");
}
