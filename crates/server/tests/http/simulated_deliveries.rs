//! A simulation of the whole schedule: thousands of deliveries over 110 hours (ten tries with the longest pauses), with receivers that fail, and processes that
//! die while they send. It is seeded: `TENANCY_SEED` repeats a run.

use crate::house::{House, On};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use serde_json::json;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::delivery::DeliveryState;
use tenancy_core::ids::WebhookId;
use tenancy_server::config::Webhooks;
use tenancy_server::webhooks::deliverer::Deliverer;
use tenancy_server::webhooks::dispatcher::Dispatcher;
use tenancy_server::webhooks::sending::{Attempt, Exchange, Message, Outcome, Target};
use tenancy_server::webhooks::transport::Transport;
use tenancy_store::page::{DeliveryFilter, Page};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

const WEBHOOKS: usize = 8;
const EVENTS: usize = 250;

/// What the receivers saw of one delivery: when, and whether they accepted it.
type Seen = HashMap<String, Vec<(Timestamp, bool)>>;

/// Receivers that answer by chance.
struct Receivers {
    random: Random,
    seen: Mutex<Seen>,
    /// Tells that the process dies now, in the middle of an attempt.
    dies: Notify,
}

struct Random(AtomicU64);

impl Random {
    fn below(&self, limit: u64) -> u64 {
        // The order of the tasks decides which number each of them gets; the promises hold for every order.
        let number = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) % limit
    }
}

impl Transport for Receivers {
    fn send<'a>(&'a self, target: Target<'a>, message: &'a Message, now: Timestamp) -> BoxFuture<'a, Attempt> {
        async move {
            // The first one never answers, the second one seldom fails; the others fail often.
            let accepts = match target.url.as_bytes().last() {
                Some(b'0') => false,
                Some(b'1') => self.random.below(20) > 0,
                _ => self.random.below(10) > 5,
            };
            let note = || {
                let mut seen = self.seen.lock().expect("not poisoned");
                seen.entry(message.id.clone()).or_default().push((now, accepts));
            };
            if self.random.below(400) == 0 {
                // It dies before or after the receiver has the message.
                if self.random.below(2) == 0 {
                    note();
                }
                self.dies.notify_one();
                std::future::pending::<()>().await;
            }
            note();
            Attempt {
                outcome: if accepts { Outcome::Delivered } else { Outcome::Failed },
                status: Some(if accepts { 200 } else { 503 }),
                connect_ms: None,
                total_ms: 1,
                answer_start: String::new(),
                retry_after: (!accepts && self.random.below(20) == 0).then_some(Duration::from_secs(120)),
                error: (!accepts).then_some("status"),
                detail: None,
                request: Exchange::default(),
            }
        }
        .boxed()
    }
}

/// Returns the seed, and prints it.
fn seed() -> u64 {
    let seed = std::env::var("TENANCY_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| getrandom::u64().expect("random"));
    println!("TENANCY_SEED={seed}");
    seed
}

/// Creates the webhooks.
async fn webhooks_of(house: &House) -> Vec<WebhookId> {
    let mut webhooks = Vec::new();
    for number in 0..WEBHOOKS {
        let body = json!({
            "name": format!("hook-{number}"), "url": format!("https://hooks.example/{number}"),
            "events": ["TENANCY_UPDATED"],
        });
        let made = house.post("/v1/webhooks", &body).await.ok(201);
        webhooks.push(WebhookId::known(made.body["webhook_id"].as_str().expect("an id")));
    }
    webhooks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_deliver_all_that_is_accepted_whatever_dies_and_repeat_only_what_was_under_way() {
    let seed = seed();
    let house = House::new(On::Sqlite).await;
    house.furnish().await;
    let webhooks = webhooks_of(&house).await;
    let receivers =
        Arc::new(Receivers { random: Random(AtomicU64::new(seed)), seen: Mutex::default(), dies: Notify::new() });
    let tenancy = &house.server.tenancy;
    let process = || {
        let transport: Arc<dyn Transport> = Arc::clone(&receivers) as _;
        let (metrics, stop) = (Arc::clone(&house.server.metrics), CancellationToken::new());
        let deliverer = Deliverer::new(Arc::clone(tenancy), transport, metrics, Webhooks::default(), stop);
        (Dispatcher::default(), deliverer)
    };
    let (mut now, mut deaths) = (process(), 0);
    let steps = 110 * 12;
    for step in 0..steps {
        // The events come in the first hours.
        for number in 0..(if step < 50 { EVENTS / 50 } else { 0 }) {
            let name = json!({"display_name": format!("Name {step} {number}")});
            house.send("PATCH", "/v1/tenants/acme-eu", &[("if-match", "*")], name).await.ok(200);
        }
        let works = async {
            now.0.run_once(tenancy).await.expect("dispatched");
            while now.1.run_once().await.expect("delivered") > 0 {}
        };
        let died = tokio::select! {
            biased;
            () = receivers.dies.notified() => true,
            () = works => false,
        };
        if died {
            deaths += 1;
            now = process();
        }
        tenancy.store.shift_clock(Duration::from_secs(300));
    }
    let seen = receivers.seen.lock().expect("not poisoned").clone();
    let (mut total, mut repeated) = (0, 0);
    for (number, webhook) in webhooks.iter().enumerate() {
        let mut page = Page { limit: 500, ..Page::default() };
        let all = tenancy.store.deliveries(webhook, &DeliveryFilter::default(), &page).await.expect("listed");
        page.after = all.next;
        assert_eq!(all.items.len(), EVENTS, "seed {seed}: each event is one delivery");
        total += all.items.len();
        for delivery in all.items {
            let tries = seen.get(delivery.delivery_id.as_str()).cloned().unwrap_or_default();
            let accepted = tries.iter().filter(|(_, accepts)| *accepts).count();
            match delivery.state {
                DeliveryState::Delivered => assert!(accepted > 0, "seed {seed}: {delivery:?}"),
                DeliveryState::Failed => assert!(delivery.tries == 10, "seed {seed}: {delivery:?}"),
                // One that is dead is tried one delivery at a time; the others wait for it.
                DeliveryState::Waiting => assert!(number == 0, "seed {seed}: {delivery:?} {tries:?}"),
            }
            repeated += accepted.saturating_sub(1);
            let close = tries.windows(2).filter(|two| two[1].0.duration_since(two[0].0).as_secs() < 4).count();
            assert!(close <= deaths, "seed {seed}: {tries:?}");
        }
    }
    let in_flight = 8;
    println!("{total} deliveries, {deaths} deaths, {repeated} accepted more than once");
    assert!(total == WEBHOOKS * EVENTS && deaths > 0, "seed {seed}");
    assert!(repeated <= deaths * in_flight * WEBHOOKS, "seed {seed}: {repeated} repeated, {deaths} deaths");
}
