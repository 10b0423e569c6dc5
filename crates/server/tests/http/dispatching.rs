//! The dispatcher and the replays among several processes, broken rows, newer releases and restored databases.

use crate::house::{House, On, on_both};
use serde_json::{Value, json};
use std::time::Duration;
use tenancy_core::ids::WebhookId;
use tenancy_server::webhooks::dispatcher::Dispatcher;
use tenancy_server::webhooks::replay;
use tenancy_store::page::{DeliveryFilter, Page};

on_both!(
    a_replay_must_run_only_in_the_process_that_has_the_lease_of_the_dispatcher,
    a_replay_must_go_on_beside_many_that_cannot_and_while_events_arrive,
    a_dispatcher_must_take_its_position_from_a_database_that_was_restored,
    a_change_of_a_webhook_of_the_platform_must_count_from_its_event,
    a_part_of_the_log_that_nobody_receives_must_cost_one_read,
);

/// Another process takes over after this time.
const AFTER_THE_LEASE: Duration = Duration::from_secs(60);

async fn add(house: &House, path: &str, name: &str) -> WebhookId {
    let body = json!({"name": name, "url": "https://hooks.example", "events": ["TENANCY_UPDATED"]});
    let made = house.post(path, &body).await.ok(201);
    WebhookId::known(made.body["webhook_id"].as_str().expect("an id"))
}

async fn rename(house: &House, name: &str) {
    house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], json!({"display_name": name})).await.ok(200);
}

async fn dispatch(house: &House) -> usize {
    house.server.tenancy.dispatcher.run_once(&house.server.tenancy).await.expect("dispatched")
}

async fn deliveries(house: &House, webhook: &WebhookId) -> usize {
    let page = Page { limit: 500, ..Page::default() };
    let all = house.server.tenancy.store.deliveries(webhook, &DeliveryFilter::default(), &page).await;
    all.expect("listed").items.len()
}

/// How far the replay of a webhook is.
async fn replayed(house: &House, webhook: &WebhookId) -> Option<i64> {
    let lane = house.server.tenancy.store.lane(webhook).await.expect("read");
    lane.and_then(|lane| lane.replay_position)
}

async fn a_replay_must_run_only_in_the_process_that_has_the_lease_of_the_dispatcher(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let (tenancy, since) = (&house.server.tenancy, json!(house.server.tenancy.now()));
    let webhook = add(&house, "/v1/webhooks", "all").await;
    rename(&house, "One").await;
    house.post("/v1/webhooks/all/replay", &json!({"since": since})).await.ok(202);
    assert_eq!(dispatch(&house).await, 1);
    let begun = replayed(&house, &webhook).await;
    assert!(begun.is_some());
    tenancy.store.shift_clock(AFTER_THE_LEASE);
    let other = Dispatcher::default();
    other.run_once(tenancy).await.expect("dispatched");
    house.server.background.run_once("webhook-dispatch").await;
    assert_eq!(replay::run_once(tenancy).await, Ok(0), "another process has the lease");
    assert_eq!(replayed(&house, &webhook).await, begun);
    other.release(tenancy).await.expect("released");
    house.server.background.run_once("webhook-dispatch").await;
    assert_eq!(replayed(&house, &webhook).await, None);
}

async fn a_replay_must_go_on_beside_many_that_cannot_and_while_events_arrive(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let (tenancy, since) = (&house.server.tenancy, json!(house.server.tenancy.now()));
    let mut webhooks = Vec::new();
    for number in 0..40 {
        let name = format!("hook-{number}");
        webhooks.push((add(&house, "/v1/webhooks", &name).await, name));
    }
    rename(&house, "One").await;
    for (_, name) in &webhooks {
        house.post(&format!("/v1/webhooks/{name}/replay"), &json!({"since": since})).await.ok(202);
    }
    // The last two in the order of their turns can go on; the others are disabled.
    webhooks.sort();
    let able = webhooks.split_off(38);
    for (_, name) in &webhooks {
        house.send("POST", &format!("/v1/webhooks/{name}/disable"), &[("if-match", "*")], ()).await.ok(200);
    }
    dispatch(&house).await;
    for number in 0..12 {
        rename(&house, &format!("Busy {number}")).await;
        house.server.background.run_once("webhook-dispatch").await;
        tenancy.store.shift_clock(Duration::from_secs(1));
    }
    for (webhook, _) in &able {
        assert_eq!(deliveries(&house, webhook).await, 13);
        assert_eq!(replayed(&house, webhook).await, None, "it ended while events arrived");
    }
    for (webhook, _) in &webhooks {
        assert!(replayed(&house, webhook).await.is_some(), "it waits until its webhook is enabled");
    }
}

