//! Writes the results of attempts, those of all webhooks together: while one batch is committed, the next one gathers.

use crate::tenancy::Tenancy;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::lane::Lane;
use tenancy_store::upkeep::{Outcome, Recorded};
use tokio::sync::{Mutex as AsyncMutex, oneshot};

/// Number of times that a batch is tried again.
const MAX_TRIES: u32 = 5;
/// Pause before it; it grows by this much each time.
const PAUSE: Duration = Duration::from_millis(200);

/// Gathers results.
#[derive(Debug, Default)]
pub struct Recorder {
    waiting: Mutex<Vec<Waiting>>,
    turn: AsyncMutex<()>,
}

#[derive(Debug)]
struct Waiting {
    outcome: Outcome,
    /// The lane after the attempt.
    lane: Lane,
    told: oneshot::Sender<Result<(), Error>>,
}

impl Recorder {
    /// Writes a result, and resolves when it is committed.
    ///
    /// # Errors
    /// [`Error::Unavailable`], also if the lease is lost: the delivery is then sent again, by the process that has the lease.
    pub async fn record(&self, tenancy: &Arc<Tenancy>, outcome: Outcome, lane: Lane) -> Result<(), Error> {
        let (told, mut done) = oneshot::channel();
        self.waiting().push(Waiting { outcome, lane, told });
        // Whoever gets its turn commits for all that wait; the others find their result when theirs comes.
        let _turn = self.turn.lock().await;
        if let Ok(done) = done.try_recv() {
            return done;
        }
        let batch = std::mem::take(&mut *self.waiting());
        let tenancy = Arc::clone(tenancy);
        let store = Arc::clone(&tenancy);
        // The batch is of all webhooks: it is committed also if the lease of the one that began it is lost.
        tenancy.to_its_end(async move { commit(&store, batch).await }).await?;
        done.try_recv().unwrap_or(Err(Error::Unavailable))
    }

    fn waiting(&self) -> std::sync::MutexGuard<'_, Vec<Waiting>> {
        // After a panic the list is still valid.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn commit(tenancy: &Tenancy, batch: Vec<Waiting>) -> Result<(), Error> {
    let mut recorded = Recorded::default();
    let mut told = Vec::with_capacity(batch.len());
    for waiting in batch {
        let lease = (waiting.lane.webhook_id.clone(), waiting.lane.lease_epoch);
        recorded.outcomes.push(waiting.outcome);
        // The last state of each lane.
        let ours = |lane: &&mut Lane| {
            (&lane.webhook_id, lane.lease_epoch) == (&waiting.lane.webhook_id, waiting.lane.lease_epoch)
        };
        match recorded.lanes.iter_mut().find(ours) {
            Some(lane) => *lane = waiting.lane,
            None => recorded.lanes.push(waiting.lane),
        }
        told.push((waiting.told, lease));
    }
    let mut tries = 0;
    let done = loop {
        tries += 1;
        match tenancy.store.record_outcomes(&recorded).await {
            Err(error) if tries < MAX_TRIES => {
                tracing::warn!(%error, "the results of deliveries could not be written yet");
                tokio::time::sleep(PAUSE * tries).await;
            }
            done => break done,
        }
    };
    for (told, lease) in told {
        let done = match &done {
            // Not written. To go on would send it again and again.
            Ok(lost) if lost.contains(&lease) => Err(Error::Unavailable),
            Ok(_) => Ok(()),
            Err(error) => Err(error.clone()),
        };
        // A webhook whose lease is lost no longer waits.
        let _ = told.send(done);
    }
    Ok(())
}
