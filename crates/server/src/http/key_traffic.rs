//! Limits on the requests of one key: its rate, and how many are served at once. One key must not starve the others.

use super::rate::{Bucket, Rate};
use crate::key_limits::KeyLimits;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenancy_core::apikey::ApiKey;
use tenancy_core::ids::KeyId;
use tenancy_core::{Error, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// What a request demands of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// A read by key, or a change.
    Light,
    /// A list, or a request with a large body.
    Heavy,
    /// A request that only waits, for example for the end of a job.
    Waiting,
}

/// Number of keys from which keys without traffic are forgotten.
const MIN_KEYS_TO_FORGET: usize = 1024;

/// Traffic of all keys in this process.
#[derive(Debug)]
pub struct KeyTraffic {
    limits: KeyLimits,
    keys: Mutex<Keys>,
}

#[derive(Debug)]
struct Keys {
    of: HashMap<KeyId, Arc<Traffic>>,
    forget_at: usize,
}

/// Traffic of one key.
#[derive(Debug)]
struct Traffic {
    bucket: Option<Bucket>,
    light: Arc<Semaphore>,
    heavy: Arc<Semaphore>,
    waiting: AtomicUsize,
}

/// Permission to serve one request. Dropping it lets the next request of the key be served.
#[derive(Debug, Default)]
pub struct Seat {
    _light: Option<OwnedSemaphorePermit>,
    heavy: Option<OwnedSemaphorePermit>,
}

impl Seat {
    /// Whether the seat is one of the few for heavy requests.
    pub fn is_heavy(&self) -> bool {
        self.heavy.is_some()
    }
}

impl KeyTraffic {
    /// Creates the traffic of keys with these limits.
    pub fn new(limits: KeyLimits) -> Self {
        Self { limits, keys: Mutex::new(Keys { of: HashMap::new(), forget_at: MIN_KEYS_TO_FORGET }) }
    }

    /// Counts a request against the rate limit of its key, and waits until it can be served. `rate` is the state of the
    /// rate limit, if the key has one.
    ///
    /// # Errors
    /// [`Error::RateLimited`]; [`Error::TooManyAtOnce`] if too many requests of the key wait, or if its turn does not
    /// come in time.
    pub async fn seat(
        &self,
        key: &ApiKey,
        weight: Weight,
        now: Timestamp,
        rate: &mut Option<Rate>,
    ) -> Result<Seat, Error> {
        let traffic = self.of(key, now);
        *rate = traffic.bucket.as_ref().map(|bucket| bucket.take(now));
        if let Some(retry_after_seconds) = rate.and_then(|rate| rate.retry_after_seconds) {
            return Err(Error::RateLimited { retry_after_seconds });
        }
        Ok(match weight {
            Weight::Waiting => Seat::default(),
            Weight::Light => Seat { _light: Some(self.turn(&traffic, &traffic.light).await?), heavy: None },
            // It takes no seat of light requests: a request with a large body has one while it waits for a heavy seat,
            // so that the two could wait for each other.
            Weight::Heavy => Seat { _light: None, heavy: Some(self.turn(&traffic, &traffic.heavy).await?) },
        })
    }

    /// Waits until a request that turned out to be heavy can go on. It has a seat of light requests already.
    ///
    /// # Errors
    /// The same as [`KeyTraffic::seat`].
    pub async fn heavy_seat(&self, key: &ApiKey, now: Timestamp) -> Result<Seat, Error> {
        let traffic = self.of(key, now);
        Ok(Seat { _light: None, heavy: Some(self.turn(&traffic, &traffic.heavy).await?) })
    }

    async fn turn(&self, traffic: &Traffic, seats: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Error> {
        if let Ok(free) = Arc::clone(seats).try_acquire_owned() {
            return Ok(free);
        }
        let _waits = Waits::among(&traffic.waiting, self.limits.max_waiting_requests).ok_or(Error::TooManyAtOnce)?;
        let patience = Duration::from_millis(self.limits.wait_timeout_milliseconds);
        match tokio::time::timeout(patience, Arc::clone(seats).acquire_owned()).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(Error::TooManyAtOnce),
        }
    }

