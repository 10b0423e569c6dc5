//! What tenants may do, in memory. [`crate::Follower`] keeps it right.

use std::collections::HashMap;
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tenancy_api::access::Access;
use tokio::sync::watch;

/// Number of parts of the cache. Readers and the writer meet only in one part.
const PARTS: usize = 64;
/// Default of the maximum number of tenants. A tenant with two aliases and three environments needs about 2 KB.
pub const MAX_TENANTS: usize = 2_000_000;
/// Value of `heard` before the first answer of the server.
const NEVER: i64 = i64::MIN;

/// A cache of [`Access`], by id and by alias.
#[derive(Debug)]
pub struct AccessCache {
    parts: Vec<RwLock<Part>>,
    hasher: RandomState,
    most: usize,
    began: Instant,
    /// Time at which the contents were known to be complete, in milliseconds after `began`; negative if before.
    heard: AtomicI64,
    is_current: AtomicBool,
    generation: AtomicU32,
    tenants: AtomicUsize,
    changes: AtomicU64,
    /// Cursor from which the feed continues these contents. `None` until they are complete.
    cursor: Mutex<Option<String>>,
    discards: AtomicU64,
    ready: watch::Sender<bool>,
}

type Part = HashMap<Box<str>, Entry>;

#[derive(Debug)]
struct Entry {
    access: Arc<Access>,
    /// Number of the snapshot in which the tenant occurred last.
    generation: u32,
}

/// What is known of a tenant.
#[derive(Debug, Clone)]
pub struct Known {
    /// Access to the tenant.
    pub access: Arc<Access>,
    heard: i64,
    began: Instant,
}

impl Known {
    /// Time since the server last confirmed what the cache contains.
    pub fn age(&self) -> Duration {
        since(self.began, self.heard)
    }
}

/// The cache has its maximum number of tenants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the cache already has its maximum of {0} tenants")]
pub struct Full(pub usize);

