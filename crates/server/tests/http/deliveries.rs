//! Deliveries: what happens to a tenant reaches a real receiver, on both databases.

use crate::house::{House, On, on_both};
use crate::receiver::Receiver;
use serde_json::{Value, json};
use std::time::Duration;
use tenancy_core::delivery::{AttemptOutcome, Delivery, DeliveryState};
use tenancy_core::ids::WebhookId;
use tenancy_core::lane::Lane;
use tenancy_store::page::{DeliveryFilter, Page};
use tenancy_store::upkeep::Recorded;

on_both!(
    a_change_must_reach_the_webhooks_that_may_hear_of_it_once_each_and_signed,
    a_delivery_that_fails_must_be_sent_again_with_the_same_id_until_it_is_accepted,
    a_list_must_show_on_request_how_the_deliveries_of_each_webhook_go,
    a_receiver_that_is_gone_must_be_disabled_at_once_and_get_what_is_new_after_it_is_enabled,
    deliveries_must_go_with_their_webhook,
    events_since_a_time_must_be_sent_again_with_the_same_ids_unless_that_is_paused,
    a_test_message_must_be_sent_now_and_the_whole_exchange_be_shown_without_secrets,
    a_webhook_that_only_fails_must_be_paused_warned_of_and_disabled_and_delay_no_other,
    deliveries_and_attempts_must_be_removed_when_they_are_older_than_they_are_kept_for,
    a_crash_of_the_dispatcher_or_of_the_deliverer_must_lose_nothing_and_make_nothing_twice,
);

async fn add(house: &House, path: &str, name: &str, receiver: &Receiver, more: Value) -> WebhookId {
    let mut body = json!({"name": name, "url": receiver.url, "events": ["TENANCY_*"]});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = house.post(path, &body).await.ok(201);
    house.deliver().await;
    WebhookId::known(made.body["webhook_id"].as_str().expect("an id"))
}

async fn rename(house: &House, tenant: &str, name: &str) {
    let path = format!("/v1/tenants/{tenant}");
    house.send("PATCH", &path, &[("if-match", "*")], json!({"display_name": name})).await.ok(200);
}

async fn deliveries(house: &House, webhook: &WebhookId) -> Vec<Delivery> {
    let (filter, page) = (DeliveryFilter::default(), Page::default());
    house.server.tenancy.store.deliveries(webhook, &filter, &page).await.expect("listed").items
}

async fn a_change_must_reach_the_webhooks_that_may_hear_of_it_once_each_and_signed(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    house.post("/v1/organizations", json!({"organization_id": "other"})).await.ok(201);
    let receivers =
        [Receiver::start().await, Receiver::start().await, Receiver::start().await, Receiver::start().await];
    let everything = json!({"events": ["*"]});
    add(&house, "/v1/tenants/acme-eu/webhooks", "own", &receivers[0], json!({})).await;
    add(&house, "/v1/organizations/acme/webhooks", "ours", &receivers[1], json!({})).await;
    add(&house, "/v1/webhooks", "all", &receivers[2], json!({})).await;
    add(&house, "/v1/organizations/other/webhooks", "others", &receivers[3], everything).await;
    for receiver in &receivers {
        assert_eq!(receiver.take().len(), 0, "nothing from before it was added");
    }
    rename(&house, "acme-eu", "Renamed").await;
    house.deliver().await;
    house.deliver().await;
    let ids: Vec<_> = receivers[..3]
        .iter()
        .map(|receiver| {
            let got = receiver.take();
            assert_eq!(got.len(), 1, "{got:#?}");
            assert_eq!(got[0].body["type"], "TENANCY_UPDATED");
            assert_eq!(got[0].body["data"]["tenant_id"], "acme-eu");
            assert!(got[0].header("webhook-signature").starts_with("v1,"), "{got:#?}");
            (got[0].header("webhook-id").to_owned(), got[0].body["data"].clone())
        })
        .collect();
    assert!(ids[0].0 != ids[1].0 && ids[1].0 != ids[2].0, "{ids:?}");
    assert_eq!(receivers[3].take().len(), 0, "of another organization");
    assert!(ids[0].1.get("private").is_none() && ids[2].1.get("private").is_some(), "{ids:#?}");
    assert_eq!(ids[0].1["actor"], "platform");
}

