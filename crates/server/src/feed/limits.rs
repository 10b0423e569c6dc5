//! Settings of the event feed.

use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;

/// Limits of the event feed of one process.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EventLimits {
    /// Maximum number of requests that follow events at once.
    pub max_event_streams: usize,
    /// Maximum number of those of one key.
    pub max_event_streams_per_key: usize,
    /// Maximum size of the newest events that are kept in memory for all followers together, in bytes.
    pub max_buffer_bytes: usize,
}

impl Default for EventLimits {
    fn default() -> Self {
        Self { max_event_streams: 1024, max_event_streams_per_key: 256, max_buffer_bytes: 16 * 1024 * 1024 }
    }
}

/// Maximum of a number of streams, and of a size.
const MOST_STREAMS: u64 = 1_000_000;
const MOST_BYTES: u64 = 1 << 30;

impl EventLimits {
    /// Returns each number with its name and its range.
    pub fn numbers(&self) -> [(&'static str, u64, RangeInclusive<u64>); 3] {
        let size = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        [
            ("events.max_event_streams", size(self.max_event_streams), 0..=MOST_STREAMS),
            ("events.max_event_streams_per_key", size(self.max_event_streams_per_key), 0..=MOST_STREAMS),
            ("events.max_buffer_bytes", size(self.max_buffer_bytes), 0..=MOST_BYTES),
        ]
    }
}
