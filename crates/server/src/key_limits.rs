//! Settings that limit what one API key can demand of the server, so that it does not starve other keys.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Limits on the requests of one key, in one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KeyLimits {
    /// Maximum number of requests of one key that are served at once, besides heavy ones.
    pub max_requests: usize,
    /// Maximum number of heavy requests of one key that are served at once: lists, and requests with a large body.
    pub max_heavy_requests: usize,
    /// Maximum number of requests of one key that wait to be served.
    pub max_waiting_requests: usize,
    /// Maximum time that a request waits to be served, in milliseconds.
    pub wait_timeout_milliseconds: u64,
    /// Rate limit of a key with a scope, in requests per second; 0 for no limit.
    pub scoped_requests_per_second: u64,
    /// Number of requests that a key with a scope can send at once, before its rate limit applies.
    pub scoped_burst_requests: u64,
    /// Rate limit of a key without a scope, in requests per second; 0 for no limit.
    pub unscoped_requests_per_second: u64,
    /// Number of requests that a key without a scope can send at once, before its rate limit applies.
    pub unscoped_burst_requests: u64,
}

impl Default for KeyLimits {
    fn default() -> Self {
        Self {
            max_requests: 256,
            max_heavy_requests: 3,
            max_waiting_requests: 1024,
            wait_timeout_milliseconds: 5000,
            scoped_requests_per_second: 50,
            scoped_burst_requests: 200,
            unscoped_requests_per_second: 0,
            unscoped_burst_requests: 200,
        }
    }
}

/// Maximum of a number of requests, and of a rate.
const MOST: u64 = 1_000_000;
/// Maximum time that a request can wait: ten minutes, in milliseconds.
const MOST_MILLISECONDS: u64 = 600_000;

impl KeyLimits {
    /// Returns each number with its name and its range.
    pub fn numbers(&self) -> [(&'static str, u64, RangeInclusive<u64>); 8] {
        let size = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        [
            ("key_limits.max_requests", size(self.max_requests), 1..=MOST),
            ("key_limits.max_heavy_requests", size(self.max_heavy_requests), 1..=MOST),
            ("key_limits.max_waiting_requests", size(self.max_waiting_requests), 0..=MOST),
            ("key_limits.wait_timeout_milliseconds", self.wait_timeout_milliseconds, 0..=MOST_MILLISECONDS),
            ("key_limits.scoped_requests_per_second", self.scoped_requests_per_second, 0..=MOST),
            ("key_limits.scoped_burst_requests", self.scoped_burst_requests, 1..=MOST),
            ("key_limits.unscoped_requests_per_second", self.unscoped_requests_per_second, 0..=MOST),
            ("key_limits.unscoped_burst_requests", self.unscoped_burst_requests, 1..=MOST),
        ]
    }
}
