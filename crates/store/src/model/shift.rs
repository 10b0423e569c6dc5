//! Clock that tests can move without sleeping.

use crate::Store;
use jiff::SignedDuration;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tenancy_core::Timestamp;

/// Time by which the clock is moved, in microseconds.
#[derive(Clone, Default)]
pub struct Shift {
    /// Time that has passed as far as the store knows, on both clocks.
    passed: Arc<AtomicU64>,
    /// Jumps of the wall clock.
    jumped: Arc<AtomicI64>,
}

impl Shift {
    /// Returns the moved time.
    pub fn of(&self, now: Timestamp) -> Timestamp {
        now + self.passed() + SignedDuration::from_micros(self.jumped.load(Ordering::Relaxed))
    }

    /// Returns the moved monotonic time. It does not jump.
    pub fn of_instant(&self, at: Instant) -> Instant {
        at + self.passed()
    }

    fn passed(&self) -> Duration {
        Duration::from_micros(self.passed.load(Ordering::Relaxed))
    }
}

impl Store {
    /// Lets time pass for this store and its clones.
    pub fn shift_clock(&self, by: Duration) {
        self.shift.passed.fetch_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Sets the clock of this store and its clones forward or back, without any time passing.
    pub fn jump_clock(&self, by: SignedDuration) {
        self.shift.jumped.fetch_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX), Ordering::Relaxed);
    }
}
