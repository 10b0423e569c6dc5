//! PostgreSQL: one connection that commits, one that reads by key, a few that many share.

mod aside;
mod clock;
mod committer;
mod connection;
mod copy;
mod fault;
mod flushes;
mod held_rows;
mod in_flight;
mod listen;
mod lookups;
mod migrate;
mod one_read;
mod one_statement;
mod organization_cache;
mod partition;
mod password;
#[cfg(test)]
mod plans;
mod preconditions;
mod reach;
mod retry;
mod roles;
mod rows;
mod shared;
mod silence;
mod standby;
mod target;
mod triggers;

pub use copy::CopyTarget;
pub use migrate::{is_marked, migrate};
#[cfg(test)]
pub use plans::explained;
pub use reach::reach;
pub use roles::{grant, warnings};
#[cfg(feature = "model")]
pub use silence::shortened::shorten_silence;
pub use target::Target;

use crate::queue::{self, Queue};
use crate::rows::{Type, Value};
use crate::sql::Sql;
use crate::topics::{Topic, Topics};
use crate::{DatabaseHealth, ended, trigger_missing};
use clock::Clock;
use committer::Committer;
use connection::Connection;
use listen::Hints;
use lookups::Lookups;
use shared::Shared;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tenancy_core::{Error, Timestamp};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinHandle as TaskHandle};

/// An open database.
pub struct Postgres {
    /// The way to the committer.
    pub queue: Queue,
    /// Reads by key.
    pub lookups: Lookups,
    /// Everything else.
    pub shared: Arc<Shared>,
    clock: Arc<Clock>,
    hints: Arc<Hints>,
    target: Target,
    /// `None` once it is closed.
    committer: Mutex<Option<Running>>,
    commits: JoinHandle<()>,
    reads: TaskHandle<()>,
    background: [AbortHandle; 3],
}

/// The way to tell the committer to end, and to hear that it has.
struct Running {
    stop: oneshot::Sender<()>,
    ended: Ended,
}

type Ended = oneshot::Receiver<()>;

/// The committer's thread.
const COMMITS: &str = "postgres-commits";
/// The task that reads by key.
const READS: &str = "postgres-reads";

/// Runs the committer on a thread of its own. All writes wait for it: among the tasks of the requests it would run only after
/// all tasks that are ready, and the database would wait with it.
fn on_its_thread(
    (committer, lane): (Committer, Committer),
    stopped: oneshot::Receiver<()>,
) -> Result<(JoinHandle<()>, Ended), Error> {
    let failed = |error: std::io::Error| Error::Internal(format!("no thread for {COMMITS}: {error}"));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    let (ending, ended) = oneshot::channel();
    let work = move || {
        runtime.block_on(async { tokio::join!(committer.run(stopped), lane.run_aside()) });
        // Who does not wait for the end need not hear of it.
        let _ = ending.send(());
    };
    let thread = std::thread::Builder::new().name(COMMITS.to_owned()).spawn(work).map_err(failed)?;
    Ok((thread, ended))
}

impl Postgres {
    /// Opens a database whose schema is up to date; `topics` are told what other processes tell.
    pub async fn open(target: Target, topics: &Arc<Topics>) -> Result<Self, Error> {
        migrate::check(&target).await?;
        let shared = Arc::new(Shared::new(target.clone()));
        let clock = Arc::new(Clock::default());
        clock.set(&shared).await?;
        let hints = Arc::new(Hints::default());
        let background = [
            tokio::spawn(Clock::keep(Arc::downgrade(&clock), Arc::clone(&shared))),
            tokio::spawn(listen::tell(Arc::downgrade(&hints), Arc::clone(&shared))),
            tokio::spawn(listen::listen(target.clone(), Arc::downgrade(topics))),
        ];
        let background = background.map(|task| task.abort_handle());
        let (queue, intake) = queue::queue();
        let (stop, stopped) = oneshot::channel();
        let (commits, ended) = on_its_thread(Committer::with_lane(&target, intake), stopped)?;
        let committer = Mutex::new(Some(Running { stop, ended }));
        let (lookups, fetching) = Lookups::new(target.clone());
        // A task among those of the requests, not a thread of its own: after all ready tasks have run, more reads are fetched
        // together.
        let reads = tokio::spawn(fetching);
        Ok(Self { queue, lookups, shared, clock, hints, target, committer, commits, reads, background })
    }

    /// The database's time.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Tells other processes, soon.
    pub fn tell(&self, topic: Topic) {
        self.hints.add(topic);
    }

    /// How the database is.
    pub async fn health(&self) -> Result<DatabaseHealth, Error> {
        let partitions = self.shared.rows(&partition::all(), &[Type::Text]).await?;
        let mut health = partition::health(partitions, self.now())?;
        let rows = self.shared.rows(&reach::is_read_only(), &reach::READ_ONLY_TYPES).await?;
        if let Some((why, _)) = reach::why_read_only(&rows) {
            health.warnings.push(why.to_owned());
        }
        health.wrong.extend(standby::complaint(&self.shared, self.now()).await?);
        let closed = self.committer.lock().unwrap_or_else(PoisonError::into_inner).is_none();
        let running = [(COMMITS, self.commits.is_finished()), (READS, self.reads.is_finished())];
        let ended = running.into_iter().filter(|_| !closed).filter_map(|(name, is_finished)| ended(name, is_finished));
        health.wrong.extend(self.clock.complaint().into_iter().chain(ended));
        Ok(health)
    }

    /// Waits until the synchronous standbys, if there are any, have everything that can be read now.
    pub async fn confirm(&self) -> Result<(), Error> {
        standby::confirm(&self.shared).await
    }

    /// Returns a sentence for each trigger of the log that is missing or disabled.
    pub async fn missing_triggers(&self) -> Result<Vec<String>, Error> {
        let (sql, types) = triggers::missing();
        let rows = self.shared.rows(&sql, &types).await?;
        let sentence = |row: Vec<Value>| match row.as_slice() {
            [Value::Text(name), Value::Text(table)] => Some(trigger_missing(name, table)),
            _ => None,
        };
        Ok(rows.into_iter().filter_map(sentence).collect())
    }

    /// Makes the partitions of the log that are missing.
    pub async fn top_up_log(&self) -> Result<usize, Error> {
        partition::top_up(&self.own().await?, self.now()).await
    }

    /// Drops the partitions of the log that have expired.
    pub async fn drop_expired_log(&self, before: Timestamp) -> Result<usize, Error> {
        partition::drop_expired(&self.own().await?, before).await
    }

    /// A connection of its own, for what happens once a day.
    async fn own(&self) -> Result<Connection, Error> {
        Connection::open(&self.target, &Target::shared_settings()).await.map_err(|error| fault::failed(&error))
    }

    /// Runs a query that only reads.
    pub async fn rows(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        self.shared.rows(sql, types).await
    }

    /// Lets the committer finish what waits, and ends it.
    pub async fn close(&self) {
        let committer = self.committer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Running { stop, ended }) = committer {
            drop(stop);
            // A committer that panicked has nothing left to finish.
            let _ = ended.await;
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
