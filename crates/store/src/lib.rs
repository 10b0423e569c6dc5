//! The only crate with SQL. SQLite and PostgreSQL are behind one closed set of operations.
//!
//! It has one way to write, [`Store::commit`]; typed reads; and a closed list of upkeep statements. Upkeep has no audit
//! event and cannot write a column that holds a manifest, a hold or a state.

mod batch;
#[cfg(test)]
mod catalog;
mod clock_watch;
mod copy;
mod current_rows;
pub mod database;
mod elsewhere;
pub mod endpoints;
pub mod job_queue;
mod keyed;
mod list;
mod log_tail;
mod many_rows;
mod migration;
#[cfg(feature = "model")]
mod model;
mod normal_forms;
mod snapshot;
#[cfg(feature = "model")]
pub use model::Next;
pub mod names_in_use;
pub mod page;
mod postgres;
mod queue;
pub mod read;
mod rows;
mod sealing;
mod seals;
mod search;
#[cfg(test)]
mod search_plans;
mod sql;
mod sqlite;
mod tables;
mod topics;
pub use clock_watch::ClockJump;
pub use log_tail::{LogTail, Resumed, UnreadableEvent};
pub use seals::{LogVerification, Sealed};
pub use tables::log_epochs::LogEnd;
pub use tables::webhook_deliveries::DuePlace;
pub use topics::Topic;
pub mod upkeep;
mod webhooks;
mod write_kind;

use batch::Member;
use clock_watch::ClockWatch;
use rows::{Dialect, Type, Value};
use sealing::KeysOfCommit;
use sql::Sql;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tenancy_core::changes::Changes;
use tenancy_core::{Error, Timestamp};
use tenancy_vault::Vault;
use tokio::sync::futures::Notified;
use topics::Topics;

/// Open database. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Engine,
    topics: Arc<Topics>,
    /// Whether the last change could not be written because of the database, and not because of the change.
    refuses: Arc<AtomicBool>,
    /// Whether the last change with private data could not be sealed, because its data key could not be used.
    lacks_key: Arc<AtomicBool>,
    clock_watch: Arc<ClockWatch>,
    /// Encrypts and decrypts private data.
    vault: Arc<Vault>,
    #[cfg(feature = "model")]
    shift: model::Shift,
    #[cfg(feature = "model")]
    reads: model::Reads,
}

/// Supported databases, a closed list.
#[derive(Clone)]
enum Engine {
    Sqlite(sqlite::Sqlite),
    Postgres(Arc<postgres::Postgres>),
    #[cfg(feature = "model")]
    Model(model::Model),
}

/// Maximum number of lists that run at once. Further lists wait for their turn, in order.
pub const MAX_LISTS_AT_ONCE: usize = 4;

/// Committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Log position of its first event.
    pub position: i64,
}

/// Health of a database that answers. Both lists are empty when the database is healthy.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DatabaseHealth {
    /// Problems because of which the database cannot accept changes now.
    pub wrong: Vec<String>,
    /// Problems that need attention before they cause a failure.
    pub warnings: Vec<String>,
}

/// Describes a thread that has ended although the database was not closed: it has panicked.
fn ended(name: &str, is_finished: bool) -> Option<String> {
    is_finished.then(|| format!("thread {name} has ended unexpectedly: restart the server"))
}

/// Describes a missing trigger of the log.
fn trigger_missing(name: &str, table: &str) -> String {
    format!(
        "trigger {name} of table {table} is missing or disabled, so the audit log can be changed: run `tenancy audit \
         verify`, and restore the trigger"
    )
}

impl Store {
    fn new(engine: Engine, topics: Arc<Topics>, vault: Arc<Vault>) -> Self {
        Self {
            engine,
            topics,
            refuses: Arc::default(),
            lacks_key: Arc::default(),
            clock_watch: Arc::default(),
            vault,
            #[cfg(feature = "model")]
            shift: model::Shift::default(),
            #[cfg(feature = "model")]
            reads: model::Reads::default(),
        }
    }

    /// Returns the database's time, in whole microseconds, computed from the measured offset of this process.
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

    /// Commits the changes as one unit: all of them or none. Private data in them is sealed first.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a guard fails. [`Error::Busy`], [`Error::Unavailable`] and [`Error::TooLarge`] when
    /// nothing has changed. [`Error::KeysUnavailable`] when private data cannot be sealed. [`Error::OutcomeUnknown`] when the commit may have succeeded.
    pub async fn commit(&self, changes: Changes) -> Result<Receipt, Error> {
        let (member, keys) = self.sealed(changes).await?;
        self.commit_sealed(member, keys).await
    }

