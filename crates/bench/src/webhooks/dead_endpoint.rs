//! What 100,000 deliveries that wait for a dead receiver cost the others.

use super::deliveries::saturated;
use super::lag::lag;
use super::receiver::{Manner, Receivers};
use super::{PATIENCE, REGISTERED, Sending, create, start};
use crate::Settings;
use crate::figure::median;
use crate::kept::{Keeper, Kept};
use crate::product::Product;
use crate::report::Report;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::time::{Duration, Instant};

/// Number of deliveries that wait.
const WAITING: u64 = 100_000;
/// Number of other endpoints.
const OTHERS: u64 = 16;
/// Changes per second while the lag is measured.
const PER_SECOND: u64 = 20;

/// Measures both databases.
pub async fn measure(keepers: &[Keeper], settings: &Settings, report: &mut Report) {
    for keeper in keepers {
        one(keeper, settings, report).await;
    }
}

/// One of the two products that are compared.
struct Side {
    kept: Kept,
    product: Product,
    receivers: Receivers,
    rates: Vec<f64>,
    lags: Vec<f64>,
}

async fn one(keeper: &Keeper, settings: &Settings, report: &mut Report) {
    let with = keeper.database("dead").await;
    let product = start(&with, settings.names, Sending::On, None).await;
    super::create_one(&product, "/v1/webhooks", "dead", nobody(), REGISTERED).await;
    let before = resident_mib();
    fill(&product, &with).await;
    let filled = resident_mib();
    let keys = product.keys();
    product.stop().await;
    let without = keeper.copy(&with, "alive");
    // By SQL: how the server removes the deliveries of a deleted webhook is not measured here.
    without.execute(
        "DELETE FROM webhook_attempts; DELETE FROM webhook_deliveries; DELETE FROM webhook_lanes; \
         DELETE FROM platform_webhooks",
    );
    let mut sides = Vec::new();
    for kept in [with, without] {
        let product = start(&kept, settings.names, Sending::On, Some(std::sync::Arc::clone(&keys))).await;
        sides.push(Side { kept, product, receivers: Receivers::new(), rates: Vec::new(), lags: Vec::new() });
    }
    let [with, without] = &mut sides[..] else { unreachable!("two sides") };
    for side in [&mut *with, &mut *without] {
        // Names that the other runs have not used.
        side.product.skip(WAITING);
        create(&side.product, &side.receivers, Manner::Healthy, OTHERS, REGISTERED).await;
        side.run(1).await;
        side.rates.clear();
        side.lags.clear();
    }
    for _ in 0..settings.rounds {
        without.run(settings.seconds).await;
        with.run(settings.seconds).await;
    }
    let (kind, end) = (keeper.kind(), resident_mib());
    let middle = |side: &Side| (median(side.rates.iter().copied()), median(side.lags.iter().copied()));
    let ((rate, p99), (bare_rate, bare_p99)) = (middle(with), middle(without));
    report.ratio(&format!("dead_endpoint_{kind}_rate"), rate, bare_rate, 0.9, "per second");
    report.at_most(&format!("dead_endpoint_{kind}_lag_p99"), p99, bare_p99, 1.1, "ms");
    report.say(format!(
        "    resident memory of this process: {before:.0} MiB before, {filled:.0} MiB with {WAITING} deliveries that \
         wait, {end:.0} MiB at the end"
    ));
    for side in sides {
        side.product.stop().await;
        side.receivers.stop();
    }
}

impl Side {
    async fn run(&mut self, seconds: u64) {
        self.rates.push(saturated(&self.product, &self.receivers, &self.kept, OTHERS, seconds).await);
        let endpoints = usize::try_from(OTHERS).expect("a small number");
        self.lags.push(lag(&self.product, &self.receivers, endpoints, PER_SECOND, seconds).await.p99);
    }
}

/// Registers tenants until the dead endpoint has all deliveries that are to wait.
async fn fill(product: &Product, kept: &Kept) {
    const FILE: u64 = WAITING / 20;
    for _ in 0..WAITING / FILE {
        product.apply_new(FILE).await;
    }
    waiting(kept, |count| count >= WAITING).await;
}

async fn waiting(kept: &Kept, is_met: impl Fn(u64) -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_met(kept.number("SELECT count(*) FROM webhook_deliveries")) {
        assert!(Instant::now() < end, "the number of deliveries does not change as expected");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Returns an address at which nobody listens.
fn nobody() -> SocketAddr {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bound");
    listener.local_addr().expect("an address")
}

/// Returns the resident memory of this process: the server, the load and the receivers.
fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a line");
    let kib: f64 = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib / 1024.0
}
