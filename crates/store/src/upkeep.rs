//! Upkeep: what is written without an audit event, fenced like everything else.

use crate::Store;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::ids::JobId;
use tenancy_core::job::{Job, Step};

/// How far a running job is.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// From 0 to 1.
    pub progress: f64,
    /// All its steps.
    pub steps: Vec<Step>,
    /// Lines to append to its log.
    pub log: String,
}

/// A held lease.
pub type Lease = (JobId, i64);

#[allow(unused_variables, clippy::todo, missing_docs)]
impl Store {
    /// Takes up to `limit` jobs that are due, running ones whose lease is over among them.
    pub async fn claim(&self, holder: &str, limit: usize, lease: Duration) -> Result<Vec<Job>, Error> {
        todo!()
    }
    /// Prolongs leases; returns those that still hold.
    pub async fn heartbeat(&self, leases: &[Lease], lease: Duration) -> Result<Vec<Lease>, Error> {
        todo!()
    }
    /// Gives leases back: their jobs are queued again, due now.
    pub async fn release(&self, leases: &[Lease]) -> Result<(), Error> {
        todo!()
    }
    /// Writes how far a job is; `false` when the lease is lost.
    pub async fn progress(&self, lease: &Lease, progress: Progress) -> Result<bool, Error> {
        todo!()
    }
    /// Removes expired idempotency records and usage rows that are not the newest; returns how many.
    pub async fn remove_expired(&self) -> Result<u64, Error> {
        todo!()
    }
    /// Resolves when a job may be due: queued in this process, or told by the database. Only a hint.
    pub async fn job_queued(&self) {
        todo!()
    }
}
