//! The leases that a process holds.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tenancy_core::ids::JobId;
use tenancy_core::job::Job;
use tenancy_store::upkeep::Lease;
use tokio_util::sync::CancellationToken;

/// Leases by job, each with the way to tell its job that it is lost.
#[derive(Default)]
pub(super) struct Leases {
    held: Mutex<HashMap<JobId, (i64, CancellationToken)>>,
}

impl Leases {
    /// Holds the lease of a job that was claimed; the token is cancelled when it is lost.
    pub fn hold(&self, job: &Job) -> CancellationToken {
        let lost = CancellationToken::new();
        self.held().insert(job.job_id.clone(), (job.lease_epoch, lost.clone()));
        lost
    }

    /// Forgets a lease that was given up, of this epoch.
    pub fn drop(&self, lease: &Lease) {
        let mut held = self.held();
        if held.get(&lease.0).is_some_and(|(epoch, _)| *epoch == lease.1) {
            held.remove(&lease.0);
        }
    }

    /// All of them.
    pub fn all(&self) -> Vec<Lease> {
        self.held().iter().map(|(job, (epoch, _))| (job.clone(), *epoch)).collect()
    }

    /// Tells the jobs of those that were `asked` for and are not `held` any more.
    pub fn keep(&self, asked: &[Lease], held: &[Lease]) {
        let mut mine = self.held();
        for (job, epoch) in asked.iter().filter(|lease| !held.contains(lease)) {
            if mine.get(job).is_some_and(|(mine, _)| mine == epoch)
                && let Some((_, lost)) = mine.remove(job)
            {
                lost.cancel();
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<JobId, (i64, CancellationToken)>> {
        // Whoever panicked with it had changed one entry, whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
