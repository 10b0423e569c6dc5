//! Limits the requests of each tenant to its `apiRateLimit`: a token bucket for each tenant, and one for each environment.
//! A request that names an environment takes from both, so that environments do not multiply the limit of the tenant.
//!
//! A bucket holds the tokens of one second and is described by one number, the time at which it will be full again
//! (GCRA). A full bucket is the same as none, so that buckets of tenants without requests are removed.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

const PARTS: usize = 64;
/// Number of buckets in a part from which full ones are removed. There are never more buckets than tenants and
/// environments in the cache.
const SWEPT_FROM: usize = 1024;
const SECOND_NANOS: u64 = 1_000_000_000;

/// All buckets of this process.
#[derive(Debug)]
pub struct Limiter {
    parts: Vec<Mutex<Part>>,
    hasher: RandomState,
    began: Instant,
}

#[derive(Debug)]
struct Part {
    /// For each bucket, the time at which it is full, in nanoseconds after the start.
    full_at: HashMap<Box<str>, u64>,
    sweep_at: usize,
}

impl Default for Limiter {
    fn default() -> Self {
        let part = || Mutex::new(Part { full_at: HashMap::new(), sweep_at: SWEPT_FROM });
        Self { parts: (0..PARTS).map(|_| part()).collect(), hasher: RandomState::new(), began: Instant::now() }
    }
}

impl Limiter {
    /// Takes a token from the bucket of a tenant, and one from that of the environment if the request names one. The
    /// numbers are requests a second; a request without a limit takes nothing.
    ///
    /// # Errors
    /// If one of the buckets is empty, the time until both have a token. Nothing is taken then.
    pub fn take(&self, tenant: &str, per_second: u64, environment: Option<(&str, u64)>) -> Result<(), Duration> {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.take_at(tenant, per_second, environment, now)
    }

    fn take_at(
        &self,
        tenant: &str,
        per_second: u64,
        environment: Option<(&str, u64)>,
        now: u64,
    ) -> Result<(), Duration> {
        // Both buckets are in the part of the tenant, so that one lock covers them. The remainder is below the number of
        // parts, which fits into every integer.
        let number = (self.hasher.hash_one(tenant) % PARTS as u64) as usize;
        let mut part = self.parts[number].lock().unwrap_or_else(PoisonError::into_inner);
        let of_tenant = part.next(tenant, per_second, now);
        let Some((environment, per_second)) = environment else {
            part.set(tenant, of_tenant?, now);
            return Ok(());
        };
        // An id contains no slash.
        let environment = format!("{tenant}/{environment}");
        match (of_tenant, part.next(&environment, per_second, now)) {
            (Ok(of_tenant), Ok(of_environment)) => {
                part.set(tenant, of_tenant, now);
                part.set(&environment, of_environment, now);
                Ok(())
            }
            (Err(one), Err(other)) => Err(one.max(other)),
            (Err(wait), _) | (_, Err(wait)) => Err(wait),
        }
    }
}

impl Part {
    /// Returns when a bucket is full again after one more token is taken.
    fn next(&self, name: &str, per_second: u64, now: u64) -> Result<u64, Duration> {
        if per_second == 0 {
            // No request is ever allowed; the limit can change at any time.
            return Err(Duration::from_secs(60));
        }
        let interval = (SECOND_NANOS / per_second).max(1);
        let full_at = self.full_at.get(name).copied().unwrap_or(now);
        next(full_at, interval, now)
    }

    /// Sets when a bucket is full again.
    fn set(&mut self, name: &str, full_at: u64, now: u64) {
        if let Some(known) = self.full_at.get_mut(name) {
            *known = full_at;
            return;
        }
        if self.full_at.len() >= self.sweep_at {
            self.full_at.retain(|_, full_at| *full_at > now);
            self.sweep_at = (self.full_at.len() * 2).max(SWEPT_FROM);
            self.full_at.shrink_to(self.sweep_at);
        }
        self.full_at.insert(name.into(), full_at);
    }
}

/// Returns when the bucket is full again after one more token is taken.
fn next(full_at: u64, interval: u64, now: u64) -> Result<u64, Duration> {
    let next = full_at.max(now).saturating_add(interval);
    // The bucket holds the tokens of one second, and at least one.
    let latest = now.saturating_add(SECOND_NANOS.max(interval));
    if next > latest { Err(Duration::from_nanos(next - latest)) } else { Ok(next) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_allow_the_rate_after_a_burst_of_one_second() {
        let limiter = Limiter::default();
        let take = |now: u64| limiter.take_at("a", 10, None, now);
        let allowed = (0..100).filter(|_| take(0).is_ok()).count();
        assert_eq!(allowed, 10, "the tokens of one second");
        assert_eq!(take(0), Err(Duration::from_millis(100)));
        assert_eq!(limiter.take_at("b", 10, None, 0), Ok(()), "each tenant has its own bucket");
        // Ten seconds with four times as many requests as are allowed.
        let allowed = (1..=400).filter(|tick| take(tick * 25_000_000).is_ok()).count();
        assert_eq!(allowed, 100);
        assert_eq!(take(60 * SECOND_NANOS), Ok(()));
    }

    #[test]
    fn must_take_from_the_bucket_of_the_tenant_for_every_environment_and_nothing_if_one_bucket_is_empty() {
        let limiter = Limiter::default();
        let take = |environment: &str| limiter.take_at("a", 10, Some((environment, 8)), 0);
        assert_eq!((0..100).filter(|_| take("dev").is_ok()).count(), 8, "the rate of the environment");
        // What the environment refused was not taken from the tenant.
        assert_eq!((0..100).filter(|_| take("prod").is_ok()).count(), 2, "the rest of the tenant");
        assert!(limiter.take_at("a", 10, None, 0).is_err(), "the bucket is that of requests without an environment");
        // What the tenant refused was not taken from the environment: it has two requests at eight a second.
        let full_at = |part: &Mutex<Part>| part.lock().expect("whole").full_at.get("a/prod").copied();
        assert_eq!(limiter.parts.iter().find_map(full_at), Some(SECOND_NANOS / 4));
        assert_eq!(limiter.take_at("b", 10, Some(("dev", 8)), 0), Ok(()), "each tenant has its own buckets");
        assert_eq!(limiter.take_at("c", 0, Some(("dev", 8)), 0), Err(Duration::from_secs(60)));
        assert_eq!(limiter.take_at("c", 8, Some(("dev", 0)), 0), Err(Duration::from_secs(60)));
    }

    #[test]
    fn must_allow_nothing_at_a_rate_of_zero_and_follow_a_changed_rate() {
        let limiter = Limiter::default();
        assert!(limiter.take_at("a", 0, None, 0).is_err());
        assert_eq!(limiter.take_at("a", 1, None, 0), Ok(()));
        assert!(limiter.take_at("a", 1, None, 1).is_err());
        assert_eq!(limiter.take_at("a", 1000, None, SECOND_NANOS / 2), Ok(()));
        assert_eq!(limiter.take_at("fast", 1 << 40, None, 0), Ok(()));
    }

    #[test]
    fn must_forget_buckets_that_are_full() {
        let limiter = Limiter::default();
        for second in 0..20 {
            for tenant in 0..20_000 {
                let _ = limiter.take_at(&format!("tenant-{second}-{tenant}"), 100, None, second * 2 * SECOND_NANOS);
            }
        }
        let kept: usize = limiter.parts.iter().map(|part| part.lock().expect("whole").full_at.len()).sum();
        assert!(kept <= 2 * PARTS * SWEPT_FROM, "{kept} of 400,000 buckets");
    }
}
