//! Placements: what declares them, and which of them an environment gets.

use crate::house::{House, On, acme_eu, on_both};
use crate::placements::manifest;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tenancy_core::apikey::Role;
use tenancy_core::ids::{PlacementName, TenantId};
use tenancy_core::placement::{EnvironmentPlacement, PlacementKind};
use tenancy_placement::sqlite::SqliteFiles;
use tenancy_server::provisioner::{Places, Placing};

on_both!(
    a_placement_must_be_declared_changed_and_deleted,
    what_a_placement_is_must_never_change,
    an_environment_must_be_put_on_a_placement_of_its_region_that_takes_it,
    a_job_must_wait_for_a_placement_and_say_what_is_missing,
    a_placement_must_never_have_more_environments_than_its_cap,
    a_placement_with_environments_must_not_be_deleted,
    a_file_must_declare_placements_and_what_is_put_on_them,
    only_an_admin_without_a_scope_must_write_placements,
    a_key_with_a_scope_must_see_no_placement,
    a_purge_must_not_begin_on_a_server_that_cannot_reach_the_placement,
);

/// A house that puts environments on placements, of which it can reach `disk-1` and `disk-2`.
struct Disks {
    house: House,
    disks: Places,
    _folder: TempDir,
}

impl Disks {
    async fn new(on: On) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let files = |name: &str| SqliteFiles::open(&folder.path().join(name)).expect("opens");
        let disks = ["disk-1", "disk-2"].into_iter().fold(Places::own(files("own")), |places, name| {
            places.with(PlacementName::known(name), PlacementKind::Sqlite, files(name))
        });
        let house = House::with(on, Arc::new(Placing::on_placements(disks.clone()))).await;
        house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
        Self { house, disks, _folder: folder }
    }

    /// Declares a placement, or changes it.
    async fn declare(&self, name: &str, said: Value) {
        let mut document = disk(name, "eu-west-1");
        document.as_object_mut().expect("an object").extend(said.as_object().expect("an object").clone());
        document["kind"] = json!("Placement");
        self.house.post("/v1/apply", document).await.ok(200);
    }

    async fn register(&self) {
        self.house.post("/v1/tenants", manifest()).await.ok(201);
        self.house.work().await;
    }

    /// The placements of the environments of a tenant, by their names.
    async fn placements_of(&self, tenant: &str) -> Vec<(String, Option<String>)> {
        let id = TenantId::parse(tenant).expect("an id");
        let mut places = self.house.server.tenancy.store.places(&id).await.expect("read");
        places.sort_by(|a, b| a.name.cmp(&b.name));
        places.into_iter().map(|place| (place.name, place.placement.map(|name| name.to_string()))).collect()
    }

    async fn job(&self) -> Value {
        self.house.get("/v1/tenants/acme-eu/jobs?limit=1").await.ok(200).body["items"][0].clone()
    }

    async fn later(&self) {
        self.house.server.tenancy.store.shift_clock(Duration::from_secs(60));
        self.house.work().await;
    }
}

fn disk(name: &str, region: &str) -> Value {
    json!({"name": name, "place_kind": "sqlite", "region": region})
}

fn on(name: &str) -> Option<String> {
    Some(name.to_owned())
}

async fn a_placement_must_be_declared_changed_and_deleted(on: On) {
    let house = House::new(on).await;
    let said = json!({
        "name": "disk-1", "place_kind": "sqlite", "region": "eu-west-1", "address": {"host": "db.example", "port": 5432},
        "profiles": ["st-dedicated"], "isolation_levels": ["strict"], "max_environments": 7,
    });
    let made = house.post("/v1/placements", said.clone()).await.ok(201);
    assert_eq!(made.header("location"), "/v1/placements/disk-1");
    let read = house.get("/v1/placements/disk-1").await.ok(200);
    assert_eq!(read.body, made.body);
    assert_eq!(read.header("etag"), made.header("etag"));
    for (name, value) in said.as_object().expect("an object") {
        assert_eq!(&read.body[name], value, "{name}");
    }
    assert_eq!((&read.body["cordoned"], &read.body["environment_count"]), (&json!(false), &json!(0)));
    house.post("/v1/placements", said).await.refused(409, "placement_exists");
    let one = [("if-match", "*")];
    let cordoned = house.send("PATCH", "/v1/placements/disk-1", &one, json!({"cordoned": true})).await.ok(200);
    assert_eq!((&cordoned.body["cordoned"], &cordoned.body["version"]), (&json!(true), &json!(2)));
    // What was read can be written back.
    let mut whole = cordoned.body.clone();
    whole["max_environments"] = Value::Null;
    let replaced = house.send("PUT", "/v1/placements/disk-1", &[], whole).await.ok(200).body;
    assert_eq!((&replaced["max_environments"], &replaced["version"]), (&Value::Null, &json!(3)));
    let stale = house.send("PUT", "/v1/placements/disk-1", &[], cordoned.body).await;
    stale.refused(412, "stale_version");
    let listed = house.get("/v1/placements").await.ok(200).body["items"].clone();
    assert_eq!(listed.as_array().map(Vec::len), Some(1));
    house.send("DELETE", "/v1/placements/disk-1", &one, ()).await.ok(204);
    house.get("/v1/placements/disk-1").await.refused(404, "not_found");
    for (event_type, count) in [("PLACEMENT_CREATED", 1), ("PLACEMENT_UPDATED", 2), ("PLACEMENT_DELETED", 1)] {
        assert_eq!(house.events(&format!("event_type={event_type}")).await.len(), count, "{event_type}");
    }
}

