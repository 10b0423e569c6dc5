//! Visits to webhooks: what one webhook or one owner may take of a process, and what a change of a webhook does to
//! deliveries that wait.

use crate::house::{House, On, acme_eu, on_both};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tenancy_core::delivery::DeliveryState;
use tenancy_core::ids::{CorrelationId, WebhookId};
use tenancy_core::{Error, Timestamp};
use tenancy_server::config::Webhooks;
use tenancy_server::operations::webhooks::Of;
use tenancy_server::operations::webhooks::deliveries::Ping;
use tenancy_server::tenancy::RequestContext;
use tenancy_server::webhooks::deliverer::Deliverer;
use tenancy_server::webhooks::sending::{Attempt, Exchange, Message, Outcome, Target};
use tenancy_server::webhooks::transport::Transport;
use tenancy_store::page::{DeliveryFilter, Page};
use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;

on_both!(
    what_waits_must_not_be_sent_after_its_webhook_is_disabled_or_deleted,
    what_waits_must_be_sent_to_the_webhook_as_it_is_now,
    a_webhook_that_is_disabled_must_get_nothing_more_although_no_time_passes,
    one_owner_whose_receivers_hang_must_not_keep_another_waiting,
    a_busy_webhook_must_make_way_for_one_that_waits,
    a_delivery_that_is_resent_while_it_is_sent_must_be_sent_once_more,
    a_purge_must_leave_no_lane_and_no_delivery_of_its_webhooks,
    a_webhook_that_is_claimed_again_must_keep_its_rate,
    a_test_message_must_count_as_a_request_of_its_owner,
);

/// A message that a receiver got: the URL, the id, and the number of signatures.
type Got = (String, String, usize);

/// Receivers whose answers a test holds back.
struct Receivers {
    got: Mutex<Vec<Got>>,
    /// Requests whose URL contains this wait for a permit, after the first ones.
    held: (&'static str, usize, Semaphore),
    status: u16,
    /// Time that passes in each request.
    takes: Option<(tenancy_store::Store, Duration)>,
}

impl Receivers {
    fn holding(part: &'static str, after: usize) -> Self {
        let held = (part, after, Semaphore::new(0));
        Self { got: Mutex::default(), held, status: 204, takes: None }
    }

    fn got(&self, part: &str) -> Vec<Got> {
        let got = self.got.lock().expect("not poisoned");
        got.iter().filter(|(url, ..)| url.contains(part)).cloned().collect()
    }

