//! The cache follows the feed through every fault.

use serde_json::json;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_client::{AccessCache, Client, Follower, Link};
use tenancy_testkit::AccessFeed;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Timeout for an expected change.
const PATIENCE: Duration = Duration::from_secs(20);

/// An access answer as JSON.
pub fn access(tenant_id: &str, version: i64, aliases: &[&str]) -> String {
    json!({
        "tenant_id": tenant_id, "organization_id": "acme", "aliases": aliases, "allowed": true, "state": "Active",
        "access_level": "full", "region": "eu-west-1", "version": version, "position": version,
    })
    .to_string()
}

/// A follower that stops when it is dropped.
pub struct Following {
    pub cache: Arc<AccessCache>,
    pub link: tokio::sync::watch::Receiver<Link>,
    _stop: DropGuard,
}

pub fn follow_into(feed: &AccessFeed, cache: Arc<AccessCache>) -> Following {
    let client = Client::new(&feed.url(), Some("tenancy_token".to_owned())).expect("a client");
    let (follower, stop) = (Follower::new(client, Arc::clone(&cache)), CancellationToken::new());
    let link = follower.link();
    tokio::spawn(follower.run(stop.clone()));
    Following { cache, link, _stop: stop.drop_guard() }
}

impl Following {
    pub fn version(&self, name: &str) -> Option<i64> {
        self.cache.get(name).map(|known| known.access.version)
    }

    pub async fn until(&self, what: &str, look: impl Fn(&Self) -> bool) {
        let begun = Instant::now();
        while !look(self) {
            assert!(begun.elapsed() < PATIENCE, "not in time: {what}; {:?}", *self.link.borrow());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

#[tokio::test]
async fn must_have_every_tenant_and_every_change() {
    let feed = AccessFeed::start();
    feed.set("acme-eu", &access("acme-eu", 1, &["host:acme.example.com"]));
    feed.set("acme-us", &access("acme-us", 1, &[]));
    let following = follow_into(&feed, AccessCache::new());
    tokio::time::timeout(PATIENCE, following.cache.ready()).await.expect("ready");
    assert_eq!((following.version("host:acme.example.com"), following.version("acme-us")), (Some(1), Some(1)));
    for version in 2..100 {
        feed.set("acme-eu", &access("acme-eu", version, &["host:acme.example.com"]));
    }
    following.until("the last change", |following| following.version("host:acme.example.com") == Some(99)).await;
    assert!(following.cache.is_current() && following.cache.tenants() == 2);
}

#[tokio::test]
async fn must_continue_from_its_cursor_after_every_disconnect() {
    let feed = AccessFeed::start();
    feed.set("a", &access("a", 1, &[]));
    let following = follow_into(&feed, AccessCache::new());
    following.until("ready", |following| following.version("a") == Some(1) && following.cache.is_current()).await;
    for version in 2..12 {
        match version % 3 {
            0 => feed.cut(),
            1 => feed.end("too_slow"),
            _ => {}
        }
        feed.set("a", &access("a", version, &[]));
        following.until("the change", |following| following.version("a") == Some(version)).await;
    }
    let cursors = feed.cursors();
    assert!(cursors.len() > 3 && cursors[0].is_none(), "{cursors:?}");
    assert!(cursors[1..].iter().all(Option::is_some), "one snapshot was enough: {cursors:?}");
}

#[tokio::test]
async fn must_answer_while_the_server_is_away_and_say_how_old_the_answers_are() {
    let feed = AccessFeed::start();
    feed.set("a", &access("a", 1, &[]));
    let following = follow_into(&feed, AccessCache::new());
    following.until("ready", |following| following.cache.is_current()).await;
    feed.down();
    following.until("away", |following| matches!(*following.link.borrow(), Link::Away(_))).await;
    tokio::time::sleep(Duration::from_millis(600)).await;
    let known = following.cache.get("a").expect("known");
    assert!(known.age() >= Duration::from_millis(500) && !following.cache.is_current(), "{:?}", known.age());
    feed.set("a", &access("a", 2, &[]));
    feed.up();
    following.until("the change", |following| following.version("a") == Some(2)).await;
    following.until("following", |following| following.cache.is_current()).await;
    assert!(following.cache.age().expect("an age") < PATIENCE);
    assert_eq!(following.cache.discards(), 0);
}

#[tokio::test]
async fn must_read_all_tenants_again_if_the_log_was_restored() {
    let feed = AccessFeed::start();
    feed.set("a", &access("a", 1, &["host:a"]));
    feed.set("lost", &access("lost", 1, &["host:lost"]));
    let following = follow_into(&feed, AccessCache::new());
    following.until("ready", |following| following.cache.is_current()).await;
    feed.restore_without("lost");
    following.until("restored", |following| following.version("lost").is_none()).await;
    assert_eq!((following.version("host:a"), following.version("host:lost")), (Some(1), None));
    assert_eq!(following.cache.discards(), 1, "a copy of the former contents must be removed");
    following.until("following", |following| following.cache.is_current()).await;
}

#[tokio::test]
async fn must_say_that_the_key_is_refused_and_keep_answering_from_memory() {
    let feed = AccessFeed::start();
    feed.set("a", &access("a", 1, &[]));
    let following = follow_into(&feed, AccessCache::new());
    following.until("ready", |following| following.cache.is_current()).await;
    feed.refuse_key();
    feed.end("key_revoked");
    following.until("refused", |following| matches!(*following.link.borrow(), Link::Refused(_))).await;
    assert_eq!((following.version("a"), following.cache.discards()), (Some(1), 1));
}

#[tokio::test]
async fn must_not_serve_a_snapshot_that_is_not_complete() {
    let feed = AccessFeed::start();
    let following = follow_into(&feed, AccessCache::with_most(2));
    for name in ["a", "b", "c"] {
        feed.set(name, &access(name, 1, &[]));
    }
    following
        .until("full", |following| matches!(&*following.link.borrow(), Link::Away(why) if why.contains("maximum")))
        .await;
    assert!(!following.cache.is_current() && following.cache.tenants() == 2);
}

#[tokio::test]
async fn must_not_take_a_connection_for_news() {
    let feed = AccessFeed::start();
    feed.set("a", &access("a", 1, &[]));
    let following = follow_into(&feed, AccessCache::new());
    following.until("ready", |following| following.cache.is_current()).await;
    tokio::time::sleep(Duration::from_millis(900)).await;
    assert!(
        following.cache.age().is_some_and(|age| age < Duration::from_millis(700)),
        "the server says that it is current"
    );
    feed.lose_database();
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let age = following.cache.age().expect("an age");
    assert!(age >= Duration::from_millis(900), "only comments arrive, and {age:?} is too young");
    assert_eq!(following.version("a"), Some(1));
}
