//! Limits on connections.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Limits on connections and on what clients leave unread or unsent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConnectionLimits {
    /// Maximum number of connections on which no valid key was used yet.
    pub max_without_key: usize,
    /// Maximum number of connections from one address; a /64 network counts as one IPv6 address.
    pub max_per_peer: usize,
    /// Maximum time for which a client may accept none of the bytes that wait for it, in seconds.
    pub write_timeout_seconds: u64,
    /// Minimum rate at which a client must accept the bytes that wait for it, in bytes per second.
    pub min_write_bytes_per_second: u64,
    /// Maximum size of all large responses together that clients have not accepted yet, in bytes.
    pub max_response_bytes_in_flight: u64,
    /// Maximum size of an unread request body that is read and discarded after a refusal, in bytes.
    pub max_discarded_body_bytes: u64,
    /// Maximum time for that, in seconds.
    pub discard_timeout_seconds: u64,
    /// The same size on a connection without a valid key, in bytes.
    pub max_discarded_body_bytes_without_key: u64,
    /// The same time on a connection without a valid key, in seconds.
    pub discard_timeout_seconds_without_key: u64,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            max_without_key: 1024,
            max_per_peer: 1024,
            write_timeout_seconds: 10,
            min_write_bytes_per_second: 8 * 1024,
            max_response_bytes_in_flight: 128 * 1024 * 1024,
            max_discarded_body_bytes: 32 * 1024 * 1024,
            discard_timeout_seconds: 5,
            max_discarded_body_bytes_without_key: 1024 * 1024,
            discard_timeout_seconds_without_key: 1,
        }
    }
}

/// Maximum of every limit: a gigabyte, or an hour.
const MOST: u64 = 1 << 30;
const MOST_SECONDS: u64 = 3600;

impl ConnectionLimits {
    /// Returns each number with its name and its range.
    pub fn numbers(&self) -> [(&'static str, u64, RangeInclusive<u64>); 9] {
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        [
            ("limits.connections.max_without_key", count(self.max_without_key), 1..=MOST),
            ("limits.connections.max_per_peer", count(self.max_per_peer), 1..=MOST),
            ("limits.connections.write_timeout_seconds", self.write_timeout_seconds, 1..=MOST_SECONDS),
            ("limits.connections.min_write_bytes_per_second", self.min_write_bytes_per_second, 1..=MOST),
            ("limits.connections.max_response_bytes_in_flight", self.max_response_bytes_in_flight, 1..=u64::MAX >> 1),
            ("limits.connections.max_discarded_body_bytes", self.max_discarded_body_bytes, 0..=MOST),
            ("limits.connections.discard_timeout_seconds", self.discard_timeout_seconds, 0..=MOST_SECONDS),
            (
                "limits.connections.max_discarded_body_bytes_without_key",
                self.max_discarded_body_bytes_without_key,
                0..=MOST,
            ),
            (
                "limits.connections.discard_timeout_seconds_without_key",
                self.discard_timeout_seconds_without_key,
                0..=MOST_SECONDS,
            ),
        ]
    }
}
