//! The engine that works on leased rows: claims those that are due, extends their leases with heartbeats on a connection of
//! their own, and stops work on a row before its lease can end. Jobs and the deliveries of webhooks are the two queues.
//!
//! What a queue writes is fenced by the lease: a process that lost a lease cannot write anything under it. Effects outside
//! the database are not fenced, so a process that cannot extend a lease aborts the work before the lease ends.

mod leases;

pub use leases::{Lease, LeaseWatch, Leases};

use crate::background::LoopStatus;
use crate::metrics::Metrics;
use crate::tenancy::Tenancy;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::json::hex;
use tenancy_store::Topic;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Numbers of a queue.
#[derive(Debug, Clone, Copy)]
pub struct Numbers {
    /// Maximum number of rows that this process works on at once.
    pub max_running: usize,
    /// Duration of a lease without a heartbeat.
    pub lease: Duration,
    /// Interval of heartbeats.
    pub heartbeat: Duration,
    /// Interval at which the process looks for due rows.
    pub poll: Duration,
}

/// State of the engine for one queue in one process.
pub struct Engine<K> {
    /// The process.
    pub tenancy: Arc<Tenancy>,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Status of claiming.
    pub status: Arc<LoopStatus>,
    /// Name of this process in leases and in the log.
    pub holder: String,
    /// Leases that this process holds.
    pub leases: Leases<K>,
    /// Cancelled when the process stops: nothing more is claimed.
    pub stop: CancellationToken,
    /// Cancelled when the drain time is over: work in progress is then aborted.
    pub late: CancellationToken,
    /// Numbers.
    pub numbers: Numbers,
    topic: Topic,
    /// Whether this process works on as many rows as it may, so that others that are due may wait for it.
    full: watch::Sender<bool>,
}

/// A table of rows that are leased, and the work on one of them.
pub trait Queue: Send + Sync + Sized + 'static {
    /// A claimed row.
    type Row: Send + 'static;
    /// Key of a row.
    type Key: Clone + Eq + Hash + Send + Sync + 'static;

    /// Returns the engine's state.
    fn engine(&self) -> &Engine<Self::Key>;

    /// Returns the lease of a claimed row.
    fn lease_of(row: &Self::Row) -> Lease<Self::Key>;

    /// Claims due rows.
    fn claim(&self, limit: usize) -> impl Future<Output = Result<Vec<Self::Row>, Error>> + Send;

    /// Extends leases. Returns those that are still held.
    fn extend(&self, leases: &[Lease<Self::Key>]) -> impl Future<Output = Result<Vec<Lease<Self::Key>>, Error>> + Send;

    /// Works on a row. It gives the lease back itself.
    fn work(self: Arc<Self>, row: Self::Row, lease: LeaseWatch) -> impl Future<Output = ()> + Send;

    /// Is called each time the process looks for due rows: something may have become due in a row that it works on.
    fn looked(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }
}

