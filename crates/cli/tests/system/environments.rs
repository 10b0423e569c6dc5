//! `kill -9` while the files of environments are made, closed and destroyed: jobs go on, and no file is left that the
//! record does not know.

use super::http::{Client, Request};
use super::place::{On, Place, on_both};
use super::server::{PATIENCE, Server, until};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use tenancy_testkit::Chance;

on_both!(must_leave_no_file_that_the_record_does_not_know_when_killed);

/// Short leases, so that the jobs of a killed server are soon continued.
const SETTINGS: &[(&str, &str)] =
    &[("JOBS_PROVISIONER", "sqlite"), ("JOBS_LEASE_SECONDS", "2"), ("JOBS_HEARTBEAT_SECONDS", "1")];
const TENANTS: usize = 16;
const KILLS: usize = 3;

fn names() -> impl Iterator<Item = String> {
    (0..TENANTS).map(|number| format!("t-{number}"))
}

/// Sends a request for each tenant, until one is not answered. What was answered before is refused, which is no failure.
fn ask(client: &mut Client, request: impl Fn(&str) -> Request) {
    for name in names() {
        if client.try_send(&request(&name)).is_err() {
            return;
        }
    }
}

/// Asks for something for each tenant, kills the server at random instants meanwhile, and returns when all are there.
fn bring(place: &Place, chance: &mut Chance, request: impl Fn(&str) -> Request + Sync, state: &str) {
    for _ in 0..KILLS {
        let server = place.serve_with(SETTINGS);
        let moment = chance.milliseconds(20, 500);
        std::thread::scope(|scope| {
            let (mut client, request) = (server.client(), &request);
            scope.spawn(move || ask(&mut client, request));
            // A random instant: waiting for an event would fix the instant.
            std::thread::sleep(moment);
            server.kill();
        });
        server.assert_no_errors();
    }
    let server = place.serve_with(SETTINGS);
    let mut client = server.client();
    until(&format!("all tenants are {state}"), PATIENCE, || {
        ask(&mut client, &request);
        (tenants(&mut client).iter().filter(|tenant| is(tenant, state)).count() == TENANTS).then_some(())
    });
    server.stop();
}

fn is(tenant: &Value, state: &str) -> bool {
    let is_purged = tenant["purged_at"].is_string();
    if state == "purged" { is_purged } else { tenant["state"] == state && !is_purged && tenant["open_job"].is_null() }
}

fn tenants(client: &mut Client) -> Vec<Value> {
    let found = names().map(|name| client.get(&format!("/v1/tenants/{name}")));
    found.filter(|answer| answer.is_success()).map(|answer| answer.body).collect()
}

/// Ids of all environments.
fn recorded(server: &Server) -> BTreeSet<String> {
    let tenants = tenants(&mut server.client());
    let environments = tenants.iter().flat_map(|tenant| tenant["environments"].as_array().cloned().unwrap_or_default());
    environments.map(|one| one["env_id"].as_str().expect("an id").to_owned()).collect()
}

/// Names of the entries of a folder that belong to an environment.
fn files(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry"));
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("env_")).collect()
}

fn must_leave_no_file_that_the_record_does_not_know_when_killed(on: On) {
    let mut chance = Chance::new(21);
    let place = Place::new(on);
    let server = place.serve_with(SETTINGS);
    server.client().post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    server.stop();
    let register = |name: &str| {
        let environments = json!([{"name": "dev"}, {"name": "prod"}]);
        let manifest = json!({"tenant_id": name, "organization_id": "acme", "region": "eu-west-1",
            "desired_state": "Active", "policies": {"purgeAfterDays": 0}, "environments": environments});
        Request::post("/v1/tenants", manifest)
    };
    bring(&place, &mut chance, register, "Active");
    let folder = place.path(".tenancy/environments");
    let (closed, removed) = (folder.join("closed"), folder.join("removed"));
    let server = place.serve_with(SETTINGS);
    let all = recorded(&server);
    server.stop();
    assert_eq!(all.len(), 2 * TENANTS);
    assert_eq!((files(&folder), files(&closed)), (all.clone(), BTreeSet::new()));

    let suspend = |name: &str| Request::post(format!("/v1/tenants/{name}/suspend"), json!({}));
    bring(&place, &mut chance, suspend, "Suspended");
    assert_eq!((files(&folder), files(&closed)), (BTreeSet::new(), all.clone()));

    let delete = |name: &str| Request::new("DELETE", format!("/v1/tenants/{name}")).header("if-match", "*");
    bring(&place, &mut chance, delete, "Archived");
    assert_eq!((files(&folder), files(&closed)), (BTreeSet::new(), all));

    let purge = |name: &str| Request::post(format!("/v1/tenants/{name}/purge"), json!({}));
    bring(&place, &mut chance, purge, "purged");
    for folder in [&folder, &closed, &removed] {
        assert_eq!(files(folder), BTreeSet::new(), "{}", folder.display());
    }
}
