//! Rate limit of a key: a token bucket, and the headers that tell its state (draft-ietf-httpapi-ratelimit-headers).

use axum::http::{HeaderMap, HeaderName, HeaderValue};
use std::sync::atomic::{AtomicI64, Ordering};
use tenancy_core::Timestamp;

const MICROSECONDS: i64 = 1_000_000;
const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// A token bucket. It holds one number, the time at which the bucket will be full again, so that requests need no lock.
#[derive(Debug)]
pub struct Bucket {
    /// Time in which one token is added, in microseconds.
    interval: i64,
    /// Number of tokens of a full bucket.
    burst: i64,
    /// Time at which the bucket is full, in microseconds since 1970.
    full_at: AtomicI64,
}

/// State of a bucket after a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    burst: i64,
    window_seconds: i64,
    remaining: i64,
    full_in_seconds: i64,
    /// Time until the next token, if there was none for the request.
    pub retry_after_seconds: Option<u64>,
}

impl Bucket {
    /// Creates a full bucket of `burst` tokens, to which `per_second` are added; `None` if `per_second` is 0: no limit.
    pub fn new(per_second: u64, burst: u64) -> Option<Self> {
        let [per_second, burst] = [per_second, burst].map(|number| i64::try_from(number).unwrap_or(i64::MAX));
        let interval = MICROSECONDS.checked_div(per_second)?;
        Some(Self { interval, burst, full_at: AtomicI64::new(i64::MIN) })
    }

    /// Takes a token, if there is one.
    pub fn take(&self, now: Timestamp) -> Rate {
        let (now, window) = (now.as_microsecond(), self.window());
        // If the clock was set back, the bucket counts as empty, and fills from now on.
        let filled = |full_at: i64| full_at.clamp(now, now + window);
        let over = |full_at: i64| filled(full_at) + self.interval - (now + window);
        let next = |full_at| if over(full_at) <= 0 { filled(full_at) + self.interval } else { filled(full_at) };
        let taken = self.full_at.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full_at| Some(next(full_at)));
        let (Ok(before) | Err(before)) = taken;
        let (missing, over) = (next(before) - now, over(before));
        Rate {
            burst: self.burst,
            window_seconds: seconds(window).max(1),
            remaining: (window - missing) / self.interval,
            full_in_seconds: seconds(missing),
            retry_after_seconds: (over > 0).then(|| u64::try_from(seconds(over)).unwrap_or(0).max(1)),
        }
    }

    /// Whether the bucket is full, so that a new one is equal to it.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.full_at.load(Ordering::Acquire) <= now.as_microsecond()
    }

    /// Time in which an empty bucket fills, in microseconds.
    fn window(&self) -> i64 {
        self.interval.saturating_mul(self.burst)
    }
}

fn seconds(microseconds: i64) -> i64 {
    (microseconds.max(0) + MICROSECONDS - 1) / MICROSECONDS
}

impl Rate {
    /// Adds the headers. `q` tokens are added in `w` seconds; `r` are left; in `t` seconds all are there again.
    pub fn tell(&self, headers: &mut HeaderMap) {
        let policy = format!("\"key\";q={};w={}", self.burst, self.window_seconds);
        let state = format!("\"key\";r={};t={}", self.remaining, self.full_in_seconds);
        for (name, value) in [(RATE_LIMIT_POLICY, policy), (RATE_LIMIT, state)] {
            if let Ok(value) = HeaderValue::from_str(&value) {
                headers.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn must_let_a_burst_through_and_then_the_rate() {
        let start = Timestamp::from_second(1_000_000).expect("a time");
        let bucket = Bucket::new(50, 200).expect("a limit");
        for left in (0..200).rev() {
            let rate = bucket.take(start);
            assert_eq!((rate.remaining, rate.retry_after_seconds), (left, None));
        }
        for _ in 0..3 {
            let rate = bucket.take(start);
            assert_eq!((rate.remaining, rate.retry_after_seconds, rate.full_in_seconds), (0, Some(1), 4));
        }
        // Refused requests take nothing: 50 tokens are added in the second after.
        let later = start + Duration::from_secs(1);
        assert_eq!((0..100).filter(|_| bucket.take(later).retry_after_seconds.is_none()).count(), 50);
        assert!(!bucket.is_full(later) && bucket.is_full(later + Duration::from_secs(4)));
        assert_eq!(bucket.take(later + Duration::from_secs(1000)).remaining, 199);
    }

    #[test]
    fn must_fill_as_if_it_were_empty_if_the_clock_is_set_back() {
        let start = Timestamp::from_second(1_000_000).expect("a time");
        let bucket = Bucket::new(1, 10).expect("a limit");
        bucket.take(start);
        let before = start - Duration::from_secs(3600);
        assert_eq!(bucket.take(before).retry_after_seconds, Some(1));
        assert_eq!(bucket.take(before + Duration::from_secs(5)).remaining, 4);
    }

    #[test]
    fn must_tell_policy_and_state() {
        let start = Timestamp::from_second(1_000_000).expect("a time");
        let mut headers = HeaderMap::new();
        Bucket::new(50, 200).expect("a limit").take(start).tell(&mut headers);
        assert_eq!(headers["ratelimit-policy"], "\"key\";q=200;w=4");
        assert_eq!(headers["ratelimit"], "\"key\";r=199;t=1");
        assert!(Bucket::new(0, 200).is_none());
    }
}