async fn a_dispatcher_must_take_its_position_from_a_database_that_was_restored(on: On) {
    // The second database stands for what the first one becomes when an older backup is restored.
    let (house, restored) = (House::new(on).await, House::new(on).await);
    for house in [&house, &restored] {
        house.furnish().await;
    }
    for number in 0..20 {
        rename(&house, &format!("Name {number}")).await;
    }
    let dispatcher = Dispatcher::default();
    dispatcher.run_once(&house.server.tenancy).await.expect("dispatched");
    let tenancy = &restored.server.tenancy;
    let webhook = add(&restored, "/v1/webhooks", "all").await;
    rename(&restored, "One").await;
    dispatcher.run_once(tenancy).await.expect("it notices");
    dispatcher.run_once(tenancy).await.expect("dispatched");
    assert_eq!(deliveries(&restored, &webhook).await, 1);
}

async fn a_change_of_a_webhook_of_the_platform_must_count_from_its_event(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    dispatch(&house).await;
    // It is added and receives an event in the same part of the log.
    rename(&house, "Before").await;
    let webhook = add(&house, "/v1/webhooks", "all").await;
    rename(&house, "First").await;
    assert_eq!(dispatch(&house).await, 1);
    let more = async |path: &str, method: &str, body: Value| {
        if !path.is_empty() {
            let path = format!("/v1/webhooks/{path}");
            let answered = match body {
                Value::Null => house.send(method, &path, &[("if-match", "*")], ()).await,
                body => house.send(method, &path, &[("if-match", "*")], body).await,
            };
            assert!(answered.status.is_success(), "{:#}", answered.body);
        }
        dispatch(&house).await;
        rename(&house, &format!("Name {}", house.next())).await;
        dispatch(&house).await
    };
    assert_eq!(more("", "", Value::Null).await, 1);
    assert_eq!(more("all/disable", "POST", Value::Null).await, 0);
    assert_eq!(more("", "", Value::Null).await, 0);
    assert_eq!(more("all/enable", "POST", Value::Null).await, 1);
    assert_eq!(more("all", "PATCH", json!({"events": ["JOB_*"]})).await, 0);
    assert_eq!(more("all", "PATCH", json!({"events": ["TENANCY_*"]})).await, 1);
    assert_eq!(deliveries(&house, &webhook).await, 4);
    assert_eq!(more("all", "DELETE", Value::Null).await, 0);
}

async fn a_part_of_the_log_that_nobody_receives_must_cost_one_read(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let store = &house.server.tenancy.store;
    for number in 0..8 {
        let body = json!({"name": format!("n-{number}"), "url": "https://hooks.example", "events": ["KEY_*"]});
        house.post("/v1/webhooks", &body).await.ok(201);
    }
    for _ in 0..2 {
        house.server.background.run_once("webhook-dispatch").await;
    }
    rename(&house, "One").await;
    house.server.background.run_once("webhook-dispatch").await;
    rename(&house, "Two").await;
    let before = store.reads();
    house.server.background.run_once("webhook-dispatch").await;
    assert_eq!(store.reads() - before, 1, "the webhooks of the platform are in memory; nobody else has any");
}

