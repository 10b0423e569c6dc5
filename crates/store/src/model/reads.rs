//! Number of reads of a store. Tests use it to compare the work behind two responses.

use crate::Store;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Counter that all clones of a store share.
#[derive(Debug, Clone, Default)]
pub struct Reads(Arc<AtomicU64>);

impl Reads {
    /// Counts a read.
    pub fn count(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

impl Store {
    /// Number of reads so far through this store and its clones.
    pub fn reads(&self) -> u64 {
        self.reads.0.load(Ordering::Relaxed)
    }
}
