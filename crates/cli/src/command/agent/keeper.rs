//! Keeps the snapshot file like the cache: saves changes, and removes the file when it must not be used any more.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_client::{AccessCache, Link, SnapshotFile};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// How often the keeper looks for changes.
const EVERY: Duration = Duration::from_secs(1);
/// Minimum time between two saves; longer if a save takes long.
const LEAST_PAUSE: Duration = Duration::from_secs(5);
/// A save takes at most this part of the time.
const SHARE: u32 = 20;

/// The task that keeps the file.
pub struct Keeper {
    file: SnapshotFile,
    cache: Arc<AccessCache>,
    link: watch::Receiver<Link>,
    /// Number of changes that the file contains; `None` if there is no usable file.
    saved: Option<u64>,
    discards: u64,
    next: Instant,
    has_failed: bool,
}

impl Keeper {
    /// Creates the task. `is_used`: whether the cache was filled from the file.
    pub fn new(file: SnapshotFile, cache: Arc<AccessCache>, link: watch::Receiver<Link>, is_used: bool) -> Self {
        let (saved, discards) = (is_used.then(|| cache.changes()), cache.discards());
        Self { file, cache, link, saved, discards, next: Instant::now(), has_failed: false }
    }

    /// Keeps the file until `stop` is cancelled, and saves once more.
    pub async fn run(mut self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(EVERY)).await.is_some() {
            self = self.look(false).await;
        }
        self.look(true).await;
    }

    /// Looks once. Writing a file blocks, so that it has its own thread.
    async fn look(self, is_last: bool) -> Self {
        let work = tokio::task::spawn_blocking(move || {
            let mut keeper = self;
            let kept = keeper.keep(is_last);
            keeper.report(kept);
            keeper
        });
        match work.await {
            Ok(keeper) => keeper,
            // It does not panic, and is not cancelled.
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }

    fn keep(&mut self, is_last: bool) -> io::Result<()> {
        let discards = self.cache.discards();
        if discards != self.discards {
            self.file.remove()?;
            (self.discards, self.saved) = (discards, None);
            tracing::info!(file = %self.file.path().display(), "removed the snapshot file");
        }
        if matches!(*self.link.borrow(), Link::Refused(_)) {
            return Ok(());
        }
        let changes = self.cache.changes();
        if self.saved == Some(changes) {
            // While the server is away, there is nothing new to note.
            return if self.cache.is_current() { self.file.touch(&self.cache) } else { Ok(()) };
        }
        if !is_last && Instant::now() < self.next {
            return Ok(());
        }
        let begun = Instant::now();
        if self.file.save(&self.cache)? {
            // What has changed during the save is saved again.
            self.saved = Some(changes);
            tracing::debug!(tenants = self.cache.tenants(), "saved the snapshot file");
        }
        self.next = Instant::now() + LEAST_PAUSE.max(begun.elapsed() * SHARE);
        Ok(())
    }

    /// Reports an error once.
    fn report(&mut self, kept: io::Result<()>) {
        if let Err(error) = &kept {
            // The file may be gone or incomplete.
            self.saved = None;
            self.next = Instant::now() + LEAST_PAUSE;
            if !self.has_failed {
                tracing::error!(file = %self.file.path().display(), %error, "cannot keep the snapshot file");
            }
        }
        self.has_failed = kept.is_err();
    }
}
