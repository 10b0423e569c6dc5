//! The only place with SQL: SQLite and PostgreSQL behind one closed set of operations.
//!
//! One way to write, [`Store::commit`]; typed reads; and a closed list of upkeep, which carries no audit event and can
//! name no column that a manifest, a hold or a state lives in.

mod batch;
#[cfg(test)]
mod catalog;
mod current_rows;
pub mod database;
mod keyed;
mod list;
mod migration;
#[cfg(feature = "model")]
mod model;
mod snapshot;
#[cfg(feature = "model")]
pub use model::Next;
pub mod page;
mod postgres;
mod queue;
pub mod read;
mod rows;
mod sql;
mod sqlite;
mod tables;
mod topics;
pub use topics::Topic;
pub mod upkeep;
mod write_kind;

use rows::{Dialect, Type, Value};
use sql::Sql;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tenancy_core::changes::Changes;
use tenancy_core::{Error, Timestamp};
use tokio::sync::futures::Notified;
use topics::Topics;

/// A database, open. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
    topics: Arc<Topics>,
    /// The last change could not be written, through no fault of its own.
    refuses: Arc<AtomicBool>,
    #[cfg(feature = "model")]
    shift: model::Shift,
    #[cfg(feature = "model")]
    reads: model::Reads,
}

/// The databases that there are: ours, and known when we compile.
#[derive(Clone)]
enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(Arc<postgres::Postgres>),
    #[cfg(feature = "model")]
    Model(model::Model),
}

/// A committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Log position of its first event.
    pub position: i64,
}

/// How a database is that answers; nothing stands here when all is well.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseHealth {
    /// Why nothing can be entrusted to it now.
    pub wrong: Vec<String>,
    /// What will go wrong if nobody looks after it.
    pub warnings: Vec<String>,
}

/// What is wrong where something has ended though nobody has closed the database: it has panicked.
fn ended(name: &str, is_finished: bool) -> Option<String> {
    is_finished.then(|| format!("{name} has ended, and nothing goes on without it: restart"))
}

impl Store {
    fn new(engine: Engine, topics: Arc<Topics>) -> Self {
        Self {
            engine,
            topics,
            refuses: Arc::default(),
            #[cfg(feature = "model")]
            shift: model::Shift::default(),
            #[cfg(feature = "model")]
            reads: model::Reads::default(),
        }
    }

    /// The database's time, as this process knows its offset to it, in whole microseconds.
    pub fn now(&self) -> Timestamp {
        let now = match &self.engine {
            Engine::Sqlite(_) => tenancy_core::decision_context::cut(Timestamp::now()),
            Engine::Postgres(postgres) => postgres.now(),
            #[cfg(feature = "model")]
            Engine::Model(_) => tenancy_core::decision_context::cut(Timestamp::now()),
        };
        #[cfg(feature = "model")]
        let now = self.shift.of(now);
        now
    }

    /// Commits the changes whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a guard fails; [`Error::Busy`], [`Error::Unavailable`] and [`Error::TooLarge`] when
    /// nothing can have changed; [`Error::OutcomeUnknown`] when it can have.
    pub async fn commit(&self, changes: Changes) -> Result<Receipt, Error> {
        let queues = changes.queued_job().is_some();
        let committed = match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.queue.commit(changes).await,
            Engine::Postgres(postgres) => postgres.queue.commit(changes).await,
            #[cfg(feature = "model")]
            Engine::Model(model) => model.queue.commit(changes).await,
        };
        match &committed {
            Ok(_) => self.refuses.store(false, Ordering::Relaxed),
            Err(Error::Unavailable | Error::OutcomeUnknown) => self.refuses.store(true, Ordering::Relaxed),
            Err(_) => {}
        }
        let receipt = committed?;
        for topic in Topic::ALL.into_iter().filter(|topic| queues || *topic != Topic::Jobs) {
            self.topics.tell(topic);
            if let Engine::Postgres(postgres) = &self.engine {
                postgres.tell(topic);
            }
        }
        Ok(receipt)
    }

    /// Resolves with the next hint on the topic after this call: of a commit in this process, or of another process that the
    /// database passes on. Only a hint.
    pub fn notified(&self, topic: Topic) -> Notified<'_> {
        self.topics.notified(topic)
    }

    /// How many changes wait to be committed.
    pub fn waiting(&self) -> usize {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.queue.waiting(),
            Engine::Postgres(postgres) => postgres.queue.waiting(),
            #[cfg(feature = "model")]
            Engine::Model(model) => model.queue.waiting(),
        }
    }

    /// How the database is.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not answer.
    pub async fn health(&self) -> Result<DatabaseHealth, Error> {
        let mut health = match &self.engine {
            Engine::Sqlite(sqlite) => {
                sqlite.rows(&Sql::new(Dialect::Sqlite, "SELECT 1"), &[Type::Int])?;
                DatabaseHealth { wrong: sqlite.complaint().into_iter().collect(), warnings: Vec::new() }
            }
            Engine::Postgres(postgres) => postgres.health().await?,
            #[cfg(feature = "model")]
            Engine::Model(_) => DatabaseHealth::default(),
        };
        // No more than a warning: who is sent no changes for it would never find out that they are taken again.
        if self.refuses.load(Ordering::Relaxed) {
            let what = "the last change could not be written (a full disk?): the server's log says why";
            health.warnings.push(what.to_owned());
        }
        Ok(health)
    }

    /// Waits for what is under way, and closes. Commits asked for afterwards are [`Error::Unavailable`].
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(sqlite) => {
                let sqlite = sqlite.clone();
                // The thread's end is waited for where waiting is allowed; it cannot fail but by being cancelled.
                let _ = tokio::task::spawn_blocking(move || sqlite.close()).await;
            }
            Engine::Postgres(postgres) => postgres.close().await,
            #[cfg(feature = "model")]
            Engine::Model(_) => {}
        }
    }

    /// Counts a read, for tests.
    fn count_read(&self) {
        #[cfg(feature = "model")]
        self.reads.count();
    }

    fn dialect(&self) -> Dialect {
        match &self.engine {
            Engine::Sqlite(_) => Dialect::Sqlite,
            Engine::Postgres(_) => Dialect::Postgres,
            #[cfg(feature = "model")]
            Engine::Model(_) => Dialect::Sqlite,
        }
    }

    /// Runs a query that only reads.
    async fn rows(&self, sql: Sql, types: Vec<Type>) -> Result<Vec<Vec<Value>>, Error> {
        self.count_read();
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.rows(&sql, &types),
            Engine::Postgres(postgres) => postgres.rows(&sql, &types).await,
            #[cfg(feature = "model")]
            Engine::Model(model) => model.rows(&sql),
        }
    }
}