/// Changes rows in a way that only another release, or somebody with a database client, does.
fn tamper(house: &House, sql: &str) {
    let database = house.postgres.as_ref().expect("PostgreSQL");
    database.execute(&format!("SET session_replication_role = replica; {sql}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_a_newer_release_must_be_left_to_processes_of_that_release() {
    let house = House::new(On::Postgres).await;
    house.furnish().await;
    let (tenancy, store) = (&house.server.tenancy, &house.server.tenancy.store);
    let webhook = add(&house, "/v1/webhooks", "all").await;
    for name in ["One", "Two", "Three"] {
        rename(&house, name).await;
    }
    let second = "(SELECT max(position) - 1 FROM tenant_audit)";
    tamper(&house, &format!("UPDATE tenant_audit SET event_type = 'TENANCY_TELEPORTED' WHERE position = {second}"));
    assert_eq!(dispatch(&house).await, 1, "what comes before it");
    let lease = store.lease_dispatch("newer", AFTER_THE_LEASE).await.expect("asked").expect("it was given back");
    store.release_dispatch(lease.epoch).await.expect("released");
    assert_eq!(dispatch(&house).await, 0);
    let lease = store.lease_dispatch("newer", AFTER_THE_LEASE).await.expect("asked").expect("it is left to others");
    store.release_dispatch(lease.epoch).await.expect("released");
    store.shift_clock(Duration::from_secs(6));
    assert_eq!(dispatch(&house).await, 0, "it still does not pass over the event");
    tamper(&house, "UPDATE tenant_audit SET event_type = 'TENANCY_UPDATED' WHERE event_type = 'TENANCY_TELEPORTED'");
    store.shift_clock(Duration::from_secs(6));
    assert_eq!(dispatch(&house).await, 2);
    assert_eq!(deliveries(&house, &webhook).await, 3);
    assert_eq!(tenancy.dispatcher.unreadable(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_cannot_be_read_must_keep_nothing_from_others() {
    let house = House::new(On::Postgres).await;
    house.furnish().await;
    let tenancy = &house.server.tenancy;
    let good = add(&house, "/v1/webhooks", "good").await;
    for (path, name) in [("/v1/webhooks", "broken"), ("/v1/tenants/acme-eu/webhooks", "own")] {
        add(&house, path, name).await;
    }
    dispatch(&house).await;
    let before = deliveries(&house, &good).await;
    rename(&house, "One").await;
    let broken = "UPDATE platform_webhooks SET events = '{}' WHERE name = 'broken'";
    tamper(&house, &format!("{broken}; UPDATE tenant_webhooks SET events = '{{}}'"));
    // The lease is taken anew, so what is in memory is read again.
    tenancy.store.shift_clock(AFTER_THE_LEASE);
    assert_eq!(dispatch(&house).await, 1);
    assert_eq!((deliveries(&house, &good).await, tenancy.dispatcher.unreadable()), (before + 1, 2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_whose_secrets_cannot_be_read_must_keep_no_other_from_its_replay() {
    let house = House::new(On::Postgres).await;
    house.furnish().await;
    let since = json!(house.server.tenancy.now());
    let webhooks = [add(&house, "/v1/webhooks", "one").await, add(&house, "/v1/webhooks", "two").await];
    rename(&house, "One").await;
    for name in ["one", "two"] {
        house.post(&format!("/v1/webhooks/{name}/replay"), &json!({"since": since})).await.ok(202);
    }
    dispatch(&house).await;
    let first = webhooks.iter().min().expect("two");
    tamper(&house, &format!("UPDATE platform_webhooks SET secret = 'broken' WHERE webhook_id = '{first}'"));
    house.server.background.run_once("webhook-dispatch").await;
    for webhook in &webhooks {
        assert_eq!(replayed(&house, webhook).await, None, "the deliverer reads secrets, the replay does not");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_crash_of_the_database_undid_must_be_made_again() {
    let house = House::new(On::Postgres).await;
    house.furnish().await;
    let webhook = add(&house, "/v1/webhooks", "all").await;
    dispatch(&house).await;
    let before = deliveries(&house, &webhook).await;
    let database = house.postgres.as_ref().expect("PostgreSQL");
    let position = database.value("SELECT position FROM webhook_dispatch");
    rename(&house, "One").await;
    assert_eq!(dispatch(&house).await, 1);
    let undone = "DELETE FROM webhook_deliveries WHERE position >";
    database.execute(&format!("UPDATE webhook_dispatch SET position = {position}; {undone} {position}"));
    // Found at the next part, and if there is none, when the lease is extended.
    rename(&house, "Two").await;
    assert_eq!((dispatch(&house).await, dispatch(&house).await), (0, 2));
    database.execute(&format!("UPDATE webhook_dispatch SET position = {position}; {undone} {position}"));
    house.server.tenancy.store.shift_clock(AFTER_THE_LEASE);
    assert_eq!(dispatch(&house).await, 2);
    assert_eq!(deliveries(&house, &webhook).await, before + 2);
}