async fn a_delivery_that_fails_must_be_sent_again_with_the_same_id_until_it_is_accepted(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let receiver = Receiver::start().await;
    let webhook = add(&house, "/v1/tenants/acme-eu/webhooks", "own", &receiver, json!({})).await;
    receiver.answer([(500, ""), (503, "300"), (301, "")]);
    rename(&house, "acme-eu", "Renamed").await;
    let store = &house.server.tenancy.store;
    let mut ids = Vec::new();
    for (minutes, is_sent) in [(0, true), (0, false), (1, true), (1, false), (5, true), (5, true), (60, false)] {
        store.shift_clock(Duration::from_secs(60 * minutes));
        house.deliver().await;
        let got = receiver.take();
        assert_eq!(got.len(), usize::from(is_sent), "after {minutes} more minutes: {got:?}");
        ids.extend(got.iter().map(|got| got.header("webhook-id").to_owned()));
    }
    ids.dedup();
    assert_eq!(ids.len(), 1, "{ids:?}");
    let sent = deliveries(&house, &webhook).await;
    assert_eq!((sent.len(), sent[0].state, sent[0].attempts), (1, DeliveryState::Delivered, 4), "{sent:?}");
    let attempts = store.delivery_attempts(&sent[0].delivery_id).await.expect("read");
    let statuses: Vec<_> = attempts.iter().rev().map(|attempt| attempt.status).collect();
    assert_eq!(statuses, [Some(500), Some(503), Some(301), Some(204)]);
    assert_eq!(attempts[3].answer_start, "said by the receiver");
    assert!(attempts[3].next_at.is_some() && attempts[0].next_at.is_none(), "{attempts:?}");
    let asked = attempts[2].next_at.expect("a time").duration_since(attempts[2].started_at);
    assert!((290..=310).contains(&asked.as_secs()), "the receiver asked for 300 seconds: {asked}");
    let path = format!("/v1/tenants/acme-eu/webhooks/own/deliveries/{}", sent[0].delivery_id);
    house.post(&format!("{path}/resend"), ()).await.ok(202);
    house.deliver().await;
    assert_eq!(receiver.take()[0].header("webhook-id"), ids[0]);
    let shown = house.get(&path).await.ok(200).body;
    assert_eq!((&shown["attempts"], shown["log"].as_array().map(Vec::len)), (&json!(5), Some(5)), "{shown:#}");
    let listed = house.get("/v1/tenants/acme-eu/webhooks/own/deliveries?state=delivered").await.ok(200).body;
    assert_eq!(listed["items"][0]["delivery_id"], ids[0]);
    let none = house.get("/v1/tenants/acme-eu/webhooks/own/deliveries?state=waiting,failed").await.ok(200).body;
    assert_eq!(none["items"], json!([]));
    let lane = store.lane(&webhook).await.expect("read").expect("there");
    assert_eq!((lane.failures, lane.lease_holder, lane.due_at), (0, None, None));
}

async fn a_list_must_show_on_request_how_the_deliveries_of_each_webhook_go(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let (good, bad) = (Receiver::start().await, Receiver::start().await);
    add(&house, "/v1/tenants/acme-eu/webhooks", "bad", &bad, json!({})).await;
    add(&house, "/v1/tenants/acme-eu/webhooks", "good", &good, json!({})).await;
    add(&house, "/v1/tenants/acme-eu/webhooks", "idle", &good, json!({"events": ["JOB_FAILED"]})).await;
    bad.answer([(500, ""), (500, "")]);
    rename(&house, "acme-eu", "Renamed").await;
    rename(&house, "acme-eu", "Renamed again").await;
    house.deliver().await;
    let list = "/v1/tenants/acme-eu/webhooks";
    let items = |answer: &Value| -> Vec<Value> {
        let items = answer["items"].as_array().expect("items").iter();
        items
            .filter(|item| ["bad", "good", "idle"].contains(&item["name"].as_str().unwrap_or_default()))
            .cloned()
            .collect()
    };
    let shown = items(&house.get(&format!("{list}?status=true")).await.ok(200).body);
    let statuses: Vec<_> = shown.iter().map(|item| &item["status"]).collect();
    assert_eq!((&statuses[0]["waiting"], &statuses[0]["last_failure"]), (&json!(2), &json!("500")), "{shown:#?}");
    assert!(statuses[0]["last_failure_at"].is_string(), "{shown:#?}");
    assert_eq!(statuses[1]["waiting"], 0);
    assert!(statuses[1]["last_success_at"].is_string() && statuses[1]["last_failure_at"].is_null(), "{shown:#?}");
    assert_eq!(*statuses[2], json!({"waiting": 0}), "it never had a delivery");
    for status in ["bad", "good", "idle"].iter().zip(&statuses) {
        let alone = house.get(&format!("{list}/{}/status", status.0)).await.ok(200).body;
        assert_eq!(alone, **status.1);
    }
    let bare = items(&house.get(list).await.ok(200).body);
    assert!(bare.len() == 3 && bare.iter().all(|item| item.get("status").is_none()), "{bare:#?}");
}

