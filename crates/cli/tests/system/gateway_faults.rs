//! Gateways while the database is away, and the agent after the log was shortened or restored. The servers are real.

use super::gateway::{Visitor, application, nginx_in_front_of, ready, start_agent};
use super::http::{Client, Request};
use super::place::{On, Place, cluster, shared};
use super::server::{PATIENCE, Server, until};
use jiff::{SignedDuration, Timestamp};
use serde_json::json;
use std::os::unix::fs::PermissionsExt as _;
use std::time::{Duration, Instant};
use tenancy_core::decision_context::least_audit_id;

/// Maximum time of an answer while the database refuses connections.
const GONE: Duration = Duration::from_secs(12);

/// Registers a tenant in service, with the host of [`Visitor`] if it has the alias.
fn register(control: &mut Client, tenant: &str, host: &str) {
    let manifest = json!({
        "tenant_id": tenant, "organization_id": "acme", "region": "eu-west-1", "desired_state": "Active",
        "aliases": {"host": host},
    });
    control.post("/v1/tenants", manifest).ok(201);
    let path = format!("/v1/access?tenant={tenant}");
    until("it is in service", PATIENCE, || (control.get(&path).ok(200).body["allowed"] == true).then_some(()));
}

/// Starts a server with the tenant `acme-eu`.
fn served(place: &Place) -> (Server, Client) {
    let server = place.serve();
    let mut control = server.client();
    control.post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
    register(&mut control, "acme-eu", "acme.example.com");
    (server, control)
}

fn url(server: &Server) -> String {
    format!("http://{}", server.address())
}

/// Returns why the agent refuses a tenant; empty if it does not.
fn refusal(client: &mut Client, tenant: &str) -> String {
    let answer = client.send(&Request::get("/v1/access/auth").header("x-tenant", tenant));
    assert!(matches!(answer.status, 200 | 403), "{answer:?}");
    answer.header("x-tenant-reason").to_owned()
}

#[test]
fn must_answer_gateways_with_200_or_403_while_the_database_is_away() {
    let mut postgres = cluster();
    let place = Place::on(&postgres.database("gateways"));
    let (server, _) = served(&place);
    let serving = start_agent(&place, &url(&server), place.token(), &["--no-snapshot"]);
    let stale = ["--no-snapshot", "--max-age", "3s", "--when-stale", "refuse"];
    let refusing = start_agent(&place, &url(&server), place.token(), &stale);
    ready(&serving);
    ready(&refusing);
    let (first, second) =
        (nginx_in_front_of(serving.address(), application()), nginx_in_front_of(refusing.address(), application()));
    let (serves, refuses) = (Visitor::of(&first), Visitor::of(&second));
    serves.until_status(200);
    refuses.until_status(200);

    postgres.kill();
    // The server itself: 403 with the reason for every key and every tenant, never a status that nginx turns into an error.
    let asked = [
        (server.client(), Request::get("/v1/access/auth?tenant=acme-eu")),
        (server.client(), Request::get("/v1/access/auth").header("x-forwarded-host", "acme.example.com")),
        (server.client(), Request::new("POST", "/v1/access/auth/orders").header("x-tenant", "nobody")),
        (Client::new(server.address(), Some("tenancy_0000")), Request::get("/v1/access/auth?tenant=acme-eu")),
    ];
    std::thread::scope(|scope| {
        for (mut client, request) in asked {
            scope.spawn(move || {
                let begun = Instant::now();
                let answer = client.send(&request).ok(403);
                assert_eq!(answer.header("x-tenant-reason"), "unavailable", "{request:?}");
                assert_eq!(answer.header("cache-control"), "no-store");
                assert!(begun.elapsed() < GONE, "{request:?}: {:?}", begun.elapsed());
            });
        }
        let mut client = server.client();
        scope.spawn(move || client.get("/v1/access?tenant=acme-eu").problem(503, "unavailable"));
        let mut client = server.client();
        scope.spawn(move || client.get("/v1/access/events").problem(503, "unavailable"));
    });
    // Behind an agent: it answers from memory, and above its maximum age refuses if it was told to.
    let refused = until("what the agent knows is too old", PATIENCE, || {
        let (status, answer) = refuses.get("");
        assert!(matches!(status, 200 | 403), "{answer}");
        (status == 403).then_some(answer)
    });
    assert!(refused.contains("\r\nx-tenant-reason: stale\r\n"), "{refused}");
    for _ in 0..50 {
        assert_eq!(serves.get("").0, 200);
    }
    postgres.restart();
    refuses.until_status(200);
    // Without an agent, nobody knows whether the tenant may be served.
    serving.kill();
    serves.until_status(500);
    refusing.stop();
    server.stop();
}

