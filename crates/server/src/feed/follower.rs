//! One follower of the feed.

use super::Feed;
use super::batch::Batch;
use super::ring::Found;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;

/// Pause after a failed read.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Why a follower ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It reads more slowly than events are committed, and what it needs next is no longer in memory.
    TooSlow,
    /// Events that it needs are no longer kept, or the database was restored to an earlier time.
    Expired,
    /// The server stops.
    Stopping,
}

/// A follower. It counts as one until it is dropped.
pub struct Follower {
    feed: Arc<Feed>,
    after: i64,
    /// Epoch of the log, once the follower has seen it.
    epoch: Option<i64>,
    /// Whether it has caught up with the reader.
    is_live: bool,
}

/// What a follower does next.
enum Step {
    Done(Arc<Batch>),
    Ended(Ended),
    Wait,
    Read,
}

impl Follower {
    pub(super) fn new(feed: Arc<Feed>, after: i64) -> Self {
        Self { feed, after, epoch: None, is_live: false }
    }

    /// Ends the follower if the log is in another epoch: positions then mean other events. Without it, the epoch is that
    /// in which the follower gets its first events.
    #[must_use]
    pub fn within(mut self, epoch: i64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    /// Position up to which the follower has everything.
    pub fn position(&self) -> i64 {
        self.after
    }

    /// Waits for the next events and returns them: every committed event once, in the order of the log. Dropping the
    /// future loses nothing.
    ///
    /// # Errors
    /// Why the follower ends. [`Follower::position`] is where the next one continues.
    pub async fn next(&mut self) -> Result<Arc<Batch>, Ended> {
        let feed = Arc::clone(&self.feed);
        loop {
            if feed.stop.is_cancelled() {
                return Err(Ended::Stopping);
            }
            let mut moved = pin!(feed.moved.notified());
            moved.as_mut().enable();
            let batch = match self.step() {
                Step::Done(batch) => batch,
                Step::Ended(why) => return Err(why),
                Step::Wait => {
                    // `None` means that the feed stops.
                    feed.stop.run_until_cancelled(moved).await;
                    continue;
                }
                Step::Read => match self.page().await {
                    Ok(Some(batch)) => batch,
                    Ok(None) => return Err(Ended::Expired),
                    Err(error) => {
                        tracing::warn!(%error, "a follower of events cannot read the log; it tries again");
                        feed.stop.run_until_cancelled(tokio::time::sleep(RETRY_AFTER)).await;
                        continue;
                    }
                },
            };
            self.after = batch.last;
            return Ok(batch);
        }
    }

    fn step(&mut self) -> Step {
        let state = self.feed.state();
        let Some(ring) = &state.ring else { return Step::Wait };
        if *self.epoch.get_or_insert(ring.epoch) != ring.epoch {
            return Step::Ended(Ended::Expired);
        }
        let step = match ring.after(self.after) {
            Found::Next(batch) => Step::Done(batch),
            Found::Inside(batch) => {
                drop(state);
                self.is_live = true;
                return Step::Done(Arc::new(batch.rest(self.after)));
            }
            Found::UpToDate => Step::Wait,
            Found::Behind if self.is_live => Step::Ended(Ended::TooSlow),
            Found::Behind => Step::Read,
        };
        self.is_live |= matches!(step, Step::Done(_) | Step::Wait);
        step
    }

    /// Reads a page that is no longer in memory; `None` if it is no longer in the log either.
    async fn page(&self) -> Result<Option<Arc<Batch>>, Error> {
        let tail = self.feed.store.log_after(self.after).await?;
        let read = tail.events.len() + tail.unreadable.len();
        let is_whole = i64::try_from(read).is_ok_and(|read| read == tail.last - self.after);
        let end = tail.end.clone();
        let batch = self.feed.batch(self.after, tail).await?;
        if self.epoch.is_some_and(|epoch| epoch != batch.epoch()) {
            return Ok(None);
        }
        // Positions are dense: a gap means that events have expired, unless something else has removed them.
        if !is_whole && !self.feed.store.keeps_log_after(self.after, &end).await? {
            return Ok(None);
        }
        Ok(Some(Arc::new(batch)))
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.feed.state().followers -= 1;
    }
}
