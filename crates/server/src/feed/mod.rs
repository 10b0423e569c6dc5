//! The event feed: one reader of the log for each process, shared by all followers.
//!
//! The reader runs while there are followers. It reads what is committed, in the order of the log, and keeps the newest
//! batches in memory, up to a limit in bytes. A follower that is further behind reads pages of its own, until it
//! reaches what is kept. So the memory of the feed is bounded, however slow a follower is.

mod batch;
mod follower;
mod limits;
mod reader;
mod rendered;
mod ring;
mod seats;

pub use batch::{Batch, FeedEvent, FeedUnreadable};
pub use follower::{Ended, Follower};
pub use limits::EventLimits;
pub use rendered::{Rendered, View};
pub use seats::{Seats, StreamSeat};

use quick_cache::sync::Cache;
use ring::Ring;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_store::{LogEnd, LogTail, Store};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Maximum number of tenants whose organization is cached.
const MAX_OWNERS: usize = 10_000;

/// The feed of one process.
pub struct Feed {
    store: Store,
    max_buffer_bytes: AtomicUsize,
    state: Mutex<State>,
    /// Notified when the ring has changed.
    moved: Notify,
    stop: CancellationToken,
    owners: Cache<TenantId, OrganizationId>,
}

/// What the reader and the followers share.
#[derive(Debug, Default)]
struct State {
    followers: usize,
    is_reading: bool,
    /// Time of the last read of the log that succeeded.
    read_at: Option<Instant>,
    /// Newest batches; `None` until the reader knows the end of the log.
    ring: Option<Ring>,
}

impl Feed {
    /// Creates the feed of a store. It reads nothing until it has a follower.
    pub fn new(store: Store) -> Arc<Self> {
        Arc::new(Self {
            store,
            max_buffer_bytes: AtomicUsize::new(EventLimits::default().max_buffer_bytes),
            state: Mutex::default(),
            moved: Notify::new(),
            stop: CancellationToken::new(),
            owners: Cache::new(MAX_OWNERS),
        })
    }

    /// Sets the maximum size of the batches that are kept in memory, in bytes.
    pub fn set_max_buffer_bytes(&self, bytes: usize) {
        self.max_buffer_bytes.store(bytes, Ordering::Relaxed);
    }

    /// Follows the log after a position, which [`Feed::newest`] or a cursor gave. Starts the reader if necessary.
    pub fn follow(self: &Arc<Self>, after: i64) -> Follower {
        let mut state = self.state();
        state.followers += 1;
        if !state.is_reading && !self.stop.is_cancelled() {
            state.is_reading = true;
            tokio::spawn(reader::run(Arc::clone(self)));
        }
        drop(state);
        Follower::new(Arc::clone(self), after)
    }

    /// Returns the end of the log: its newest position, and the cursors of positions.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn newest(&self) -> Result<LogEnd, Error> {
        self.store.log_end().await
    }

    /// Ends all followers with [`Ended::Stopping`], and the reader, when `stop` is cancelled.
    pub fn stop_with(&self, stop: CancellationToken) {
        let own = self.stop.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            own.cancel();
        });
    }

    /// Whether the reader has read the log lately: what followers have is then as old as this at most.
    pub fn was_read_within(&self, time: Duration) -> bool {
        self.state().read_at.is_some_and(|at| at.elapsed() <= time)
    }

    /// Number of followers.
    pub fn followers(&self) -> usize {
        self.state().followers
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Builds a batch of what was read after a position.
    async fn batch(&self, after: i64, tail: LogTail) -> Result<Batch, Error> {
        let unread = tail.unreadable.iter().filter_map(|event| event.tenant_id.as_ref());
        let tenants = tail.events.iter().filter_map(|logged| logged.event.tenant_id.as_ref()).chain(unread);
        let mut owners = BTreeMap::new();
        let mut unknown = BTreeSet::new();
        for tenant in tenants {
            match self.owners.get(tenant) {
                Some(owner) => drop(owners.insert(tenant.clone(), owner)),
                None => drop(unknown.insert(tenant.clone())),
            }
        }
        let unknown: Vec<_> = unknown.into_iter().collect();
        for (tenant, owner) in self.store.organizations_of(&unknown).await? {
            self.owners.insert(tenant.clone(), owner.clone());
            owners.insert(tenant, owner);
        }
        Ok(Batch::new(after, tail, &owners))
    }
}