async fn what_a_placement_is_must_never_change(on: On) {
    let house = House::new(on).await;
    house.post("/v1/placements", disk("disk-1", "eu-west-1")).await.ok(201);
    let moved = json!({"name": "disk-2", "region": "us-east-1"});
    let refused =
        house.send("PATCH", "/v1/placements/disk-1", &[("if-match", "*")], moved).await.refused(422, "invalid");
    let errors = refused.body["errors"].as_array().expect("a list").clone();
    let pointers: Vec<_> = errors.iter().map(|error| (&error["pointer"], &error["code"])).collect();
    let immutable = json!("immutable");
    assert_eq!(pointers, [(&json!("/name"), &immutable), (&json!("/region"), &immutable)]);
}

async fn an_environment_must_be_put_on_a_placement_of_its_region_that_takes_it(on_database: On) {
    let disks = Disks::new(on_database).await;
    disks.declare("disk-1", json!({"isolation_levels": ["strict"]})).await;
    disks.declare("disk-2", json!({"isolation_levels": ["shared"], "profiles": ["mt-standard"]})).await;
    disks.house.post("/v1/placements", disk("disk-9", "us-east-1")).await.ok(201);
    disks.register().await;
    let placed = disks.placements_of("acme-eu").await;
    assert_eq!(placed, [("dev".to_owned(), on("disk-2")), ("prod".to_owned(), on("disk-1"))]);
    let place = disks.house.get("/v1/tenants/acme-eu/environments/dev").await.ok(200).body["place"].clone();
    assert_eq!(place["placement"], "disk-2");
    let event = &disks.house.events("event_type=ENVIRONMENT_PLACED").await[0]["payload"];
    assert!(matches!(event["placement"].as_str(), Some("disk-1" | "disk-2")), "{event}");
    let read = disks.house.get("/v1/placements/disk-1").await.ok(200).body;
    assert_eq!(read["environment_count"], 1);
}

async fn a_job_must_wait_for_a_placement_and_say_what_is_missing(on_database: On) {
    let disks = Disks::new(on_database).await;
    disks.register().await;
    let what = disks.job().await["waiting_for"].as_str().expect("it waits").to_owned();
    let start = "a placement in eu-west-1 that takes environments with mt-standard and shared";
    assert_eq!(what, format!("{start} (there is none in this region)"));
    disks.declare("disk-1", json!({"cordoned": true})).await;
    disks.declare("disk-2", json!({"profiles": ["st-dedicated"]})).await;
    disks.declare("disk-3", json!({"max_environments": 9, "isolation_levels": ["strict"]})).await;
    disks.later().await;
    let what = disks.job().await["waiting_for"].as_str().expect("it waits").to_owned();
    let reasons = "disk-1 is cordoned, disk-2 does not take mt-standard, disk-3 does not take shared";
    assert_eq!(what, format!("{start} ({reasons})"));
    // A server that cannot reach the placement leaves the job to others.
    disks.declare("disk-3", json!({"isolation_levels": null})).await;
    disks.later().await;
    let what = disks.job().await["waiting_for"].as_str().expect("it waits").to_owned();
    let unknown = "disk-3 is not in the configuration of this server with places of kind sqlite";
    assert_eq!(what, format!("{start} ({unknown}, disk-1 is cordoned, disk-2 does not take mt-standard)"));
    disks.declare("disk-1", json!({"cordoned": false})).await;
    disks.later().await;
    assert_eq!(disks.job().await["state"], "completed");
    assert_eq!(
        disks.placements_of("acme-eu").await,
        [("dev".to_owned(), on("disk-1")), ("prod".to_owned(), on("disk-1"))]
    );
}

