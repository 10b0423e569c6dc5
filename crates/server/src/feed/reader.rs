//! The reader: reads the log for all followers of the process.

use super::ring::Ring;
use super::{Feed, State};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_store::Topic;
use tokio::time::Instant;

/// Interval at which the reader reads without a hint. Hints can be missed.
const POLL: Duration = Duration::from_millis(500);
/// Pause after a failed read.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Time for which the reader goes on without a follower: requests that wait for events come and go.
const IDLE: Duration = Duration::from_secs(30);

/// Marks the reader as ended, also if it panics. The next follower starts it again.
struct Running(Arc<Feed>);

impl Drop for Running {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.is_reading = false;
        state.ring = None;
        // Followers that came meanwhile must not wait for a reader that is gone.
        if state.followers > 0 && !self.0.stop.is_cancelled() && tokio::runtime::Handle::try_current().is_ok() {
            state.is_reading = true;
            tokio::spawn(run(Arc::clone(&self.0)));
        }
        drop(state);
        self.0.moved.notify_waiters();
    }
}

/// Reads until the feed stops, or has had no follower for a while.
pub(super) async fn run(feed: Arc<Feed>) {
    let running = Running(Arc::clone(&feed));
    let stop = feed.stop.clone();
    stop.run_until_cancelled(read(&feed)).await;
    drop(running);
}

async fn read(feed: &Feed) {
    let mut used_at = Instant::now();
    loop {
        // Taken before the read, so that a hint during the read is not missed.
        let mut hint = pin!(feed.store.notified(Topic::Log));
        hint.as_mut().enable();
        let pause = match feed.read_on().await {
            Ok(true) => continue,
            Ok(false) => POLL,
            Err(error) => {
                tracing::warn!(%error, "the event feed cannot read the log; it tries again");
                RETRY_AFTER
            }
        };
        if feed.state().followers > 0 {
            used_at = Instant::now();
        } else if used_at.elapsed() > IDLE {
            return;
        }
        if pause == RETRY_AFTER {
            tokio::time::sleep(pause).await;
        } else {
            // An error only means that there was no hint.
            let _ = tokio::time::timeout(pause, hint).await;
        }
    }
}

impl Feed {
    /// Reads what comes next. Returns whether anything did.
    async fn read_on(&self) -> Result<bool, Error> {
        let known = self.state().ring.as_ref().map(|ring| (ring.head(), ring.epoch));
        let Some((head, epoch)) = known else {
            let end = self.store.log_end().await?;
            self.change(|state| state.ring = Some(Ring::new(end.newest, end.epoch())));
            return Ok(false);
        };
        let tail = self.store.log_after(head).await?;
        if tail.end.epoch() != epoch || tail.end.newest < head {
            // The database was restored while this process runs. Each follower must find out where it continues.
            let ring = Ring::new(tail.end.newest, tail.end.epoch());
            self.change(|state| state.ring = Some(ring));
            return Ok(false);
        }
        if tail.last == head {
            return Ok(false);
        }
        let batch = Arc::new(self.batch(head, tail).await?);
        let most = self.max_buffer_bytes.load(Ordering::Relaxed);
        self.change(|state| state.ring.iter_mut().for_each(|ring| ring.push(Arc::clone(&batch), most)));
        Ok(true)
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state());
        self.moved.notify_waiters();
    }
}
