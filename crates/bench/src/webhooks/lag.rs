//! The time from the answer to a change until the first byte at a receiver.

use super::receiver::{Manner, Receivers};
use super::{REGISTERED, Sending, create, start, until};
use crate::Settings;
use crate::figure::{median, percentile};
use crate::kept::Keeper;
use crate::product::{Product, Spread};
use crate::report::Report;
use std::collections::HashMap;
use std::time::{Duration, Instant};

/// Changes per second.
const PER_SECOND: u64 = 200;

/// Lags of one run, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct Lag {
    /// Median.
    pub p50: f64,
    /// 95th percentile.
    pub p95: f64,
    /// 99th percentile.
    pub p99: f64,
}

impl Lag {
    /// Returns the lags of arrivals after answers. An event that arrives before the answer has no lag.
    pub fn of(answers: &HashMap<String, Instant>, arrivals: &[(String, Instant)]) -> Self {
        let lag = |(tenant, at): &(String, Instant)| Some(at.saturating_duration_since(*answers.get(tenant)?));
        let mut all: Vec<_> = arrivals.iter().filter_map(lag).map(|lag| lag.as_secs_f64() * 1000.0).collect();
        Self { p50: percentile(&mut all, 50), p95: percentile(&mut all, 95), p99: percentile(&mut all, 99) }
    }
}

/// Registers a number of tenants per second, and returns the lags at the healthy receivers, of which there are so many.
pub async fn lag(product: &Product, receivers: &Receivers, endpoints: usize, per_second: u64, seconds: u64) -> Lag {
    receivers.note();
    let answers = product.register_at(per_second, seconds, Spread::One).await;
    let all = answers.len() * endpoints;
    until("every event arrives", Duration::from_millis(2), || receivers.noted() >= all).await;
    Lag::of(&answers, &receivers.arrivals())
}

/// Measures the lag of one webhook of the platform.
pub async fn delivery_lag(keepers: &[Keeper], settings: &Settings, report: &mut Report) {
    for keeper in keepers {
        let kept = keeper.database("lag").await;
        let (product, receivers) = (start(&kept, settings.names, Sending::On, None).await, Receivers::new());
        create(&product, &receivers, Manner::Healthy, 1, REGISTERED).await;
        lag(&product, &receivers, 1, PER_SECOND, 1).await;
        let mut lags = Vec::new();
        for _ in 0..settings.rounds {
            lags.push(lag(&product, &receivers, 1, PER_SECOND, settings.seconds).await);
        }
        product.stop().await;
        receivers.stop();
        let kind = keeper.kind();
        report.below(&format!("delivery_lag_{kind}_p50"), median(lags.iter().map(|lag| lag.p50)), 5.0, "ms");
        report.below(&format!("delivery_lag_{kind}_p95"), median(lags.iter().map(|lag| lag.p95)), 20.0, "ms");
    }
}