    fn of(&self, key: &ApiKey, now: Timestamp) -> Arc<Traffic> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(traffic) = keys.of.get(&key.key_id) {
            return Arc::clone(traffic);
        }
        if keys.of.len() >= keys.forget_at {
            keys.of.retain(|_, traffic| !self.is_idle(traffic, now));
            keys.forget_at = MIN_KEYS_TO_FORGET.max(2 * keys.of.len());
        }
        let traffic = Arc::new(self.new_traffic(!key.scope.is_all()));
        keys.of.insert(key.key_id.clone(), Arc::clone(&traffic));
        traffic
    }

    fn new_traffic(&self, is_scoped: bool) -> Traffic {
        let limits = &self.limits;
        let bucket = match is_scoped {
            true => Bucket::new(limits.scoped_requests_per_second, limits.scoped_burst_requests),
            false => Bucket::new(limits.unscoped_requests_per_second, limits.unscoped_burst_requests),
        };
        Traffic {
            bucket,
            light: Arc::new(Semaphore::new(limits.max_requests)),
            heavy: Arc::new(Semaphore::new(limits.max_heavy_requests)),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Whether new traffic of the same key would be equal to this one.
    fn is_idle(&self, traffic: &Arc<Traffic>, now: Timestamp) -> bool {
        Arc::strong_count(traffic) == 1
            && traffic.light.available_permits() == self.limits.max_requests
            && traffic.heavy.available_permits() == self.limits.max_heavy_requests
            && traffic.bucket.as_ref().is_none_or(|bucket| bucket.is_full(now))
    }
}

/// One waiting request. It is counted until it is dropped.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn among(waiting: &'a AtomicUsize, most: usize) -> Option<Self> {
        let waits = Self(waiting);
        // Counts itself first, so that two requests cannot both take the last place.
        (waiting.fetch_add(1, Ordering::AcqRel) < most).then_some(waits)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenancy_core::apikey::Role;
    use tenancy_core::ids::{OrganizationId, TenantId};
    use tenancy_core::scope::Scope;

    fn key(id: &str, scope: Scope) -> ApiKey {
        ApiKey {
            key_id: KeyId::known(id),
            name: id.to_owned(),
            role: Role::Viewer,
            scope,
            token_digest: String::new(),
            previous_digest: None,
            previous_expires_at: None,
            version: 1,
            created_by: None,
            created_at: Timestamp::UNIX_EPOCH,
            expires_at: None,
            revoked_at: None,
            last_used_at: None,
        }
    }

    async fn seat(traffic: &KeyTraffic, key: &ApiKey, weight: Weight) -> Result<Seat, Error> {
        traffic.seat(key, weight, Timestamp::UNIX_EPOCH, &mut None).await
    }

    #[tokio::test]
    async fn must_serve_a_bounded_number_let_a_bounded_number_wait_and_not_concern_other_keys() {
        let limits = KeyLimits {
            max_requests: 1,
            max_heavy_requests: 1,
            max_waiting_requests: 1,
            wait_timeout_milliseconds: 200,
            ..Default::default()
        };
        let traffic = Arc::new(KeyTraffic::new(limits));
        let (one, other) = (key("one", Scope::All), key("other", Scope::All));
        let list = seat(&traffic, &one, Weight::Heavy).await.expect("free");
        assert!(list.is_heavy());
        let read = seat(&traffic, &one, Weight::Light).await.expect("a seat of the other kind");
        seat(&traffic, &one, Weight::Waiting).await.expect("it needs no seat");
        let waits = tokio::spawn({
            let (traffic, one) = (Arc::clone(&traffic), one.clone());
            async move { seat(&traffic, &one, Weight::Heavy).await.map(|seat| seat.is_heavy()) }
        });
        tokio::task::yield_now().await;
        assert_eq!(seat(&traffic, &one, Weight::Light).await.map(drop), Err(Error::TooManyAtOnce), "one waits");
        for weight in [Weight::Heavy, Weight::Light] {
            seat(&traffic, &other, weight).await.expect("another key");
        }
        drop(list);
        assert_eq!(waits.await.expect("no panic"), Ok(true));
        drop(read);
        let held = seat(&traffic, &one, Weight::Light).await;
        assert_eq!(seat(&traffic, &one, Weight::Light).await.map(drop), Err(Error::TooManyAtOnce), "in time");
        drop(held);
        seat(&traffic, &one, Weight::Light).await.expect("free again");
    }

    #[test]
    fn must_forget_keys_without_traffic_only() {
        let limits = KeyLimits { scoped_requests_per_second: 1, ..Default::default() };
        let (traffic, now) = (KeyTraffic::new(limits), Timestamp::UNIX_EPOCH);
        let busy = key("busy", Scope::Tenant(TenantId::known("acme-eu")));
        let count = |key: &ApiKey| Some(traffic.of(key, now).bucket.as_ref()?.take(now));
        count(&busy).expect("a limit");
        for n in 0..MIN_KEYS_TO_FORGET {
            assert_eq!(count(&key(&format!("k{n}"), Scope::All)), None, "no limit");
        }
        assert!(traffic.keys.lock().expect("not poisoned").of.len() < 10);
        let scoped = key("new", Scope::Organization(OrganizationId::known("acme")));
        assert_ne!(count(&busy), count(&scoped), "it is not full again");
    }
}
