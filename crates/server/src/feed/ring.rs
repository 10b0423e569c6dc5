//! The newest batches, one after the other without a gap.

use super::batch::Batch;
use std::collections::VecDeque;
use std::sync::Arc;

/// Batches in memory, up to a size.
#[derive(Debug)]
pub struct Ring {
    batches: VecDeque<Arc<Batch>>,
    bytes: usize,
    /// Position after which the oldest batch begins.
    start: i64,
    /// Position up to which everything was read.
    head: i64,
    /// Epoch of the log.
    pub epoch: i64,
}

/// Where a position is.
#[derive(Debug)]
pub enum Found {
    /// What comes after it.
    Next(Arc<Batch>),
    /// What comes after it begins inside this batch.
    Inside(Arc<Batch>),
    /// Nothing comes after it yet.
    UpToDate,
    /// What comes after it is no longer in memory.
    Behind,
}

impl Ring {
    /// Creates a ring that begins after a position.
    pub fn new(after: i64, epoch: i64) -> Self {
        Self { batches: VecDeque::new(), bytes: 0, start: after, head: after, epoch }
    }

    /// Position up to which everything was read.
    pub fn head(&self) -> i64 {
        self.head
    }

    /// Adds the next batch, and removes the oldest ones beyond the size. The newest batch stays, however large it is.
    pub fn push(&mut self, batch: Arc<Batch>, max_bytes: usize) {
        self.head = batch.last;
        self.bytes += batch.bytes();
        self.batches.push_back(batch);
        while self.batches.len() > 1
            && self.bytes > max_bytes
            && let Some(oldest) = self.batches.pop_front()
        {
            self.bytes -= oldest.bytes();
            self.start = oldest.last;
        }
    }

    /// Finds what comes after a position.
    pub fn after(&self, position: i64) -> Found {
        if position >= self.head {
            return Found::UpToDate;
        }
        if position < self.start {
            return Found::Behind;
        }
        let index = self.batches.partition_point(|batch| batch.last <= position);
        match self.batches.get(index) {
            Some(batch) if batch.after == position => Found::Next(Arc::clone(batch)),
            Some(batch) => Found::Inside(Arc::clone(batch)),
            None => Found::UpToDate,
        }
    }
}