async fn a_receiver_that_is_gone_must_be_disabled_at_once_and_get_what_is_new_after_it_is_enabled(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let receiver = Receiver::start().await;
    for (path, name) in [("/v1/tenants/acme-eu/webhooks", "own"), ("/v1/webhooks", "all")] {
        let webhook = add(&house, path, name, &receiver, json!({})).await;
        receiver.answer([(410, "")]);
        rename(&house, "acme-eu", name).await;
        house.deliver().await;
        assert_eq!(receiver.take().len(), 1);
        let shown = house.get(&format!("{path}/{name}")).await.ok(200).body;
        assert!(shown["disabled_at"].is_string() && shown["disabled_cause"] == "gone", "{shown:#}");
        let told = house.events("event_type=WEBHOOK_DISABLED").await;
        assert_eq!(told.last().expect("an event")["payload"]["webhook_id"], webhook.as_str());
        rename(&house, "acme-eu", "not heard").await;
        house.deliver().await;
        assert_eq!(receiver.take().len(), 0);
        let attempts = store_attempts(&house, &webhook).await;
        assert_eq!(attempts, [AttemptOutcome::Gone]);
        let id = deliveries(&house, &webhook).await.pop().expect("a delivery").delivery_id;
        let resend = format!("{path}/{name}/deliveries/{id}/resend");
        let refused = house.post(&resend, ()).await.body;
        assert_eq!(refused["code"], "not_in_this_state", "{refused:#}");
        assert!(refused["detail"].as_str().is_some_and(|text| text.contains("enable it first")), "{refused:#}");
        house.send("POST", &format!("{path}/{name}/enable"), &[("if-match", "*")], ()).await.ok(200);
        house.deliver().await;
        rename(&house, "acme-eu", "heard").await;
        house.deliver().await;
        assert_eq!(receiver.take().len(), 1, "{path}");
        house.send("DELETE", &format!("{path}/{name}"), &[("if-match", "*")], ()).await.ok(204);
    }
}

async fn store_attempts(house: &House, webhook: &WebhookId) -> Vec<AttemptOutcome> {
    let mut outcomes = Vec::new();
    for delivery in deliveries(house, webhook).await {
        let attempts = house.server.tenancy.store.delivery_attempts(&delivery.delivery_id).await.expect("read");
        outcomes.extend(attempts.iter().map(|attempt| attempt.outcome));
    }
    outcomes
}

async fn deliveries_must_go_with_their_webhook(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let receiver = Receiver::start().await;
    let webhook = add(&house, "/v1/tenants/acme-eu/webhooks", "own", &receiver, json!({})).await;
    rename(&house, "acme-eu", "Renamed").await;
    house.deliver().await;
    let sent = deliveries(&house, &webhook).await;
    assert_eq!(sent.len(), 1);
    house.send("DELETE", "/v1/tenants/acme-eu/webhooks/own", &[("if-match", "*")], ()).await.ok(204);
    house.deliver().await;
    let store = &house.server.tenancy.store;
    assert_eq!(deliveries(&house, &webhook).await, []);
    assert_eq!(store.delivery_attempts(&sent[0].delivery_id).await.expect("read"), []);
    assert_eq!(store.lane(&webhook).await.expect("read"), None);
}

