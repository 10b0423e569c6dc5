//! Registration while the platform has as many webhooks as it can, of which one matches.

use super::lag::Lag;
use super::receiver::{Manner, Receivers};
use super::{ENDPOINTS, OTHER, PATIENCE, REGISTERED, Sending, create, start};
use crate::Settings;
use crate::figure::median;
use crate::kept::{Keeper, Kept};
use crate::product::{Product, Spread};
use crate::report::Report;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Measures registration without webhooks, with them while sending is paused, and while they are sent.
pub async fn measure(keepers: &[Keeper], settings: &Settings, report: &mut Report) {
    for keeper in keepers {
        one(keeper, settings, report).await;
    }
}

async fn one(keeper: &Keeper, settings: &Settings, report: &mut Report) {
    let (names, seconds, receivers) = (settings.names, settings.seconds, Receivers::new());
    let [without, paused, sending] =
        [keeper.database("without").await, keeper.database("paused").await, keeper.database("sending").await];
    let without = start(&without, names, Sending::Paused, None).await;
    let paused_product = start(&paused, names, Sending::Paused, None).await;
    let product = start(&sending, names, Sending::On, None).await;
    for product in [&paused_product, &product] {
        create(product, &receivers, Manner::Healthy, 1, REGISTERED).await;
        for number in 1..ENDPOINTS {
            let address = receivers.start(Manner::Healthy).await;
            super::create_one(product, "/v1/webhooks", &format!("other-{number}"), address, OTHER).await;
        }
    }
    let (mut bare, mut slowed, mut sent) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        bare.push(without.register(64, seconds, Spread::Hundred).await.per_second);
        slowed.push(paused_product.register(64, seconds, Spread::Hundred).await.per_second);
        dispatched(&paused, paused_product.registered.load(Ordering::Relaxed)).await;
        sent.push(while_sending(&product, &receivers, seconds).await);
    }
    for product in [without, paused_product, product] {
        product.stop().await;
    }
    receivers.stop();
    let (kind, bare) = (keeper.kind(), median(bare));
    report.ratio(&format!("registration_{kind}_webhooks_paused"), median(slowed), bare, 0.9, "per second");
    let rate = median(sent.iter().map(|sent| sent.rate));
    report.beside(&format!("registration_{kind}_webhooks_sending"), rate, bare, "per second");
    let [p50, p99] = [median(sent.iter().map(|sent| sent.lag.p50)), median(sent.iter().map(|sent| sent.lag.p99))];
    let late = median(sent.iter().map(|sent| sent.late));
    report.say(format!(
        "    while sending: lag p50 {p50:.0} ms, p99 {p99:.0} ms; the last delivery {late:.2} s after the last answer"
    ));
}

/// A run while deliveries are sent.
struct Sent {
    rate: f64,
    lag: Lag,
    /// Time from the last answer to the last delivery, in seconds.
    late: f64,
}

async fn while_sending(product: &Product, receivers: &Receivers, seconds: u64) -> Sent {
    receivers.note();
    let load = product.register(64, seconds, Spread::Hundred).await;
    let (ended, rate, answers) = (Instant::now(), load.per_second, product.named(load.answers));
    super::until("every event arrives", Duration::from_millis(2), || receivers.noted() >= answers.len()).await;
    Sent { rate, lag: Lag::of(&answers, &receivers.arrivals()), late: ended.elapsed().as_secs_f64() }
}

/// Waits until every event has become a delivery, so that the rest is not done in another run.
async fn dispatched(kept: &Kept, events: u64) {
    let end = Instant::now() + PATIENCE;
    while kept.number("SELECT count(*) FROM webhook_deliveries") < events {
        assert!(Instant::now() < end, "the dispatcher does not come to the end of the log");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
