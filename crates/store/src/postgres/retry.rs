//! How a batch has fared, and how long it is tried.

use super::flushes::Failure;
use std::time::Duration;
use tokio::time::Instant;

/// How long a batch is tried while nothing of it can have been committed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a batch is tried whose outcome is unknown.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(8);
/// How long to wait before connecting anew, after each failure longer by as much.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest of these pauses, in times of [`PAUSE`].
const MAX_PAUSES: u32 = 10;

/// How a batch has fared; its members go on from there when they run alone.
#[derive(Clone, Copy)]
pub struct RetryState {
    /// Since when it is tried.
    pub began: Instant,
    /// How often it has failed.
    pub tries: u32,
    /// It ran before: receipts are looked for.
    pub again: bool,
    /// A COMMIT of it may have come through, or may yet.
    pub unknown: bool,
}

impl RetryState {
    /// It is tried from now on.
    pub fn begin() -> Self {
        Self { began: Instant::now(), tries: 0, again: false, unknown: false }
    }

    /// Whether it may be tried again.
    pub fn has_time(&self) -> bool {
        self.began.elapsed() < if self.unknown { PATIENCE_UNKNOWN } else { PATIENCE }
    }

    /// Whether it may be tried on a new connection. Once it may in any case: that one was lost without a word is noticed later
    /// than all patience, and a new one may be there at once.
    pub fn may_connect(&self) -> bool {
        self.tries <= 1 || self.has_time()
    }

    /// A run failed. Once a COMMIT may have come through, there is time to find out, however late that is.
    pub fn failed(&mut self, failure: &Failure) {
        if failure.unknown && !self.unknown {
            *self = Self { unknown: true, ..Self::begin() };
        }
        self.again = true;
    }

    /// How long to wait before it is tried on a new connection.
    pub fn pause(&self) -> Duration {
        PAUSE * self.tries.min(MAX_PAUSES)
    }
}
