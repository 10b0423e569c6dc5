//! Deliveries per second to healthy receivers, from the event in the log until the outcome is in the database.

use super::receiver::{Manner, Receivers};
use super::{ENDPOINTS, REGISTERED, Sending, bare, create, drained, start, until};
use crate::Settings;
use crate::figure::median;
use crate::kept::{Keeper, Kept};
use crate::product::Product;
use crate::report::Report;
use std::time::{Duration, Instant};

/// Number of tenants of one file. Each causes one event.
const FILE: u64 = 100;

/// Measures both databases.
pub async fn measure(keepers: &[Keeper], settings: &Settings, report: &mut Report) {
    let mut rates = Vec::new();
    for keeper in keepers {
        rates.push(one(keeper, settings, report).await);
    }
    if let [pg, sqlite] = rates[..] {
        report.ratio("deliveries_sqlite_vs_pg", sqlite, pg, 0.5, "per second");
    }
}

async fn one(keeper: &Keeper, settings: &Settings, report: &mut Report) -> f64 {
    let kept = keeper.database("deliveries").await;
    let product = start(&kept, settings.names, Sending::On, None).await;
    let (receivers, others) = (Receivers::new(), Receivers::new());
    create(&product, &receivers, Manner::Healthy, ENDPOINTS, REGISTERED).await;
    saturated(&product, &receivers, &kept, ENDPOINTS, 1).await;
    let body = receivers.body();
    let (mut rates, mut one_loop, mut leanest, mut ordinary) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        rates.push(saturated(&product, &receivers, &kept, ENDPOINTS, settings.seconds).await);
        one_loop.push(bare::one_loop(product.threads(), &others, ENDPOINTS, &body, settings.seconds).await);
        leanest.push(bare::leanest(product.threads(), &others, ENDPOINTS, &body, settings.seconds).await);
        ordinary.push(bare::ordinary(product.threads(), &others, ENDPOINTS, &body, settings.seconds).await);
    }
    let rows = kept.number("SELECT count(*) FROM webhook_deliveries WHERE state = 'delivered'");
    assert_eq!(rows, receivers.accepted(), "deliveries that are recorded differ from those that were received");
    product.stop().await;
    receivers.stop();
    others.stop();
    let (kind, rate) = (keeper.kind(), median(rates));
    report.ratio(&format!("deliveries_{kind}_vs_bare"), rate, median(leanest), 0.2, "per second");
    report.beside(&format!("deliveries_{kind}_vs_loop"), rate, median(one_loop), "per second");
    report.beside(&format!("deliveries_{kind}_vs_sender"), rate, median(ordinary), "per second");
    rate
}

/// Registers tenants so that every healthy endpoint always has deliveries waiting, for a time. Returns the deliveries per
/// second, from the first event until the last outcome is recorded.
pub async fn saturated(product: &Product, receivers: &Receivers, kept: &Kept, endpoints: u64, seconds: u64) -> f64 {
    let (before, began, mut made) = (receivers.accepted(), Instant::now(), 0);
    let accepted = || receivers.accepted() - before;
    while began.elapsed() < Duration::from_secs(seconds) {
        if made - accepted().min(made) < FILE * endpoints {
            product.apply_new(FILE).await;
            made += FILE * endpoints;
        } else {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    until("every delivery is received", Duration::from_millis(2), || accepted() >= made).await;
    drained(kept, "healthy").await;
    let elapsed = began.elapsed().as_secs_f64();
    assert_eq!(accepted(), made, "a healthy endpoint got an event twice");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let made = made as f64;
    made / elapsed
}
