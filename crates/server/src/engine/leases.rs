//! The leases that this process holds.
//!
//! A lease is lost in two ways: another process has claimed the row or nobody works on it any more, which a heartbeat
//! reports; or the lease has ended as far as this process knows, since no heartbeat was answered in time. In both cases
//! work on the row stops here before another process can take it over.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// Lease of a row: its key and the number of the lease.
pub type Lease<K> = (K, i64);

/// Leases by key, each with its number and the time until which it holds.
pub struct Leases<K> {
    held: Mutex<HashMap<K, (i64, watch::Sender<Instant>)>>,
}

impl<K> Default for Leases<K> {
    fn default() -> Self {
        Self { held: Mutex::default() }
    }
}

/// View of a lease for the code that works on its row.
pub struct LeaseWatch {
    /// Closed when the lease is lost.
    until: watch::Receiver<Instant>,
}

impl LeaseWatch {
    /// Waits until the lease is lost.
    pub async fn lost(&self) {
        let mut until = self.until.clone();
        loop {
            let over = *until.borrow_and_update();
            tokio::select! {
                () = sleep_until(over) => return,
                prolonged = until.changed() => if prolonged.is_err() { return },
            }
        }
    }
}

impl<K: Clone + Eq + Hash> Leases<K> {
    /// Stores the lease of a claimed row. A former lease of the same row in this process is lost, since otherwise two
    /// tasks would work on it at the same time.
    pub fn hold(&self, (key, epoch): Lease<K>, until: Instant) -> LeaseWatch {
        let (sender, receiver) = watch::channel(until);
        self.held().insert(key, (epoch, sender));
        LeaseWatch { until: receiver }
    }

    /// Removes a lease that was released, if it has this epoch.
    pub fn drop(&self, lease: &Lease<K>) {
        let mut held = self.held();
        if held.get(&lease.0).is_some_and(|(epoch, _)| *epoch == lease.1) {
            held.remove(&lease.0);
        }
    }

    /// Returns all leases.
    pub fn all(&self) -> Vec<Lease<K>> {
        self.held().iter().map(|(key, (epoch, _))| (key.clone(), *epoch)).collect()
    }

    /// Extends those of the `asked` leases that are still `held`, and notifies the work on the others.
    pub fn keep(&self, asked: &[Lease<K>], held: &[Lease<K>], until: Instant) {
        let mut mine = self.held();
        for lease in asked {
            let Some((_, prolong)) = mine.get(&lease.0).filter(|(epoch, _)| *epoch == lease.1) else { continue };
            if held.contains(lease) {
                prolong.send_replace(until);
            } else {
                mine.remove(&lease.0);
            }
        }
    }

    fn held(&self) -> MutexGuard<'_, HashMap<K, (i64, watch::Sender<Instant>)>> {
        // After a panic the map is still valid: each operation changes one entry as a whole.
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::time::Duration;
    use tenancy_core::ids::JobId;

    const LEASE: Duration = Duration::from_secs(3600);

    fn is_lost(hold: &LeaseWatch) -> bool {
        hold.lost().now_or_never().is_some()
    }

    fn lease(epoch: i64) -> Lease<JobId> {
        (JobId::known("job_1"), epoch)
    }

    #[tokio::test]
    async fn must_end_the_former_lease_when_the_same_process_claims_a_job_again() {
        let (leases, until) = (Leases::default(), Instant::now() + LEASE);
        let first = leases.hold(lease(1), until);
        assert!(!is_lost(&first));
        let second = leases.hold(lease(2), until);
        assert_eq!((is_lost(&first), is_lost(&second)), (true, false));
        leases.drop(&lease(1));
        assert!(!is_lost(&second), "what the first one gives up is not the second one's");
    }

    #[tokio::test]
    async fn must_notify_jobs_whose_leases_are_lost_and_no_others() {
        let (leases, until) = (Leases::default(), Instant::now() + LEASE);
        let hold = leases.hold(lease(2), until);
        leases.keep(&[lease(1)], &[], until);
        leases.keep(&[lease(2)], &[lease(2)], until);
        assert!(!is_lost(&hold));
        leases.keep(&[lease(2)], &[], until);
        assert!(is_lost(&hold));
        assert!(leases.all().is_empty());
    }

    #[tokio::test]
    async fn must_lose_a_lease_at_its_end_without_a_notification() {
        let (leases, others, soon) = (Leases::default(), Leases::default(), Instant::now() + Duration::from_millis(1));
        let (prolonged, over) = (leases.hold(lease(1), soon), others.hold(lease(1), soon));
        leases.keep(&[lease(1)], &[lease(1)], soon + LEASE);
        over.lost().await;
        assert!(!is_lost(&prolonged));
    }
}
