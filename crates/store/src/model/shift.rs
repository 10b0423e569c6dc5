//! Time that passes because a test says so, and not while it sleeps.

use crate::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tenancy_core::Timestamp;

/// How much of it has passed.
#[derive(Clone, Default)]
pub struct Shift(Arc<AtomicU64>);

impl Shift {
    /// The time, as it is with what has passed.
    pub fn of(&self, now: Timestamp) -> Timestamp {
        now + Duration::from_micros(self.0.load(Ordering::Relaxed))
    }
}

impl Store {
    /// Lets so much time pass for this store and its clones.
    pub fn shift_clock(&self, by: Duration) {
        self.shift.0.fetch_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}