async fn a_placement_must_never_have_more_environments_than_its_cap(on: On) {
    let disks = Disks::new(on).await;
    disks.declare("disk-1", json!({"max_environments": 5})).await;
    let tenants: Vec<_> = (0..6).map(|number| format!("acme-{number:02}")).collect();
    for id in &tenants {
        let mut manifest = acme_eu();
        (manifest["tenant_id"], manifest["aliases"]) = (json!(id), json!({}));
        disks.house.post("/v1/tenants", manifest).await.ok(201);
    }
    // All jobs run at the same time.
    disks.house.work().await;
    assert_eq!(disks.house.get("/v1/placements/disk-1").await.ok(200).body["environment_count"], 5);
    // A lower cap lets the others wait, a higher one lets them go on.
    disks.declare("disk-1", json!({"max_environments": 3})).await;
    disks.later().await;
    assert_eq!(disks.house.get("/v1/placements/disk-1").await.ok(200).body["environment_count"], 5);
    disks.declare("disk-1", json!({"max_environments": 7})).await;
    disks.later().await;
    assert_eq!(disks.house.get("/v1/placements/disk-1").await.ok(200).body["environment_count"], 7);
    disks.declare("disk-1", json!({"max_environments": null})).await;
    disks.later().await;
    assert_eq!(disks.house.get("/v1/placements/disk-1").await.ok(200).body["environment_count"], 12);
}

async fn a_placement_with_environments_must_not_be_deleted(on: On) {
    let disks = Disks::new(on).await;
    disks.declare("disk-1", json!({})).await;
    disks.register().await;
    let remove = || disks.house.send("DELETE", "/v1/placements/disk-1", &[("if-match", "*")], ());
    let refused = remove().await.refused(409, "not_in_this_state");
    assert!(
        refused.body["detail"].as_str().expect("a text").contains("has 2 places of environments"),
        "{}",
        refused.body
    );
    disks.house.post("/v1/tenants/acme-eu/suspend", json!({})).await.ok(202);
    disks.house.work().await;
    disks.house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    disks.house.work().await;
    remove().await.refused(409, "not_in_this_state");
    disks.house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
    disks.house.work().await;
    remove().await.ok(204);
}

async fn a_file_must_declare_placements_and_what_is_put_on_them(on: On) {
    let disks = Disks::new(on).await;
    let mut tenant = manifest();
    tenant["kind"] = json!("Tenant");
    let placement = |cap: i64| json!({"kind": "Placement", "name": "disk-1", "place_kind": "sqlite", "region": "eu-west-1", "max_environments": cap});
    let file = json!([tenant, placement(9)]);
    let lines = disks.house.post("/v1/apply", file.clone()).await.ok(200).body["results"].clone();
    assert_eq!(
        (&lines[1]["kind"], &lines[1]["id"], &lines[1]["result"]),
        (&json!("Placement"), &json!("disk-1"), &json!("created"))
    );
    disks.house.work().await;
    assert_eq!(disks.placements_of("acme-eu").await.len(), 2);
    let again = disks.house.post("/v1/apply", file).await.ok(200).body["results"].clone();
    assert_eq!(again[1]["result"], "unchanged");
    let changed = disks.house.post("/v1/apply?dry_run=true", placement(8)).await.ok(200).body["results"].clone();
    assert_eq!(changed[0]["changes"], json!([{"pointer": "/max_environments", "from": 9, "to": 8}]));
    let nameless = json!({"kind": "Placement", "place_kind": "tape"});
    let refused = disks.house.post("/v1/apply", nameless).await.refused(422, "invalid").body;
    let pointers: Vec<_> =
        refused["errors"].as_array().expect("a list").iter().map(|error| error["pointer"].clone()).collect();
    assert_eq!(pointers, ["/0/name", "/0/place_kind"]);
}

async fn only_an_admin_without_a_scope_must_write_placements(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let document = json!({"kind": "Placement", "name": "disk-1", "place_kind": "sqlite", "region": "eu-west-1"});
    house.send_as(Role::Operator, "POST", "/v1/apply", document).await.refused(403, "forbidden");
    house
        .send_as(Role::Operator, "POST", "/v1/placements", disk("disk-1", "eu-west-1"))
        .await
        .refused(403, "forbidden");
    house.send_as(Role::Operator, "GET", "/v1/placements", ()).await.ok(200);
}