    async fn commit_sealed(&self, member: Member, keys: KeysOfCommit) -> Result<Receipt, Error> {
        let queues = member.changes.queued_job().is_some();
        let committed = match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.queue.commit(member).await,
            Engine::Postgres(postgres) => postgres.queue.commit(member).await,
            #[cfg(feature = "model")]
            Engine::Model(model) => model.queue.commit(member).await,
        };
        self.settle(keys, &committed).await;
        match &committed {
            Ok(_) => self.refuses.store(false, Ordering::Relaxed),
            Err(Error::Unavailable | Error::DatabaseGone | Error::OutcomeUnknown) => {
                self.refuses.store(true, Ordering::Relaxed)
            }
            Err(_) => {}
        }
        let receipt = committed?;
        if queues {
            self.tell(Topic::Jobs);
        }
        self.tell(Topic::Log);
        Ok(receipt)
    }

    /// Sends a hint to this process, and to others if the database passes it on.
    fn tell(&self, topic: Topic) {
        self.topics.tell(topic);
        if let Engine::Postgres(postgres) = &self.engine {
            postgres.tell(topic);
        }
    }

    /// Waits until everything that can be read now also survives a failover to a synchronous standby. What was committed while
    /// the standby was away can be visible without it. Costs one statement if there is no such standby.
    ///
    /// # Errors
    /// [`Error::OutcomeUnknown`] if no standby confirms it in time.
    pub async fn confirm(&self) -> Result<(), Error> {
        match &self.engine {
            Engine::Postgres(postgres) => postgres.confirm().await.map_err(|_| Error::OutcomeUnknown),
            _ => Ok(()),
        }
    }

    /// Resolves with the next hint on the topic after this call. A commit of this process sends a hint, and so does a
    /// commit of another process if the database passes it on. Hints can be missed.
    pub fn notified(&self, topic: Topic) -> Notified<'_> {
        self.topics.notified(topic)
    }

    /// Number of changes that wait to be committed.
    pub fn waiting(&self) -> usize {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.queue.waiting(),
            Engine::Postgres(postgres) => postgres.queue.waiting(),
            #[cfg(feature = "model")]
            Engine::Model(model) => model.queue.waiting(),
        }
    }

    /// Returns the health of the database.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it does not answer.
    pub async fn health(&self) -> Result<DatabaseHealth, Error> {
        let mut health = match &self.engine {
            Engine::Sqlite(sqlite) => {
                sqlite.rows(&Sql::new(Dialect::Sqlite, "SELECT 1"), &[Type::Int])?;
                let gone = sqlite.files.are_gone().then(|| Error::DatabaseGone.to_string());
                DatabaseHealth { wrong: sqlite.complaint().into_iter().chain(gone).collect(), warnings: Vec::new() }
            }
            Engine::Postgres(postgres) => postgres.health().await?,
            #[cfg(feature = "model")]
            Engine::Model(_) => DatabaseHealth::default(),
        };
        // Only a warning: if the server were taken out of service for this, it would receive no changes and could not
        // find out that they succeed again.
        if self.refuses.load(Ordering::Relaxed) {
            let what = "the last change could not be written: see the server's log for the reason, such as a full disk";
            health.warnings.push(what.to_owned());
        }
        // Only a warning, too: reads go on, and so do changes whose data keys are in memory.
        if self.lacks_key.load(Ordering::Relaxed) {
            let what = "the key that encrypts the private data of the last change could not be used: see the server's log \
                        for the reason";
            health.warnings.push(what.to_owned());
        }
        health.warnings.extend(self.clock_jump().map(|jump| jump.to_string()));
        Ok(health)
    }

    /// Whether the SQLite file was deleted or replaced while it is open. It then accepts no change any more.
    pub fn is_gone(&self) -> bool {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.files.are_gone(),
            _ => false,
        }
    }

    /// Waits for running work, then closes the database. Later commits fail with [`Error::Unavailable`].
    pub async fn close(&self) {
        match &self.engine {
            Engine::Sqlite(sqlite) => {
                let sqlite = sqlite.clone();
                // Joins the thread where blocking is allowed. This fails only if it is cancelled.
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

    /// Runs a list, apart from reads that take microseconds.
    async fn list_rows(&self, sql: Sql, types: Vec<Type>) -> Result<Vec<Vec<Value>>, Error> {
        self.count_read();
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.list(sql, types).await,
            Engine::Postgres(postgres) => postgres.shared.list(&sql, &types).await,
            #[cfg(feature = "model")]
            Engine::Model(model) => model.rows(&sql),
        }
    }

    /// Runs a read-only query of a few rows.
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
