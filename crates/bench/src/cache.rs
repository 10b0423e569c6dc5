//! Lookups in the cache of access of the Rust client, on one thread.

use crate::Settings;
use crate::figure::median;
use crate::report::Report;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_client::api::access::Access;
use tenancy_client::{AccessCache, Client, Follower};
use tenancy_testkit::AccessFeed;
use tokio_util::sync::CancellationToken;

/// Numbers of tenants.
const SIZES: [u64; 2] = [1_000, 100_000];
/// Lookups per second that are the aim.
const AIM: f64 = 10_000_000.0;

/// Measures each size, and a map without locks beside it.
pub async fn measure(settings: &Settings, report: &mut Report) {
    for size in SIZES {
        let cache = filled(size).await;
        let names: Vec<_> = (0..size).map(|number| scattered(number, size)).collect();
        let known = |name: &String| (name.clone(), cache.get(name).expect("known").access);
        let map: HashMap<String, Arc<Access>> = names.iter().map(known).collect();
        let (mut ours, mut bare) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            ours.push(rate(&names, settings.seconds, |name| cache.get(name).is_some_and(|known| known.access.allowed)));
            bare.push(rate(&names, settings.seconds, |name| map.get(name).cloned().is_some_and(|one| one.allowed)));
        }
        let (ours, millions) = (median(ours), 1_000_000.0);
        report.at_least(&format!("cache_{size}_tenants"), ours / millions, AIM / millions, "M per second");
        report.beside(
            &format!("cache_{size}_tenants_vs_map"),
            ours / millions,
            median(bare) / millions,
            "M per second",
        );
    }
}

/// Returns the name of a tenant in scattered order, so that the processor cannot guess the next one.
fn scattered(number: u64, size: u64) -> String {
    format!("tenant-{}", number.wrapping_mul(618_033_988_749) % size)
}

/// Returns the access answer of a tenant, as the feed sends it.
pub fn access(tenant_id: &str) -> String {
    // One line, as an event of a stream needs.
    format!(
        "{{\"tenant_id\":\"{tenant_id}\",\"organization_id\":\"acme\",\"aliases\":[\"host:{tenant_id}.example.com\"],\
         \"allowed\":true,\"state\":\"Active\",\"access_level\":\"full\",\"plan\":\"gold\",\"region\":\"eu-west-1\",\
         \"quotas\":{{\"storageGiB\":5}},\"version\":3,\"position\":7}}"
    )
}

/// Returns a feed with tenants.
pub fn feed(size: u64) -> AccessFeed {
    let feed = AccessFeed::start();
    for number in 0..size {
        let name = format!("tenant-{number}");
        feed.set(&name, &access(&name));
    }
    feed
}

async fn filled(size: u64) -> Arc<AccessCache> {
    let (feed, cache, stop) = (feed(size), AccessCache::new(), CancellationToken::new());
    let client = Client::new(&feed.url(), Some("tenancy_bench".to_owned())).expect("a client");
    let following = tokio::spawn(Follower::new(client, Arc::clone(&cache)).run(stop.clone()));
    cache.ready().await;
    stop.cancel();
    following.await.expect("stopped");
    feed.down();
    assert_eq!(u64::try_from(cache.tenants()).ok(), Some(size), "tenants in the cache");
    cache
}

fn rate(names: &[String], seconds: u64, is_allowed: impl Fn(&str) -> bool) -> f64 {
    let (began, mut count) = (Instant::now(), 0_u32);
    let mut each = names.iter().cycle();
    while began.elapsed() < Duration::from_secs(seconds) {
        // Not a look at the clock for each lookup.
        for name in each.by_ref().take(1000) {
            assert!(is_allowed(black_box(name)), "{name}");
        }
        count += 1000;
    }
    f64::from(count) / began.elapsed().as_secs_f64()
}