impl<K> Engine<K> {
    /// Creates the state. `kind` begins the name of the process; `name` is that of the loop in the status.
    pub fn new(
        (tenancy, metrics): (Arc<Tenancy>, Arc<Metrics>),
        (kind, name): (&str, &'static str),
        topic: Topic,
        numbers: Numbers,
        stop: CancellationToken,
    ) -> Self {
        let status = LoopStatus::new(name, numbers.poll);
        let (leases, late, full) = (Leases::default(), CancellationToken::new(), watch::Sender::new(false));
        Self { tenancy, metrics, status, holder: holder(kind), leases, stop, late, numbers, topic, full }
    }

    /// Whether this process works on as many rows as it may.
    pub fn is_full(&self) -> bool {
        *self.full.borrow()
    }

    /// Resolves when this process works on as many rows as it may.
    pub async fn full(&self) {
        // It does not fail: the sender is there.
        let _ = self.full.subscribe().wait_for(|is_full| *is_full).await;
    }

    /// Notes how many rows this process works on. Returns whether it may not work on more.
    fn note(&self, running: usize) -> bool {
        let is_full = running >= self.numbers.max_running;
        self.full.send_if_modified(|known| std::mem::replace(known, is_full) != is_full);
        is_full
    }

    /// Returns the time until which a lease that is claimed now can be relied on. It is a little shorter than the
    /// lease, since clocks differ and aborting work takes time.
    fn until(&self) -> Instant {
        Instant::now() + self.numbers.lease.mul_f64(0.9)
    }

    /// Returns the pause before the next look for due rows if no notification arrives. The pause is random within
    /// limits, so that processes that start together do not query at the same time.
    fn pause(&self) -> Duration {
        let jitter = getrandom::u32().unwrap_or(0) % 256;
        self.numbers.poll.mul_f64(0.875 + f64::from(jitter) / 1024.0)
    }
}

/// Returns a name of this process for leases.
pub fn holder(kind: &str) -> String {
    let mut random = [0; 8];
    // If randomness fails, nothing else works either; process ids still keep the names of two processes apart.
    let _ = getrandom::fill(&mut random);
    format!("{kind}-{}-{}", std::process::id(), hex(&random))
}

/// Works on rows until the engine's `stop` is cancelled. Then each row ends its current step, or is aborted when `drain` is
/// over; another process continues.
pub async fn run<Q: Queue>(queue: Arc<Q>, drain: Duration) {
    let beats = tokio::spawn(beat(Arc::clone(&queue)));
    let (mut working, engine) = (JoinSet::new(), queue.engine());
    while !engine.stop.is_cancelled() {
        while working.try_join_next().is_some() {}
        // Starts listening before the look, so that a notification during it is not missed.
        let hinted = engine.tenancy.store.notified(engine.topic);
        let took = take(&queue, &mut working).await;
        queue.looked().await;
        let full = engine.note(working.len());
        if took > 0 && !full {
            continue;
        }
        tokio::select! {
            Some(_) = working.join_next(), if !working.is_empty() => {}
            () = hinted => {}
            () = tokio::time::sleep(engine.pause()) => {}
            () = engine.stop.cancelled() => {}
        }
    }
    let drained = async { while working.join_next().await.is_some() {} };
    tokio::pin!(drained);
    if tokio::time::timeout(drain, &mut drained).await.is_err() {
        let name = engine.status.name;
        tracing::warn!("aborting {name} that were still running after {} seconds; they are released", drain.as_secs());
        engine.late.cancel();
        drained.await;
    }
    beats.abort();
}

/// Claims due rows once, works on them, and returns how many they were. When it returns 0, no row is due.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn run_once<Q: Queue>(queue: &Arc<Q>) -> Result<usize, Error> {
    let until = queue.engine().until();
    let rows = queue.claim(queue.engine().numbers.max_running).await?;
    let (count, mut working) = (rows.len(), JoinSet::new());
    queue.engine().note(count);
    start(queue, rows, until, &mut working);
    while working.join_next().await.is_some() {}
    Ok(count)
}

async fn take<Q: Queue>(queue: &Arc<Q>, working: &mut JoinSet<()>) -> usize {
    let engine = queue.engine();
    let free = engine.numbers.max_running.saturating_sub(working.len());
    if free == 0 {
        return 0;
    }
    // Counted from before the claim.
    let until = engine.until();
    let claimed = queue.claim(free).await;
    engine.status.ended(&claimed, engine.tenancy.store.now(), &engine.metrics);
    let Ok(rows) = claimed else { return 0 };
    let count = rows.len();
    start(queue, rows, until, working);
    count
}

fn start<Q: Queue>(queue: &Arc<Q>, rows: Vec<Q::Row>, until: Instant, working: &mut JoinSet<()>) {
    for row in rows {
        let lease = queue.engine().leases.hold(Q::lease_of(&row), until);
        let queue = Arc::clone(queue);
        working.spawn(async move { queue.work(row, lease).await });
    }
}

/// Extends all leases at each heartbeat. Runs in its own task, so that leases hold whatever the work waits for. A
/// heartbeat that hangs is aborted when the next one is due.
async fn beat<Q: Queue>(queue: Arc<Q>) {
    let engine = queue.engine();
    let mut every = tokio::time::interval(engine.numbers.heartbeat);
    every.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        every.tick().await;
        let (leases, until) = (engine.leases.all(), engine.until());
        if leases.is_empty() {
            continue;
        }
        match queue.extend(&leases).await {
            Ok(held) => engine.leases.keep(&leases, &held, until),
            Err(error) => tracing::warn!(%error, "could not extend leases"),
        }
    }
}
