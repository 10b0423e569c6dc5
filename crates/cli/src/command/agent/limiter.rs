//! Limits the requests of each tenant to its `apiRateLimit`: a token bucket for each tenant, or environment.
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
    /// Takes a token from the bucket of a tenant that may send `per_second` requests a second.
    ///
    /// # Errors
    /// If the bucket is empty, the time until the next token.
    pub fn take(&self, name: &str, per_second: u64) -> Result<(), Duration> {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.take_at(name, per_second, now)
    }

    fn take_at(&self, name: &str, per_second: u64, now: u64) -> Result<(), Duration> {
        if per_second == 0 {
            // No request is ever allowed; the limit can change at any time.
            return Err(Duration::from_secs(60));
        }
        let interval = (SECOND_NANOS / per_second).max(1);
        // The remainder is below the number of parts, which fits into every integer.
        let number = (self.hasher.hash_one(name) % PARTS as u64) as usize;
        let mut part = self.parts[number].lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(full_at) = part.full_at.get_mut(name) {
            let next = next(*full_at, interval, now)?;
            *full_at = next;
            return Ok(());
        }
        if part.full_at.len() >= part.sweep_at {
            part.full_at.retain(|_, full_at| *full_at > now);
            part.sweep_at = (part.full_at.len() * 2).max(SWEPT_FROM);
            let sweep_at = part.sweep_at;
            part.full_at.shrink_to(sweep_at);
        }
        part.full_at.insert(name.into(), now.saturating_add(interval));
        Ok(())
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
        let take = |now: u64| limiter.take_at("a", 10, now);
        let allowed = (0..100).filter(|_| take(0).is_ok()).count();
        assert_eq!(allowed, 10, "the tokens of one second");
        assert_eq!(take(0), Err(Duration::from_millis(100)));
        assert_eq!(limiter.take_at("b", 10, 0), Ok(()), "each tenant has its own bucket");
        // Ten seconds with four times as many requests as are allowed.
        let allowed = (1..=400).filter(|tick| take(tick * 25_000_000).is_ok()).count();
        assert_eq!(allowed, 100);
        assert_eq!(take(60 * SECOND_NANOS), Ok(()));
    }

    #[test]
    fn must_allow_nothing_at_a_rate_of_zero_and_follow_a_changed_rate() {
        let limiter = Limiter::default();
        assert!(limiter.take_at("a", 0, 0).is_err());
        assert_eq!(limiter.take_at("a", 1, 0), Ok(()));
        assert!(limiter.take_at("a", 1, 1).is_err());
        assert_eq!(limiter.take_at("a", 1000, SECOND_NANOS / 2), Ok(()));
        assert_eq!(limiter.take_at("fast", 1 << 40, 0), Ok(()));
    }

    #[test]
    fn must_forget_buckets_that_are_full() {
        let limiter = Limiter::default();
        for second in 0..20 {
            for tenant in 0..20_000 {
                let _ = limiter.take_at(&format!("tenant-{second}-{tenant}"), 100, second * 2 * SECOND_NANOS);
            }
        }
        let kept: usize = limiter.parts.iter().map(|part| part.lock().expect("whole").full_at.len()).sum();
        assert!(kept <= 2 * PARTS * SWEPT_FROM, "{kept} of 400,000 buckets");
    }
}