async fn a_key_with_a_scope_must_see_no_placement(on: On) {
    let disks = Disks::new(on).await;
    let house = &disks.house;
    disks.declare("disk-1", json!({"cordoned": true})).await;
    disks.register().await;
    let key = json!({"name": "portal", "role": "customer", "scope": "tenant:acme-eu"});
    let key = house.post("/v1/keys", key).await.ok(201).body["token"].as_str().expect("a token").to_owned();
    let authorization = format!("Bearer {key}");
    let headers = [("authorization", authorization.as_str())];
    let read = async |path: &str| house.send_as_it_is("GET", path, &headers, "").await.ok(200).body;
    let job = disks.job().await;
    assert!(job["waiting_for"].as_str().is_some_and(|what| what.contains("disk-1 is cordoned")), "{job}");
    disks.declare("disk-1", json!({"cordoned": false})).await;
    let waiting = [read("/v1/tenants/acme-eu/jobs").await, read("/v1/tenants/acme-eu").await];
    disks.later().await;
    assert_eq!(house.events("event_type=ENVIRONMENT_PLACED").await[0]["payload"]["placement"], "disk-1");
    let of_tenant = ["", "/environments/dev", "/jobs", "/audit"].map(|end| format!("/v1/tenants/acme-eu{end}"));
    let mut answers = waiting.to_vec();
    for path in &of_tenant {
        answers.push(read(path).await);
    }
    for answer in answers {
        assert!(!answer.to_string().contains("disk-1"), "{answer}");
    }
}

async fn a_purge_must_not_begin_on_a_server_that_cannot_reach_the_placement(on: On) {
    let disks = Disks::new(on).await;
    let house = &disks.house;
    disks.declare("disk-1", json!({})).await;
    disks.register().await;
    house.post("/v1/tenants/acme-eu/suspend", json!({})).await.ok(202);
    house.work().await;
    house.send("DELETE", "/v1/tenants/acme-eu", &[("if-match", "*")], ()).await.ok(202);
    house.work().await;
    house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
    let folder = tempfile::tempdir().expect("a folder");
    let own = SqliteFiles::open(folder.path()).expect("opens");
    house.working_with(Arc::new(Placing::new(own))).run_once().await.expect("worked");
    let what = disks.job().await["waiting_for"].as_str().expect("it waits").to_owned();
    assert!(what.contains("a process with placement disk-1 in its configuration"), "{what}");
    assert_eq!(house.events("event_type=ENVIRONMENT_DESTRUCTION_STARTED").await.len(), 0);
    disks.later().await;
    assert!(disks.placements_of("acme-eu").await.is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_that_a_restored_record_does_not_know_must_be_found_again() {
    let disks = Disks::new(On::Postgres).await;
    let (house, id) = (&disks.house, TenantId::parse("acme-eu").expect("an id"));
    disks.declare("disk-1", json!({"max_environments": 9})).await;
    disks.declare("disk-2", json!({"max_environments": 9})).await;
    disks.register().await;
    let store = &house.server.tenancy.store;
    let before = store.places(&id).await.expect("read");
    // As in a backup from before the places were chosen.
    let database = house.postgres.as_ref().expect("PostgreSQL");
    database.execute("DELETE FROM environment_placements; UPDATE environments SET provisioned_at = NULL");
    store.begin_log_epoch().await.expect("restored");
    let renamed = json!({"environments": [{"name": "dev", "isolation_level": "shared"}, {"name": "prod"}]});
    let path = "/v1/tenants/acme-eu?allow=remove-quota&allow=less-retention";
    house.send("PATCH", path, &[("if-match", "*")], renamed).await.ok(200);
    let again = house.working_with(Arc::new(Placing::on_placements(disks.disks.clone())));
    while again.run_once().await.expect("worked") > 0 {}
    let after = store.places(&id).await.expect("read");
    let found = |places: &[EnvironmentPlacement]| {
        let mut found: Vec<_> = places
            .iter()
            .map(|place| (place.env_id.clone(), place.placement.clone(), place.fingerprint.clone()))
            .collect();
        found.sort();
        found
    };
    assert_eq!(found(&after), found(&before));
    assert!(after.iter().all(|place| place.made_at.is_some() && place.slot.is_none()));
}