    /// Waits until this many requests came.
    async fn reached(&self, part: &str, count: usize) {
        let reached = async {
            while self.got(part).len() < count {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.expect("the requests come");
    }

    fn release(&self) {
        self.held.2.add_permits(Semaphore::MAX_PERMITS / 2);
    }
}

impl Transport for Receivers {
    fn send<'a>(&'a self, target: Target<'a>, message: &'a Message, _: Timestamp) -> BoxFuture<'a, Attempt> {
        async move {
            let count = {
                let mut got = self.got.lock().expect("not poisoned");
                got.push((target.url.to_owned(), message.id.clone(), target.secrets.len()));
                got.len()
            };
            let (part, after, permits) = &self.held;
            if target.url.contains(part) && count > *after {
                permits.acquire().await.expect("open").forget();
            }
            if let Some((store, time)) = &self.takes {
                store.shift_clock(*time);
            }
            Attempt {
                outcome: if self.status == 204 { Outcome::Delivered } else { Outcome::Gone },
                status: Some(self.status),
                connect_ms: None,
                total_ms: 1,
                answer_start: String::new(),
                retry_after: None,
                error: None,
                detail: None,
                request: Exchange::default(),
            }
        }
        .boxed()
    }
}

fn deliverer(house: &House, receivers: &Arc<Receivers>, settings: Webhooks) -> (Arc<Deliverer>, CancellationToken) {
    let (tenancy, metrics) = (Arc::clone(&house.server.tenancy), Arc::clone(&house.server.metrics));
    let stop = CancellationToken::new();
    let transport: Arc<dyn Transport> = Arc::clone(receivers) as _;
    (Deliverer::new(tenancy, transport, metrics, settings, stop.clone()), stop)
}

async fn add(house: &House, path: &str, name: &str, more: Value) -> WebhookId {
    let url = format!("https://hooks.example/{name}");
    let mut body = json!({"name": name, "url": url, "events": ["TENANCY_UPDATED"]});
    body.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = house.post(path, &body).await.ok(201);
    WebhookId::known(made.body["webhook_id"].as_str().expect("an id"))
}

async fn rename(house: &House, tenant: &str, count: usize) {
    for number in 0..count {
        let (path, name) = (format!("/v1/tenants/{tenant}"), format!("Name {number} {}", house.next()));
        house.send("PATCH", &path, &[("if-match", "*")], json!({"display_name": name})).await.ok(200);
    }
    dispatch(house).await;
}

async fn dispatch(house: &House) {
    house.server.tenancy.dispatcher.run_once(&house.server.tenancy).await.expect("dispatched");
}

const OWN: &str = "/v1/tenants/acme-eu/webhooks";
const BACKLOG: usize = 80;

/// A webhook with a backlog whose third request is in progress. The requests before it were answered.
async fn backlog(on: On) -> (House, Arc<Receivers>, WebhookId, tokio::task::JoinHandle<()>) {
    let house = House::new(on).await;
    house.furnish().await;
    let webhook = add(&house, OWN, "own", json!({"max_in_flight": 1})).await;
    dispatch(&house).await;
    rename(&house, "acme-eu", BACKLOG).await;
    let receivers = Arc::new(Receivers::holding("hooks", 2));
    let (deliverer, _) = deliverer(&house, &receivers, Webhooks::default());
    let running = tokio::spawn(async move { while deliverer.run_once().await.expect("delivered") > 0 {} });
    receivers.reached("hooks", 3).await;
    (house, receivers, webhook, running)
}

async fn what_waits_must_not_be_sent_after_its_webhook_is_disabled_or_deleted(on: On) {
    for (method, path) in [("POST", "/own/disable"), ("DELETE", "/own")] {
        let (house, receivers, webhook, running) = backlog(on).await;
        let done = house.send(method, &format!("{OWN}{path}"), &[("if-match", "*")], ()).await;
        assert!(done.status.is_success(), "{:#}", done.body);
        let store = &house.server.tenancy.store;
        store.shift_clock(Duration::from_secs(6));
        receivers.release();
        running.await.expect("it ends");
        assert_eq!(receivers.got("hooks").len(), 3, "{path}: nothing after the one that was under way");
        let (filter, page) = (DeliveryFilter { states: vec![DeliveryState::Delivered] }, Page::default());
        let recorded = store.deliveries(&webhook, &filter, &page).await.expect("listed").items.len();
        let lane = store.lane(&webhook).await.expect("read");
        // What was under way is recorded, and all goes with the webhook.
        assert_eq!((recorded, lane.is_some()), if method == "POST" { (3, true) } else { (0, false) }, "{path}");
    }
}

async fn what_waits_must_be_sent_to_the_webhook_as_it_is_now(on: On) {
    let (house, receivers, _, running) = backlog(on).await;
    let any = [("if-match", "*")];
    let new = json!({"url": "https://hooks.example/new"});
    house.send("PATCH", &format!("{OWN}/own"), &any, new).await.ok(200);
    let rotated = house.send("POST", &format!("{OWN}/own/rotate"), &any, json!({})).await;
    assert!(rotated.status.is_success(), "{:#}", rotated.body);
    house.server.tenancy.store.shift_clock(Duration::from_secs(6));
    receivers.release();
    running.await.expect("it ends");
    let (old, new) = (receivers.got("/own"), receivers.got("/new"));
    assert_eq!((old.len(), new.len()), (3, BACKLOG - 3));
    assert!(new.iter().all(|(_, _, signatures)| *signatures == 2), "with the new secret, and the old one: {new:?}");
}

async fn a_webhook_that_is_disabled_must_get_nothing_more_although_no_time_passes(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let webhook = add(&house, OWN, "own", json!({"max_in_flight": 1})).await;
    add(&house, OWN, "other", json!({"max_in_flight": 1})).await;
    dispatch(&house).await;
    rename(&house, "acme-eu", BACKLOG).await;
    let receivers = Arc::new(Receivers::holding("/own", 0));
    let (deliverer, stop) = deliverer(&house, &receivers, Webhooks::default());
    let running = tokio::spawn(deliverer.run(Duration::from_secs(30)));
    receivers.reached("/own", 1).await;
    receivers.reached("/other", BACKLOG).await;
    house.send("POST", &format!("{OWN}/own/disable"), &[("if-match", "*")], ()).await.ok(200);
    // When the process has heard of the second event after it, it has told the visit of the change.
    for more in 1..=2 {
        rename(&house, "acme-eu", 1).await;
        receivers.reached("/other", BACKLOG + more).await;
    }
    receivers.release();
    let store = &house.server.tenancy.store;
    let returned =
        async { while store.lane(&webhook).await.expect("read").is_some_and(|lane| lane.due_at.is_some()) {} };
    tokio::time::timeout(Duration::from_secs(30), returned).await.expect("the webhook is returned");
    let sent = receivers.got("/own").len();
    assert!(sent < BACKLOG / 4, "{sent} were sent");
    stop.cancel();
    running.await.expect("it ends");
}

async fn one_owner_whose_receivers_hang_must_not_keep_another_waiting(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let mut other = acme_eu();
    (other["tenant_id"], other["aliases"]) = (json!("acme-us"), json!({}));
    house.post("/v1/tenants", &other).await.ok(201);
    house.work().await;
    for number in 0..8 {
        add(&house, OWN, &format!("bad-{number}"), json!({"max_in_flight": 64})).await;
    }
    dispatch(&house).await;
    rename(&house, "acme-eu", 20).await;
    let receivers = Arc::new(Receivers::holding("bad", 0));
    let settings = Webhooks { max_requests: 32, ..Webhooks::default() };
    let (deliverer, stop) = deliverer(&house, &receivers, settings);
    let running = tokio::spawn(deliverer.run(Duration::from_secs(30)));
    receivers.reached("bad", 8).await;
    add(&house, "/v1/tenants/acme-us/webhooks", "good", json!({})).await;
    dispatch(&house).await;
    rename(&house, "acme-us", 20).await;
    receivers.reached("good", 20).await;
    let bad = receivers.got("bad");
    assert_eq!(bad.len(), 8, "a quarter of 32");
    for number in 0..8 {
        let one = bad.iter().filter(|(url, ..)| url.ends_with(&format!("bad-{number}"))).count();
        assert!(one <= 2, "a sixteenth of 32: {bad:?}");
    }
    receivers.release();
    receivers.reached("bad", 8 * 20).await;
    stop.cancel();
    running.await.expect("it ends");
}

async fn a_busy_webhook_must_make_way_for_one_that_waits(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    add(&house, OWN, "busy", json!({"max_in_flight": 1})).await;
    dispatch(&house).await;
    rename(&house, "acme-eu", 30).await;
    let store = house.server.tenancy.store.clone();
    store.shift_clock(Duration::from_secs(1));
    add(&house, OWN, "late", json!({"max_in_flight": 1})).await;
    dispatch(&house).await;
    rename(&house, "acme-eu", 1).await;
    let receivers = Receivers { takes: Some((store, Duration::from_secs(1))), ..Receivers::holding("nothing", 0) };
    let receivers = Arc::new(receivers);
    let (deliverer, _) = deliverer(&house, &receivers, Webhooks { max_running: 1, ..Webhooks::default() });
    assert_eq!(deliverer.run_once().await, Ok(1));
    let (busy, late) = (receivers.got("busy").len(), receivers.got("late").len());
    assert!((4..=6).contains(&busy) && late == 0, "it is returned after five seconds: {busy}, {late}");
    assert_eq!(deliverer.run_once().await, Ok(1));
    assert_eq!(receivers.got("late").len(), 1, "the one that waits comes first");
    while deliverer.run_once().await.expect("delivered") > 0 {}
    let ids: std::collections::HashSet<_> = receivers.got("busy").into_iter().map(|(_, id, _)| id).collect();
    // Adding the other webhook is a change, too.
    assert_eq!((ids.len(), receivers.got("busy").len()), (32, 32), "each once");
}

async fn a_delivery_that_is_resent_while_it_is_sent_must_be_sent_once_more(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    add(&house, OWN, "own", json!({})).await;
    dispatch(&house).await;
    rename(&house, "acme-eu", 1).await;
    let receivers = Arc::new(Receivers::holding("own", 0));
    let (deliverer, _) = deliverer(&house, &receivers, Webhooks::default());
    let running = tokio::spawn(async move { while deliverer.run_once().await.expect("delivered") > 0 {} });
    receivers.reached("own", 1).await;
    let id = receivers.got("own")[0].1.clone();
    house.post(&format!("{OWN}/own/deliveries/{id}/resend"), ()).await.ok(202);
    dispatch(&house).await;
    receivers.release();
    running.await.expect("it ends");
    let ids: Vec<_> = receivers.got("own").into_iter().map(|(_, id, _)| id).collect();
    assert_eq!(ids, [id.clone(), id.clone()]);
    let shown = house.get(&format!("{OWN}/own/deliveries/{id}")).await.ok(200).body;
    assert_eq!((&shown["state"], &shown["attempts"]), (&json!("delivered"), &json!(2)), "{shown:#}");
}

async fn a_purge_must_leave_no_lane_and_no_delivery_of_its_webhooks(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    let webhook = add(&house, OWN, "own", json!({"events": ["*"]})).await;
    let receivers = Arc::new(Receivers::holding("nothing", 0));
    let (deliverer, _) = deliverer(&house, &receivers, Webhooks::default());
    let deliver = async || {
        dispatch(&house).await;
        while deliverer.run_once().await.expect("delivered") > 0 {}
    };
    deliver().await;
    let any = [("if-match", "*")];
    house.send("PATCH", "/v1/tenants/acme-eu", &any, json!({"policies": {"purgeAfterDays": 0}})).await.ok(200);
    house.post("/v1/tenants/acme-eu/suspend", ()).await.ok(202);
    house.work().await;
    house.send("DELETE", "/v1/tenants/acme-eu", &any, ()).await.ok(202);
    house.work().await;
    deliver().await;
    let store = &house.server.tenancy.store;
    assert!(store.lane(&webhook).await.expect("read").is_some());
    house.post("/v1/tenants/acme-eu/purge", ()).await.ok(202);
    house.work().await;
    assert!(house.get("/v1/tenants/acme-eu").await.ok(200).body["purged_at"].is_string());
    deliver().await;
    assert_eq!(store.lane(&webhook).await, Ok(None));
    let (filter, page) = (DeliveryFilter::default(), Page::default());
    assert_eq!(store.deliveries(&webhook, &filter, &page).await.expect("listed").items, []);
}

async fn a_webhook_that_is_claimed_again_must_keep_its_rate(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    add(&house, OWN, "own", json!({"max_per_second": 2})).await;
    dispatch(&house).await;
    rename(&house, "acme-eu", 20).await;
    let receivers = Arc::new(Receivers::holding("nothing", 0));
    let (deliverer, _) = deliverer(&house, &receivers, Webhooks::default());
    let store = &house.server.tenancy.store;
    let began = store.now();
    for _ in 0..8 {
        while deliverer.run_once().await.expect("delivered") > 0 {}
        let (sent, passed) = (receivers.got("own").len(), store.now().duration_since(began));
        // At first as many as in a second.
        let allowed = 2.0 + 2.0 * passed.as_secs_f64();
        assert!(sent >= 2 && f64::from(u32::try_from(sent).expect("few")) <= allowed, "{sent} after {passed:?}");
        store.shift_clock(Duration::from_millis(501));
    }
}

async fn a_test_message_must_count_as_a_request_of_its_owner(on: On) {
    let house = House::new(on).await;
    house.furnish().await;
    add(&house, OWN, "own", json!({})).await;
    dispatch(&house).await;
    rename(&house, "acme-eu", 1).await;
    let receivers = Arc::new(Receivers::holding("own", 0));
    let (deliverer, _) = deliverer(&house, &receivers, Webhooks { max_requests: 4, ..Webhooks::default() });
    let delivers = Arc::clone(&deliverer);
    let running = tokio::spawn(async move { while delivers.run_once().await.expect("delivered") > 0 {} });
    receivers.reached("own", 1).await;
    let tenancy = &house.server.tenancy;
    let request = RequestContext::by_part("test", CorrelationId::known("corr-1"));
    let test = async || {
        let (of, webhook) = (Of::Tenant("acme-eu".to_owned()), "own".to_owned());
        let command = Ping { of, webhook, deliverer: Arc::clone(&deliverer), sent: OnceCell::new() };
        tenancy.decide_and_commit(&command, &request, None).await.map(|_| receivers.got("own").len())
    };
    assert_eq!(test().await, Err(Error::Busy), "a quarter of four is in progress");
    receivers.release();
    running.await.expect("it ends");
    assert_eq!(test().await, Ok(2));
}

mod postgres_only {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_was_sent_must_be_recorded_although_the_webhook_cannot_be_disabled() {
        let house = House::new(On::Postgres).await;
        house.furnish().await;
        let webhook = add(&house, "/v1/webhooks", "all", json!({"max_in_flight": 2})).await;
        dispatch(&house).await;
        rename(&house, "acme-eu", 4).await;
        let postgres = house.postgres.as_ref().expect("PostgreSQL");
        postgres.execute("ALTER TABLE platform_webhooks ADD CONSTRAINT stays_on CHECK (disabled_at IS NULL)");
        let receivers = Arc::new(Receivers { status: 410, ..Receivers::holding("nothing", 0) });
        let (deliverer, _) = deliverer(&house, &receivers, Webhooks::default());
        while deliverer.run_once().await.expect("delivered") > 0 {}
        let sent = receivers.got("all").len();
        assert!((1..=2).contains(&sent), "nothing more is sent to one that is gone: {sent}");
        let store = &house.server.tenancy.store;
        let (filter, page) = (DeliveryFilter { states: vec![DeliveryState::Failed] }, Page::default());
        assert_eq!(store.deliveries(&webhook, &filter, &page).await.expect("listed").items.len(), sent);
        postgres.execute("ALTER TABLE platform_webhooks DROP CONSTRAINT stays_on");
        store.shift_clock(Duration::from_secs(31));
        while deliverer.run_once().await.expect("delivered") > 0 {}
        let shown = house.get("/v1/webhooks/all").await.ok(200).body;
        assert_eq!(shown["disabled_cause"], "gone", "it is tried again: {shown:#}");
    }
}
