//! `kill -9` while events become deliveries, while deliveries are sent, and while their results are written: every event
//! reaches every endpoint, and only what was not recorded is sent again.

use super::http::{Client, Request};
use super::place::{On, Place, cluster, on_both};
use super::receiver::Receiver;
use super::server::{PATIENCE, Server, until};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use tenancy_testkit::{Fault, Proxy};

on_both!(
    must_lose_no_event_when_killed_while_events_become_deliveries,
    must_send_again_what_was_in_flight_when_killed,
    must_send_nothing_again_that_was_recorded_when_killed,
);

/// Receivers are on this machine. The leases are short, so that the deliveries of a killed server soon continue, and long
/// enough to be kept on a busy machine.
const SENDS: &[(&str, &str)] = &[
    ("WEBHOOKS_ALLOW_HTTP", "true"),
    ("WEBHOOKS_ALLOW_LOOPBACK", "true"),
    ("WEBHOOKS_LEASE_SECONDS", "5"),
    ("WEBHOOKS_HEARTBEAT_SECONDS", "1"),
];
/// A server that records deliveries and sends none.
const IS_QUIET: (&str, &str) = ("WEBHOOKS_SEND", "false");

/// Lease of the dispatcher, which cannot be configured, and time to continue after it.
const DISPATCH_CONTINUES: Duration = Duration::from_secs(35);
/// Lease of the deliveries of a webhook, and time to continue after it.
const SENDING_CONTINUES: Duration = Duration::from_secs(20);

const TENANTS: usize = 8;
/// Number of changes of each tenant, where a test needs a certain number.
const CHANGES: usize = 12;
/// Maximum number of requests at the same time to one webhook.
const IN_FLIGHT: usize = 8;

/// Names of the webhooks, each with the path of its list. Those of tenants come first: to create one is a change of its
/// tenant.
fn webhooks() -> Vec<(String, String)> {
    let platform = (0..4).map(|n| (format!("platform-{n}"), "/v1/webhooks".to_owned()));
    let organization = (0..2).map(|n| (format!("organization-{n}"), "/v1/organizations/acme/webhooks".to_owned()));
    let tenant = (0..2).map(|n| (format!("tenant-{n}"), format!("/v1/tenants/t-{n}/webhooks")));
    tenant.chain(organization).chain(platform).collect()
}

/// What is recorded of deliveries: ids by state.
type States = BTreeMap<String, String>;

/// Webhooks of a server, and what they receive.
struct Scene {
    receiver: Receiver,
    /// Log position behind which events are received.
    begin: i64,
}

impl Scene {
    /// Creates tenants and webhooks.
    fn new(client: &mut Client) -> Self {
        let receiver = Receiver::start();
        client.post("/v1/organizations", json!({"organization_id": "acme"})).ok(201);
        for tenant in 0..TENANTS {
            let manifest =
                json!({"tenant_id": format!("t-{tenant}"), "organization_id": "acme", "region": "eu-west-1"});
            client.post("/v1/tenants", manifest).ok(201);
        }
        for (name, list) in webhooks() {
            let webhook = json!({
                "name": name, "url": receiver.url(&name), "events": ["TENANCY_UPDATED"], "timeout_seconds": 30,
                "max_in_flight": IN_FLIGHT,
            });
            client.post(&list, webhook).ok(201);
        }
        let newest = client.get("/v1/audit?order=desc&limit=1").ok(200).items();
        Self { receiver, begin: newest[0]["position"].as_i64().expect("a position") }
    }

    /// Changes all tenants at the same time, each `most` times or until a response is missing.
    fn change(server: &Server, most: usize) {
        std::thread::scope(|scope| {
            for tenant in 0..TENANTS {
                let mut client = server.client();
                scope.spawn(move || {
                    let path = format!("/v1/tenants/t-{tenant}");
                    let Ok(before) = client.try_send(&Request::get(&path)) else { return };
                    let version = before.ok(200).body["version"].as_i64().expect("a version");
                    for (version, change) in (version..).zip(0..most) {
                        let change = json!({"labels": {"change": format!("{version}-{change}")}});
                        let Ok(answer) = client.try_send(&Request::patch(&path, version, change)) else { return };
                        answer.ok(200);
                    }
                });
            }
        });
    }

    /// Makes deliveries while the receiver holds its answers back, until every webhook has as many in flight as it may.
    /// Returns their number.
    fn fill(&self, server: &Server) -> usize {
        Self::change(server, CHANGES);
        let mut client = server.client();
        let all = self.expected(&mut client).len();
        until("all deliveries are made", PATIENCE, || (states(&mut client).len() == all).then_some(()));
        let full = webhooks().len() * IN_FLIGHT;
        until("all webhooks are at their limits", PATIENCE, || (self.receiver.count() == full).then_some(()));
        full
    }