async fn events_since_a_time_must_be_sent_again_with_the_same_ids_unless_that_is_paused(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let receiver = Receiver::start().await;
    let webhook = add(&house, "/v1/tenants/acme-eu/webhooks", "own", &receiver, json!({"max_in_flight": 1})).await;
    let store = &house.server.tenancy.store;
    let mut sent = Vec::new();
    let mut since = Value::Null;
    for hour in 0..4 {
        store.shift_clock(Duration::from_secs(3600));
        if hour == 2 {
            since = json!(store.now());
        }
        rename(&house, "acme-eu", &format!("Name {hour}")).await;
        house.deliver().await;
        sent.extend(receiver.take().iter().map(|got| got.header("webhook-id").to_owned()));
    }
    assert_eq!(sent.len(), 4);
    let path = "/v1/tenants/acme-eu/webhooks/own/replay";
    for bad in [json!({}), json!({"since": since, "paused": true}), json!({"since": "2020-01-01T00:00:00Z"})] {
        house.post(path, &bad).await.ok(422);
    }
    house.post(path, json!({"paused": true})).await.ok(409);
    let again = async |body: Value| {
        house.post(path, &body).await.ok(202);
        house.replay().await;
        receiver.take().iter().map(|got| got.header("webhook-id").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(again(json!({"since": since})).await, sent[2..]);
    assert_eq!(again(json!({"since": since, "only_undelivered": true})).await, Vec::<String>::new());
    // It was asked for and is paused before the server has come to it.
    house.post(path, json!({"since": since})).await.ok(202);
    let tenancy = &house.server.tenancy;
    tenancy.dispatcher.run_once(tenancy).await.expect("dispatched");
    assert_eq!(again(json!({"paused": true})).await, Vec::<String>::new());
    let status = house.get("/v1/tenants/acme-eu/webhooks/own/status").await.ok(200).body;
    assert_eq!(status["replay"]["paused"], true, "{status:#}");
    assert_eq!(again(json!({"paused": false})).await, sent[2..]);
    let lane = store.lane(&webhook).await.expect("read").expect("there");
    assert_eq!((lane.replay_position, lane.replay_to), (None, None));
}

async fn a_test_message_must_be_sent_now_and_the_whole_exchange_be_shown_without_secrets(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let receiver = Receiver::start().await;
    add(&house, "/v1/tenants/acme-eu/webhooks", "own", &receiver, json!({})).await;
    receiver.answer([(418, "")]);
    let path = "/v1/tenants/acme-eu/webhooks/own/test";
    let shown = house.send("POST", path, &[("idempotency-key", "once")], ()).await.ok(200).body;
    assert_eq!((&shown["outcome"], &shown["status"]), (&json!("failed"), &json!(418)), "{shown:#}");
    assert_eq!(shown["answer_start"], "said by the receiver");
    let got = receiver.take();
    assert_eq!((got.len(), &got[0].body["type"]), (1, &json!("WEBHOOK_TEST")));
    assert!(!shown.to_string().contains("whsec_"), "{shown:#}");
    house.send("POST", path, &[("idempotency-key", "once")], ()).await.ok(200);
    assert_eq!(receiver.take().len(), 0, "a repeated request sends nothing");
    assert_eq!(house.events("event_type=WEBHOOK_TESTED").await.len(), 1);
}

async fn a_webhook_that_only_fails_must_be_paused_warned_of_and_disabled_and_delay_no_other(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let (bad, good) = (Receiver::start().await, Receiver::start().await);
    add(&house, "/v1/tenants/acme-eu/webhooks", "bad", &bad, json!({"events": ["TENANCY_UPDATED"]})).await;
    add(&house, "/v1/tenants/acme-eu/webhooks", "good", &good, json!({"events": ["TENANCY_UPDATED"]})).await;
    bad.answer(std::iter::repeat_n((500, ""), 10_000));
    let store = &house.server.tenancy.store;
    for hour in 0..=121 {
        rename(&house, "acme-eu", &format!("Name {hour}")).await;
        house.deliver().await;
        assert_eq!(good.take().len(), 1, "hour {hour}");
        store.shift_clock(Duration::from_secs(3600));
    }
    let warned: Vec<_> = house.events("event_type=WEBHOOK_FAILING").await;
    let percents: Vec<_> = warned.iter().map(|event| event["payload"]["percent"].clone()).collect();
    assert_eq!(percents, [json!(50), json!(70), json!(90)]);
    let shown = house.get("/v1/tenants/acme-eu/webhooks/bad").await.ok(200).body;
    assert_eq!(shown["disabled_cause"], "failed_for_long", "{shown:#}");
    let attempts = bad.take().len();
    assert!(attempts < 400, "the pauses between failures limit the attempts: {attempts}");
    let status = house.get("/v1/tenants/acme-eu/webhooks/bad/status").await.ok(200).body;
    assert!(status["waiting"].as_i64() > Some(0) && status["failing_since"].is_string(), "{status:#}");
}

async fn a_crash_of_the_dispatcher_or_of_the_deliverer_must_lose_nothing_and_make_nothing_twice(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let receiver = Receiver::start().await;
    let webhook = add(&house, "/v1/tenants/acme-eu/webhooks", "own", &receiver, json!({})).await;
    let tenancy = &house.server.tenancy;
    rename(&house, "acme-eu", "One").await;
    // Another process dispatches the same events from an older position, after the first one's lease is over.
    tenancy.dispatcher.run_once(tenancy).await.expect("dispatched");
    let other = tenancy_server::webhooks::dispatcher::Dispatcher::default();
    assert_eq!(other.run_once(tenancy).await, Ok(0), "one at a time");
    tenancy.store.shift_clock(Duration::from_secs(60));
    other.run_once(tenancy).await.expect("dispatched");
    assert_eq!(tenancy.dispatcher.run_once(tenancy).await, Ok(0), "its lease is over");
    assert_eq!(deliveries(&house, &webhook).await.len(), 1);
    // A process claims the webhook and dies.
    let claimed = tenancy.store.claim_lanes("dead", 10, Duration::from_secs(30)).await.expect("claimed");
    assert_eq!(claimed.len(), 1);
    house.deliver().await;
    assert_eq!(receiver.take().len(), 0, "its lease holds");
    tenancy.store.shift_clock(Duration::from_secs(60));
    house.deliver().await;
    assert_eq!(receiver.take().len(), 1);
    assert_eq!(deliveries(&house, &webhook).await[0].state, DeliveryState::Delivered);
    // What is recorded under a lease that is lost changes nothing, and the process is told.
    let lane = tenancy.store.lane(&webhook).await.expect("read").expect("there");
    let stale = Lane { lease_epoch: lane.lease_epoch - 1, failures: 99, ..lane.clone() };
    let lease = (webhook.clone(), stale.lease_epoch);
    let recorded = Recorded { outcomes: Vec::new(), lanes: vec![stale] };
    assert_eq!(tenancy.store.record_outcomes(&recorded).await, Ok(vec![lease]));
    assert_eq!(tenancy.store.lane(&webhook).await, Ok(Some(lane)));
}

async fn deliveries_and_attempts_must_be_removed_when_they_are_older_than_they_are_kept_for(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let receiver = Receiver::start().await;
    let webhook = add(&house, "/v1/tenants/acme-eu/webhooks", "own", &receiver, json!({})).await;
    let tenancy = &house.server.tenancy;
    tenancy.delivery_retention_days.set(30).expect("unset");
    let stop = tokio_util::sync::CancellationToken::new();
    rename(&house, "acme-eu", "Old").await;
    house.deliver().await;
    let old = deliveries(&house, &webhook).await.pop().expect("a delivery").delivery_id;
    for (days, kept) in [(29, 1), (9, 0)] {
        tenancy.store.shift_clock(Duration::from_secs(days * 24 * 3600));
        tenancy_server::webhooks::retention::run_once(tenancy, &stop).await.expect("removed");
        assert_eq!(deliveries(&house, &webhook).await.len(), kept, "{days}");
        let attempts = tenancy.store.delivery_attempts(&old).await.expect("read").len();
        assert_eq!(attempts, kept, "the week of the attempt is over, too");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_be_read_must_be_recorded_as_such_and_hold_up_no_other() {
    let house = House::new(On::Postgres).await;
    house.furnish().await;
    let receiver = Receiver::start().await;
    let webhook = add(&house, "/v1/tenants/acme-eu/webhooks", "own", &receiver, json!({})).await;
    rename(&house, "acme-eu", "One").await;
    rename(&house, "acme-eu", "Two").await;
    let tenancy = &house.server.tenancy;
    assert_eq!(tenancy.dispatcher.run_once(tenancy).await, Ok(2));
    let first = "(SELECT max(position) - 1 FROM tenant_audit)";
    house.postgres.as_ref().expect("PostgreSQL").execute(&format!(
        "SET session_replication_role = replica; \
         UPDATE tenant_audit SET event_type = 'TENANCY_TELEPORTED' WHERE position = {first}"
    ));
    house.deliver().await;
    assert_eq!(receiver.take().len(), 1);
    let made = deliveries(&house, &webhook).await;
    let shown: Vec<_> = made.iter().map(|one| (one.state, one.last_error.as_deref())).collect();
    assert_eq!(shown, [(DeliveryState::Delivered, None), (DeliveryState::Failed, Some("event_unreadable"))]);
    assert_eq!(
        tenancy.store.lane(&webhook).await.expect("read").expect("there").failures,
        0,
        "no fault of the receiver"
    );
}
