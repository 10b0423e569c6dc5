//! What one endpoint that hangs and ten that fail cost the 89 others.

use super::lag::lag;
use super::receiver::{Manner, Receivers};
use super::{REGISTERED, Sending, create_one, start};
use crate::Settings;
use crate::figure::median;
use crate::kept::Keeper;
use crate::product::Product;
use crate::report::Report;

/// Number of endpoints of each manner.
const ALL: [(Manner, u64); 3] = [(Manner::Healthy, 89), (Manner::Failing, 10), (Manner::Hanging, 1)];
/// Number of endpoints of the platform; the rest belongs to an organization. An owner has at most 64.
const OF_THE_PLATFORM: u64 = 50;
/// Changes per second.
const PER_SECOND: u64 = 5;

/// Measures both databases.
pub async fn measure(keepers: &[Keeper], settings: &Settings, report: &mut Report) {
    for keeper in keepers {
        one(keeper, settings, report).await;
    }
}

async fn one(keeper: &Keeper, settings: &Settings, report: &mut Report) {
    let kept = keeper.database("bad").await;
    let (product, receivers) = (start(&kept, settings.names, Sending::On, None).await, Receivers::new());
    let (mut healthy, mut bad, mut created) = (0, Vec::new(), 0);
    for (manner, count) in ALL {
        for _ in 0..count {
            created += 1;
            let list = if created <= OF_THE_PLATFORM { "/v1/webhooks" } else { "/v1/organizations/org-1/webhooks" };
            let name = format!("hook-{created}");
            create_one(&product, list, &name, receivers.start(manner).await, REGISTERED).await;
            match manner {
                Manner::Healthy => healthy += 1,
                Manner::Failing | Manner::Hanging => bad.push(format!("{list}/{name}")),
            }
        }
    }
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for round in 0..=settings.rounds {
        switch(&product, &bad, "disable").await;
        let bare = lag(&product, &receivers, healthy, PER_SECOND, settings.seconds).await.p99;
        // The pauses between the attempts at a bad endpoint begin again.
        switch(&product, &bad, "enable").await;
        let slowed = lag(&product, &receivers, healthy, PER_SECOND, settings.seconds).await.p99;
        // The first round opens connections and fills caches.
        if round > 0 {
            without.push(bare);
            with.push(slowed);
        }
    }
    // Waits for the requests that hang, up to the time limit of an attempt.
    product.stop().await;
    receivers.stop();
    report.at_most(&format!("bad_endpoints_{}_lag_p99", keeper.kind()), median(with), median(without), 1.2, "ms");
}

async fn switch(product: &Product, webhooks: &[String], to: &str) {
    for webhook in webhooks {
        product.send("POST", &format!("{webhook}/{to}"), "", 200).await;
    }
}