#[test]
fn must_read_all_tenants_again_if_the_log_no_longer_has_what_the_agent_missed() {
    let database = shared().database("shortened");
    let place = Place::on(&database);
    let (server, mut control) = served(&place);
    let arguments = ["--snapshot", "agent.snapshot"];
    let file = || std::fs::read_to_string(place.path("agent.snapshot")).unwrap_or_default();
    let agent = start_agent(&place, &url(&server), place.token(), &arguments);
    ready(&agent);
    until("the file is saved", PATIENCE, || file().contains("acme-eu").then_some(()));
    agent.stop();
    // Both happen while the agent is away, and then the log forgets them.
    register(&mut control, "acme-us", "us.acme.example.com");
    control.post("/v1/tenants/acme-eu/suspend", json!({"hold": "billing"})).ok(202);
    let floor = least_audit_id(Timestamp::now() + SignedDuration::from_hours(1));
    database.execute(&format!("UPDATE log_floor SET audit_id = '{floor}'"));

    let agent = start_agent(&place, &url(&server), place.token(), &arguments);
    let mut client = Client::new(agent.address(), None);
    until("the new tenant is known", PATIENCE, || refusal(&mut client, "acme-us").is_empty().then_some(()));
    assert_eq!(refusal(&mut client, "acme-eu"), "hold_billing");
    assert!(agent.errors().contains("reading all tenants again"), "{}", agent.errors());
    until("the file is saved again", PATIENCE, || file().contains("acme-us").then_some(()));
    // It follows the server again.
    control.post("/v1/tenants/acme-us/suspend", json!({"hold": "abuse"})).ok(202);
    until("the suspension", PATIENCE, || (refusal(&mut client, "acme-us") == "hold_abuse").then_some(()));
    agent.stop();
    server.stop();
}

#[test]
fn must_forget_the_tenants_that_a_restore_has_lost() {
    let place = Place::new(On::Sqlite);
    let (server, mut control) = served(&place);
    place.good(&["db", "backup", "kept.db"]);
    let agent = start_agent(&place, &url(&server), place.token(), &["--snapshot", "agent.snapshot"]);
    ready(&agent);
    register(&mut control, "lost", "lost.example.com");
    let mut client = Client::new(agent.address(), None);
    until("the agent knows it", PATIENCE, || refusal(&mut client, "lost").is_empty().then_some(()));
    let address = server.address().to_string();
    server.kill();
    drop(server);

    std::fs::create_dir(place.path("restored")).expect("made");
    std::fs::set_permissions(place.path("restored"), std::fs::Permissions::from_mode(0o700)).expect("set");
    std::fs::copy(place.path("kept.db"), place.path("restored/tenancy.db")).expect("restored");
    place.good(&["db", "after-restore", "--data-dir", "restored"]);
    assert_eq!(refusal(&mut client, "lost"), "", "until the server is back, it answers from memory");
    let server = place.start(place.command(&["serve", "--listen", &address, "--data-dir", "restored"]));
    until("it is forgotten", PATIENCE, || (refusal(&mut client, "lost") == "tenant_unknown").then_some(()));
    assert_eq!(refusal(&mut client, "acme-eu"), "");
    let saved = || std::fs::read_to_string(place.path("agent.snapshot")).unwrap_or_default();
    until("the file is saved", PATIENCE, || {
        (saved().contains("acme-eu") && !saved().contains("lost.example.com")).then_some(())
    });
    register(&mut server.client(), "found", "found.example.com");
    until("the agent follows", PATIENCE, || refusal(&mut client, "found").is_empty().then_some(()));
    agent.stop();
    server.stop();
}