    /// Returns which event each webhook must receive, as pairs of webhook and event.
    fn expected(&self, client: &mut Client) -> BTreeSet<(String, String)> {
        let events = client.all("/v1/audit?event_type=TENANCY_UPDATED");
        let mut expected = BTreeSet::new();
        for event in events.iter().filter(|event| event["position"].as_i64() > Some(self.begin)) {
            let (id, tenant) = (text(event, "audit_id"), text(event, "tenant_id"));
            for (name, list) in webhooks() {
                if !list.starts_with("/v1/tenants/") || list.contains(&format!("/{tenant}/")) {
                    expected.insert((name, id.clone()));
                }
            }
        }
        expected
    }

    /// Waits until everything is delivered and recorded, and checks it. `recorded` are the states when the server was
    /// killed.
    fn settle(&self, server: &Server, recorded: &States, received: &BTreeMap<String, usize>) {
        let mut client = server.client();
        let expected = self.expected(&mut client);
        until("every event is delivered", PATIENCE, || (self.receiver.answered() == expected).then_some(()));
        until("every delivery is recorded", PATIENCE, || {
            let states = states(&mut client);
            (states.len() == expected.len() && states.values().all(|state| state == "delivered")).then_some(())
        });
        let mut ids = BTreeMap::new();
        for request in self.receiver.requests() {
            let pair = (request.endpoint, request.audit_id);
            let id = ids.entry(pair).or_insert_with(|| request.id.clone());
            assert_eq!(*id, request.id, "a repeat has the same webhook-id");
        }
        assert_eq!(ids.values().collect::<BTreeSet<_>>().len(), expected.len(), "each delivery has its own webhook-id");

        // What was in flight may be sent again, once. Nothing else may.
        let mut repeated = 0;
        for (id, times) in self.receiver.times() {
            let is_open = received.contains_key(&id) && recorded.get(&id).is_none_or(|state| state != "delivered");
            assert!(times <= 1 + usize::from(is_open), "{id} was sent {times} times");
            repeated += usize::from(times > 1);
        }
        println!("{} deliveries, {repeated} were sent again", expected.len());
    }

    /// Starts the server without sending, and returns what was recorded of deliveries when it was killed.
    fn recorded(place: &Place) -> States {
        let quiet = place.serve_with(&[SENDS, &[IS_QUIET]].concat());
        let states = states(&mut quiet.client());
        quiet.stop();
        states
    }
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap_or_default().to_owned()
}

/// Returns the state of each delivery.
fn states(client: &mut Client) -> States {
    let lists = webhooks().into_iter().map(|(name, list)| format!("{list}/{name}/deliveries"));
    let deliveries: Vec<_> = lists.flat_map(|list| client.all(&list)).collect();
    deliveries.iter().map(|delivery| (text(delivery, "delivery_id"), text(delivery, "state"))).collect()
}

fn must_lose_no_event_when_killed_while_events_become_deliveries(on: On) {
    let place = Place::new(on);
    let server = place.serve_with(SENDS);
    let scene = Scene::new(&mut server.client());
    std::thread::scope(|scope| {
        // Tenants are changed until the server is killed.
        let load = scope.spawn(|| Scene::change(&server, usize::MAX));
        until("deliveries arrive", PATIENCE, || (scene.receiver.count() >= 200).then_some(()));
        server.kill();
        load.join().expect("no panic");
    });
    drop(server);
    let recorded = Scene::recorded(&place);
    // After it: the receiver reads what the killed server sent last a moment later.
    let received = scene.receiver.times();
    let server = place.serve_with(SENDS);
    let expected = scene.expected(&mut server.client());
    println!("{} of {} deliveries were made", recorded.len(), expected.len());
    scene.settle(&server, &recorded, &received);
    server.assert_no_errors();
    server.stop();
}

fn must_send_again_what_was_in_flight_when_killed(on: On) {
    let place = Place::new(on);
    let server = place.serve_with(SENDS);
    let scene = Scene::new(&mut server.client());
    scene.receiver.hold();
    let full = scene.fill(&server);
    server.kill();
    drop(server);
    scene.receiver.drop_held();
    let held = scene.receiver.times();
    let recorded = Scene::recorded(&place);
    assert!(recorded.values().all(|state| state == "waiting"), "{recorded:?}");

    let server = place.serve_with(SENDS);
    scene.settle(&server, &recorded, &held);
    let again: BTreeMap<_, _> = scene.receiver.times().into_iter().filter(|(_, times)| *times > 1).collect();
    assert_eq!((again.len(), again.keys().collect::<Vec<_>>()), (full, held.keys().collect()));
    server.assert_no_errors();
    server.stop();
}

