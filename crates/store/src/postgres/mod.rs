//! PostgreSQL: one connection that commits, one that reads by key, a few that many share.

mod clock;
mod committer;
mod connection;
mod fault;
mod listen;
mod lookups;
mod migrate;
mod partition;
#[cfg(test)]
mod plans;
mod roles;
mod shared;
mod target;

pub use migrate::migrate;
pub use roles::grant;
pub use target::Target;

use crate::batch::{self, Queue};
use crate::rows::{Type, Value};
use crate::sql::Sql;
use clock::Clock;
use lookups::Lookups;
use shared::Shared;
use std::sync::{Arc, Mutex, PoisonError};
use tenancy_core::{Error, Timestamp};
use tokio::sync::{Notify, oneshot};
use tokio::task::{AbortHandle, JoinHandle};

/// An open database.
pub struct Postgres {
    /// The way to the committer.
    pub queue: Queue,
    /// Reads by key.
    pub lookups: Lookups,
    /// Everything else.
    pub shared: Arc<Shared>,
    clock: Arc<Clock>,
    told: Arc<Notify>,
    target: Target,
    committer: Mutex<Option<Running>>,
    background: [AbortHandle; 3],
}

/// The committer's task, and the way to tell it to end.
struct Running {
    stop: oneshot::Sender<()>,
    task: JoinHandle<()>,
}

impl Postgres {
    /// Opens a database whose schema is up to date; `queued` is told when another process queues a job.
    pub async fn open(target: Target, queued: &Arc<Notify>) -> Result<Self, Error> {
        migrate::check(&target).await?;
        let shared = Arc::new(Shared::new(target.clone()));
        let clock = Arc::new(Clock::default());
        clock.measure(&shared).await?;
        let told = Arc::new(Notify::new());
        let background = [
            tokio::spawn(Clock::keep(Arc::downgrade(&clock), Arc::clone(&shared))),
            tokio::spawn(listen::tell(Arc::downgrade(&told), Arc::clone(&shared))),
            tokio::spawn(listen::listen(target.clone(), Arc::downgrade(queued))),
        ];
        let background = background.map(|task| task.abort_handle());
        let (queue, intake) = batch::queue();
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(committer::Committer::new(target.clone(), intake).run(stopped));
        let committer = Mutex::new(Some(Running { stop, task }));
        let lookups = Lookups::start(target.clone());
        Ok(Self { queue, lookups, shared, clock, told, target, committer, background })
    }

    /// The database's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Hints other processes that a job is queued.
    pub fn tell(&self) {
        self.told.notify_one();
    }

    /// What is wrong, if anything is.
    pub async fn complaints(&self) -> Result<Vec<String>, Error> {
        let ahead = self.shared.rows(&partition::ahead(self.now()), &[Type::Int]).await?;
        let ahead = match ahead.into_iter().flatten().next() {
            Some(Value::Int(months)) => usize::try_from(months).unwrap_or(0),
            _ => 0,
        };
        let few = ahead < partition::MIN_MONTHS_AHEAD;
        let few = few.then(|| format!("the audit log has partitions for only {ahead} months ahead"));
        Ok(self.clock.complaint().into_iter().chain(few).collect())
    }

    /// Makes the partitions of the log that are missing.
    pub async fn top_up_log(&self) -> Result<usize, Error> {
        let connection =
            connection::Connection::open(&self.target, &[]).await.map_err(|error| fault::failed(&error))?;
        partition::top_up(&connection, self.now()).await
    }

    /// Runs a query that only reads.
    pub async fn rows(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        self.shared.rows(sql, types).await
    }

    /// Lets the committer finish what waits, and ends it.
    pub async fn close(&self) {
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, task }) = committer {
            drop(stop);
            // A committer that panicked has nothing left to finish.
            let _ = task.await;
        }
        self.shared.close().await;
        self.stop_background();
    }

    /// Ends what only hints and measures; nothing is lost with it.
    fn stop_background(&self) {
        self.background.iter().for_each(AbortHandle::abort);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.stop_background();
    }
}
