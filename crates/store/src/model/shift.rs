//! Clock that tests can advance without sleeping.

use crate::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenancy_core::Timestamp;

/// Time by which the clock is advanced.
#[derive(Clone, Default)]
pub struct Shift(Arc<AtomicU64>);

impl Shift {
    /// Returns the advanced time.
    pub fn of(&self, now: Timestamp) -> Timestamp {
        now + Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

impl Store {
    /// Advances the clock of this store and its clones.
    pub fn shift_clock(&self, by: Duration) {
        self.shift.0.fetch_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