fn must_send_nothing_again_that_was_recorded_when_killed(on: On) {
    let place = Place::new(on);
    let server = place.serve_with(SENDS);
    let scene = Scene::new(&mut server.client());
    std::thread::scope(|scope| {
        let load = scope.spawn(|| Scene::change(&server, 4 * CHANGES));
        until("many results are being written", PATIENCE, || (scene.receiver.count() >= 500).then_some(()));
        server.kill();
        load.join().expect("no panic");
    });
    drop(server);
    let recorded = Scene::recorded(&place);
    // After it: the receiver reads what the killed server sent last a moment later.
    let received = scene.receiver.times();
    let delivered = recorded.values().filter(|state| *state == "delivered").count();
    println!("{delivered} of {} received deliveries were recorded", received.len());
    assert!(delivered > 0 && delivered <= received.len(), "{delivered} of {}", received.len());
    let server = place.serve_with(SENDS);
    scene.settle(&server, &recorded, &received);
    server.assert_no_errors();
    server.stop();
}

/// What was done when a server was killed.
struct Killed {
    /// Number of deliveries.
    made: usize,
    /// Number of deliveries for the events that were committed.
    expected: usize,
    /// Number of deliveries that the receiver got.
    received: usize,
    /// Number of deliveries that were recorded as delivered.
    recorded: usize,
}

/// Kills a server on PostgreSQL when it runs a statement the n-th time. The statement never reaches the database. Checks
/// that the next server delivers everything, and returns what was done before.
fn must_survive_a_kill_at(statement: &'static str, nth: u64) -> Killed {
    let postgres = cluster();
    let database = postgres.database("heard");
    let place = Place::on(&database);
    let proxy = Proxy::start(postgres.address());
    let server = place.through(proxy.url(&database)).serve_with(SENDS);
    let scene = Scene::new(&mut server.client());
    let held = Fault::delay(Duration::from_secs(600))
        .when(move |message| message.executes() && message.sql_contains(statement))
        .nth(nth);
    let held = proxy.arm(held.repeated());
    std::thread::scope(|scope| {
        let load = scope.spawn(|| Scene::change(&server, usize::MAX));
        until("the statement is sent", PATIENCE, || (held.fired() > 0).then_some(()));
        server.kill();
        proxy.cut();
        load.join().expect("no panic");
    });
    drop(server);
    let recorded = Scene::recorded(&place);
    // After it: the receiver reads what the killed server sent last a moment later.
    let received = scene.receiver.times();
    let server = place.serve_with(SENDS);
    let killed = Killed {
        made: recorded.len(),
        expected: scene.expected(&mut server.client()).len(),
        received: received.len(),
        recorded: recorded.values().filter(|state| *state == "delivered").count(),
    };
    scene.settle(&server, &recorded, &received);
    server.assert_no_errors();
    server.stop();
    killed
}

#[test]
fn must_make_the_deliveries_that_a_killed_server_was_about_to_commit() {
    let Killed { made, expected, .. } = must_survive_a_kill_at("INSERT INTO webhook_deliveries", 3);
    assert!(0 < made && made < expected, "{made} of {expected} deliveries were made");
}

#[test]
fn must_send_again_what_a_killed_server_was_about_to_record() {
    let Killed { received, recorded, .. } = must_survive_a_kill_at("INSERT INTO webhook_attempts", 3);
    assert!(0 < recorded && recorded < received, "{recorded} of {received} received deliveries were recorded");
}

#[test]
fn must_go_on_in_another_process_within_the_leases() {
    let place = Place::new(On::Postgres);
    let dies = place.serve_with(SENDS);
    let scene = Scene::new(&mut dies.client());
    scene.receiver.hold();
    scene.fill(&dies);
    let stays = place.serve_with(SENDS);
    let held = scene.receiver.times();
    dies.kill();
    let killed = Instant::now();
    drop(dies);
    scene.receiver.drop_held();
    until("what was in flight is sent again", SENDING_CONTINUES, || {
        let times = scene.receiver.times();
        held.keys().all(|id| times[id] == 2).then_some(())
    });
    println!("sending went on after {:?}", killed.elapsed());
    Scene::change(&stays, 1);
    let expected = scene.expected(&mut stays.client());
    until("new events are delivered", DISPATCH_CONTINUES.saturating_sub(killed.elapsed()), || {
        (scene.receiver.answered() == expected).then_some(())
    });
    println!("new events were delivered after {:?}", killed.elapsed());
    scene.settle(&stays, &States::new(), &held);
    stays.assert_no_errors();
    stays.stop();
}
