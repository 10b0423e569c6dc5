//! Figures of webhooks: a server that sends, and receivers in this process.

pub mod bad_endpoints;
mod bare;
pub mod dead_endpoint;
pub mod deliveries;
mod lag;
pub mod receiver;
pub mod registration;

pub use lag::delivery_lag;

use crate::Names;
use crate::kept::Kept;
use crate::product::Product;
use receiver::{Manner, Receivers};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tenancy_server::Config;

/// Event of each registration.
const REGISTERED: &str = "TENANCY_REGISTERED";
/// Event that no registration causes.
const OTHER: &str = "TENANCY_PURGED";
/// Number of webhooks of the platform, which is the maximum.
const ENDPOINTS: u64 = 64;
/// Maximum time that this bench waits for deliveries.
const PATIENCE: Duration = Duration::from_secs(600);
/// Pause between two looks at the database.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Whether a server sends deliveries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sending {
    On,
    Paused,
}

/// Starts a server that may send to this machine.
async fn start(kept: &Kept, names: Names, sending: Sending, keys: Option<Arc<TempDir>>) -> Product {
    let mut config = Config::default();
    config.webhooks.send = sending == Sending::On;
    (config.webhooks.allow_http, config.webhooks.allow_loopback) = (true, true);
    Product::start_with(&kept.database(), names, config, keys).await
}

/// Creates `count` webhooks of the platform with receivers of their own, named after their manner and number.
async fn create(product: &Product, receivers: &Receivers, manner: Manner, count: u64, event: &str) {
    for number in 0..count {
        let address = receivers.start(manner).await;
        create_one(product, "/v1/webhooks", &format!("{manner:?}-{number}").to_lowercase(), address, event).await;
    }
}

/// Creates a webhook in a list.
async fn create_one(product: &Product, list: &str, name: &str, to: std::net::SocketAddr, event: &str) {
    let body = format!(r#"{{"name": "{name}", "url": "http://{to}/hooks", "events": ["{event}"]}}"#);
    product.send("POST", list, &body, 201).await;
}

/// Waits until no delivery of a webhook waits whose name begins with `named`.
async fn drained(kept: &Kept, named: &str) {
    let sql = format!(
        "SELECT count(*) FROM webhook_deliveries WHERE state = 'waiting' AND webhook_id IN \
         (SELECT webhook_id FROM platform_webhooks WHERE name LIKE '{named}%')"
    );
    until("every delivery is recorded", LOOK_EVERY, || kept.number(&sql) == 0).await;
}

/// Waits for a condition.
async fn until(what: &str, every: Duration, is_met: impl Fn() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is_met() {
        assert!(Instant::now() < end, "waited for too long: {what}");
        tokio::time::sleep(every).await;
    }
}