impl AccessCache {
    /// Creates an empty cache for at most [`MAX_TENANTS`] tenants.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Self::with_most(MAX_TENANTS)
    }

    /// Creates an empty cache with a maximum number of tenants.
    #[must_use]
    pub fn with_most(most: usize) -> Arc<Self> {
        Arc::new(Self {
            parts: (0..PARTS).map(|_| RwLock::default()).collect(),
            hasher: RandomState::new(),
            most,
            began: Instant::now(),
            heard: AtomicI64::new(NEVER),
            is_current: AtomicBool::default(),
            generation: AtomicU32::default(),
            tenants: AtomicUsize::default(),
            changes: AtomicU64::default(),
            cursor: Mutex::default(),
            discards: AtomicU64::default(),
            ready: watch::Sender::new(false),
        })
    }

    /// Returns what is known of the tenant with this id or alias (`kind:value`). It allocates nothing.
    pub fn get(&self, name: &str) -> Option<Known> {
        let access = {
            let part = self.part(name).read().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(&part.get(name)?.access)
        };
        Some(Known { access, heard: self.heard.load(Ordering::Acquire), began: self.began })
    }

    /// Time since the server last confirmed what the cache contains; `None` if it never has.
    pub fn age(&self) -> Option<Duration> {
        let heard = self.heard.load(Ordering::Acquire);
        (heard != NEVER).then(|| since(self.began, heard))
    }

    /// Number of tenants.
    pub fn tenants(&self) -> usize {
        self.tenants.load(Ordering::Relaxed)
    }

    /// Whether the cache follows the feed and has read all of it.
    pub fn is_current(&self) -> bool {
        self.is_current.load(Ordering::Acquire)
    }

    /// Whether the cache has all tenants, as they are now or as they were when the server was last there.
    pub fn is_ready(&self) -> bool {
        *self.ready.borrow()
    }

    /// Waits until the cache has all tenants.
    pub async fn ready(&self) {
        // Fails only if the sender is gone, and the cache owns it.
        let _ = self.ready.subscribe().wait_for(|ready| *ready).await;
    }

    /// Number of changes of the contents so far.
    pub fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// How often the server has said that what this cache has kept is not valid any more: the log was restored to an
    /// earlier state, its events are no longer kept, or the key was revoked. A copy of the contents must then be removed.
    pub fn discards(&self) -> u64 {
        self.discards.load(Ordering::Acquire)
    }

    /// Cursor from which the feed continues the contents; `None` if they are not complete.
    pub fn cursor(&self) -> Option<String> {
        self.cursor_guard().clone()
    }

    /// Calls `visit` for each tenant. Tenants that change meanwhile are seen as before or as after.
    ///
    /// # Errors
    /// The first error of `visit`.
    pub fn each<E>(&self, mut visit: impl FnMut(&Access) -> Result<(), E>) -> Result<(), E> {
        for part in &self.parts {
            // Cloned, so that the writer does not wait for `visit`.
            let found: Vec<_> = {
                let part = part.read().unwrap_or_else(PoisonError::into_inner);
                let tenants = part.iter().filter(|(name, entry)| ***name == *entry.access.tenant_id);
                tenants.map(|(_, entry)| Arc::clone(&entry.access)).collect()
            };
            for access in found {
                visit(&access)?;
            }
        }
        Ok(())
    }

    /// Stores what the server says of a tenant. Only one task may write.
    ///
    /// # Errors
    /// Fails if the cache is full and the tenant is new.
    pub(crate) fn put(&self, access: Access) -> Result<(), Full> {
        let (access, generation) = (Arc::new(access), self.generation.load(Ordering::Relaxed));
        let before = self.lookup(&access.tenant_id);
        match &before {
            None if self.tenants() >= self.most => return Err(Full(self.most)),
            None => drop(self.tenants.fetch_add(1, Ordering::Relaxed)),
            Some(before) => {
                let gone = before.aliases.iter().filter(|alias| !access.aliases.contains(alias));
                gone.for_each(|alias| self.take_alias(alias, &access.tenant_id));
            }
        }
        for name in access.aliases.iter().chain([&access.tenant_id]) {
            let entry = Entry { access: Arc::clone(&access), generation };
            self.part(name).write().unwrap_or_else(PoisonError::into_inner).insert(name.as_str().into(), entry);
        }
        self.changes.fetch_add(1, Ordering::Release);
        Ok(())
    }

    /// Begins to read a snapshot. What the cache contains is served until the snapshot is complete.
    pub(crate) fn begin_snapshot(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
        *self.cursor_guard() = None;
    }

    /// Removes what did not occur in the snapshot, and notes that the contents are complete.
    pub(crate) fn complete_snapshot(&self) {
        let generation = self.generation.load(Ordering::Relaxed);
        let mut tenants = 0;
        for part in &self.parts {
            let mut part = part.write().unwrap_or_else(PoisonError::into_inner);
            part.retain(|_, entry| entry.generation == generation);
            tenants += part.iter().filter(|(name, entry)| ***name == *entry.access.tenant_id).count();
        }
        self.tenants.store(tenants, Ordering::Relaxed);
        self.changes.fetch_add(1, Ordering::Release);
    }

    /// Notes the cursor up to which the contents are complete.
    pub(crate) fn advance(&self, cursor: &str) {
        let mut known = self.cursor_guard();
        match known.as_mut() {
            // Reuses the memory.
            Some(known) => cursor.clone_into(known),
            None => *known = Some(cursor.to_owned()),
        }
    }

    /// Notes whether the contents follow the feed.
    pub(crate) fn set_current(&self, is_current: bool) {
        self.is_current.store(is_current, Ordering::Release);
        if is_current {
            self.hear(Duration::ZERO);
        }
    }

    /// Notes that the contents were confirmed this long ago.
    pub(crate) fn hear(&self, ago: Duration) {
        let now = millis(self.began.elapsed());
        self.heard.store(now.saturating_sub(millis(ago)), Ordering::Release);
        self.ready.send_if_modified(|ready| !std::mem::replace(ready, true));
    }

    /// Notes that a copy of the contents must not be kept.
    pub(crate) fn discard(&self) {
        self.discards.fetch_add(1, Ordering::Release);
    }

    fn lookup(&self, name: &str) -> Option<Arc<Access>> {
        let part = self.part(name).read().unwrap_or_else(PoisonError::into_inner);
        part.get(name).map(|entry| Arc::clone(&entry.access))
    }

    /// Removes an alias that a tenant no longer has, unless another tenant has it now.
    fn take_alias(&self, alias: &str, tenant_id: &str) {
        let mut part = self.part(alias).write().unwrap_or_else(PoisonError::into_inner);
        if part.get(alias).is_some_and(|entry| entry.access.tenant_id == tenant_id) {
            part.remove(alias);
        }
    }

    fn part(&self, name: &str) -> &RwLock<Part> {
        // The remainder is below the number of parts, which fits into every integer.
        let number = (self.hasher.hash_one(name) % PARTS as u64) as usize;
        &self.parts[number]
    }

    fn cursor_guard(&self) -> MutexGuard<'_, Option<String>> {
        self.cursor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn since(began: Instant, heard: i64) -> Duration {
    let passed = millis(began.elapsed()).saturating_sub(heard);
    Duration::from_millis(u64::try_from(passed).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn access(tenant_id: &str, version: i64, aliases: &[&str]) -> Access {
        let text = format!(
            r#"{{"tenant_id":"{tenant_id}","organization_id":"acme","allowed":true,"state":"Active","access_level":"full",
            "region":"eu-west-1","version":{version},"position":1}}"#
        );
        let aliases = aliases.iter().map(|alias| (*alias).to_owned()).collect();
        Access { aliases, ..serde_json::from_str(&text).expect("an access") }
    }

    fn version(cache: &AccessCache, name: &str) -> Option<(String, i64)> {
        cache.get(name).map(|known| (known.access.tenant_id.clone(), known.access.version))
    }

    #[test]
    fn must_find_a_tenant_by_its_id_and_by_the_aliases_that_it_has_now() {
        let cache = AccessCache::new();
        cache.put(access("a", 1, &["host:one", "host:two"])).expect("room");
        cache.put(access("b", 1, &[])).expect("room");
        assert_eq!(version(&cache, "host:two"), Some(("a".to_owned(), 1)));
        // An alias moves: the tenant that gets it may be reported first, or the one that loses it.
        cache.put(access("b", 2, &["host:two"])).expect("room");
        cache.put(access("a", 2, &["host:one"])).expect("room");
        assert_eq!(version(&cache, "host:two"), Some(("b".to_owned(), 2)));
        cache.put(access("b", 3, &[])).expect("room");
        cache.put(access("a", 3, &["host:two"])).expect("room");
        assert_eq!(version(&cache, "host:two"), Some(("a".to_owned(), 3)));
        assert_eq!((version(&cache, "host:one"), cache.tenants()), (None, 2));
        let mut seen = Vec::new();
        let see = |access: &Access| {
            seen.push(access.tenant_id.clone());
            Ok::<_, ()>(())
        };
        cache.each(see).expect("seen");
        seen.sort();
        assert_eq!(seen, ["a", "b"]);
    }

    #[test]
    fn must_keep_the_old_contents_until_a_snapshot_is_complete() {
        let cache = AccessCache::new();
        cache.put(access("a", 1, &["host:a"])).expect("room");
        cache.put(access("b", 1, &["host:b"])).expect("room");
        cache.begin_snapshot();
        cache.put(access("b", 2, &["host:b"])).expect("room");
        assert_eq!((version(&cache, "host:a"), cache.cursor()), (Some(("a".to_owned(), 1)), None));
        cache.complete_snapshot();
        assert_eq!((version(&cache, "host:a"), version(&cache, "a"), cache.tenants()), (None, None, 1));
        assert_eq!(version(&cache, "host:b"), Some(("b".to_owned(), 2)));
    }

    #[test]
    fn must_say_how_old_the_contents_are_and_refuse_more_tenants_than_the_maximum() {
        let cache = AccessCache::with_most(1);
        assert!(cache.age().is_none() && !cache.is_ready());
        cache.put(access("a", 1, &[])).expect("room");
        cache.put(access("a", 2, &[])).expect("the same tenant");
        assert_eq!(cache.put(access("b", 1, &[])), Err(Full(1)));
        cache.hear(Duration::from_secs(60));
        let age = cache.get("a").expect("known").age();
        assert!((60..70).contains(&age.as_secs()) && cache.is_ready(), "{age:?}");
        cache.set_current(true);
        assert!(cache.age().is_some_and(|age| age < Duration::from_secs(10)));
    }
}
