//! SQLite: one file, one process, one writer thread. Reads by key run on the calling thread, lists on other threads.

mod backup;
mod connection;
mod copy_source;
mod current_rows;
mod files;
mod migrate;
mod readers;
mod triggers;
mod writer;

pub use backup::backup;
pub use copy_source::CopySource;
use files::Files;
pub use migrate::{is_marked, look, migrate};
pub use readers::Readers;
use writer::Writer;

use crate::MAX_LISTS_AT_ONCE;
use crate::elsewhere::elsewhere;
use crate::keyed::{self, KeyedRead, ROWS, Statement};
use crate::queue::{self, Queue};
use crate::rows::{Dialect, Type, Value};
use crate::snapshot;
use crate::sql::Sql;
use crate::upkeep::Durability;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tenancy_core::Error;
use tokio::sync::Semaphore;

/// Open file. Cheap to clone.
#[derive(Clone)]
pub struct Sqlite {
    /// Queue of the writer for commits.
    pub queue: Queue,
    /// Channels to the writer for upkeep. Upkeep never waits behind queued commits, and heartbeats never wait behind
    /// other upkeep.
    pub upkeep: writer::Upkeep,
    /// Read-only connections.
    pub readers: Arc<Readers>,
    /// The files, to notice that they were deleted or replaced.
    pub files: Arc<Files>,
    statements: Arc<Statements>,
    /// Permits of lists.
    lists: Arc<Semaphore>,
    /// Writer thread; `None` after it was closed.
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
    // Held as long as the file is open.
    _lock: Arc<connection::FileLock>,
}

/// Name of the writer's thread.
const THREAD: &str = "sqlite-writer";

/// Texts of the reads by key, generated once.
struct Statements {
    rows: Vec<Statement>,
    snapshot: Vec<Statement>,
}

impl Sqlite {
    /// Opens a file whose schema is up to date.
    ///
    /// # Errors
    /// [`Error::NotNow`] when another process has the file open or could have it open, or when its schema is behind.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = connection::place(path)?;
        let lock = connection::FileLock::take(&path)?;
        let writing = connection::open(&path)?;
        migrate::check(&writing)?;
        // A purge may have been interrupted before it emptied the log.
        connection::empty_log(&writing, connection::BUSY_TIMEOUT).map_err(|error| connection::failed(&error))?;
        let files = Arc::new(Files::of(&path));
        let (queue, intake) = queue::queue();
        let (upkeep, tasks) = writer::upkeep();
        let writer = Writer::new(writing, connection::open_unsynced(&path)?, intake, tasks, Arc::clone(&files));
        let thread = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || writer.run())
            .map_err(|error| Error::Internal(error.to_string()))?;
        let readers = Arc::new(Readers::new(path, Arc::clone(&files)));
        let statements = Statements {
            rows: keyed::statements(ROWS, Dialect::Sqlite),
            snapshot: keyed::statements(snapshot::reads(), Dialect::Sqlite),
        };
        Ok(Self {
            queue,
            upkeep,
            readers,
            files,
            statements: Arc::new(statements),
            lists: Arc::new(Semaphore::new(MAX_LISTS_AT_ONCE)),
            thread: Arc::new(Mutex::new(Some(thread))),
            _lock: Arc::new(lock),
        })
    }

    /// Runs a read-only query on the calling thread. It takes microseconds, less than handing it to another thread.
    pub fn rows(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        self.readers.with(|connection| connection::rows_within(connection, sql, types))
    }

    /// Runs a list on another thread: it can read many rows before it finds those of its page.
    pub async fn list(&self, sql: Sql, types: Vec<Type>) -> Result<Vec<Vec<Value>>, Error> {
        let turn = Arc::clone(&self.lists).acquire_owned().await.map_err(|_| Error::Unavailable)?;
        let readers = Arc::clone(&self.readers);
        let read = move || readers.with(|connection| connection::rows_within(connection, &sql, &types));
        elsewhere(Some(turn), read).await
    }

    /// Returns the row with this key, if it exists. Runs on the calling thread.
    pub fn row(&self, read: KeyedRead, key: Value) -> Result<Option<Vec<Value>>, Error> {
        let Statement { sql, types } = &self.statements.rows[read.index()];
        self.readers.with(|connection| connection::rows(connection, sql, &[key], types)).map(|mut rows| rows.pop())
    }

    /// Returns the rows of each [part of a snapshot](snapshot::PARTS), read in one transaction on the calling thread.
    pub fn snapshot(&self, id: &Value) -> Result<Vec<Vec<Vec<Value>>>, Error> {
        self.readers.snapshot(|connection| {
            let one = |Statement { sql, types }: &Statement| {
                connection::rows(connection, sql, std::slice::from_ref(id), types)
            };
            self.statements.snapshot.iter().map(one).collect()
        })
    }

    /// Runs an upkeep statement in a separate transaction.
    pub async fn write(&self, sql: Sql, types: Vec<Type>) -> Result<Vec<Vec<Value>>, Error> {
        let write =
            move |connection: &rusqlite::Connection| connection::rows(connection, &sql.text, &sql.params, &types);
        self.upkeep.run(Durability::Synced, write).await
    }

    /// Runs upkeep statements in one transaction. Each returns numbers.
    pub async fn write_all(&self, statements: Vec<Sql>, durability: Durability) -> Result<Vec<Vec<Vec<Value>>>, Error> {
        let all = move |connection: &rusqlite::Connection| {
            let one = |sql: &Sql| connection::rows(connection, &sql.text, &sql.params, &[Type::Int]);
            statements.iter().map(one).collect::<rusqlite::Result<Vec<_>>>()
        };
        self.upkeep.run(durability, all).await
    }

    /// Same as [`Sqlite::write`], but runs before all waiting work and does not wait for the disk.
    pub async fn write_first(&self, sql: Sql, types: Vec<Type>) -> Result<Vec<Vec<Value>>, Error> {
        self.upkeep.run_first(move |connection| connection::rows(connection, &sql.text, &sql.params, &types)).await
    }

    /// Describes the problem if the writer has ended.
    pub fn complaint(&self) -> Option<String> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().and_then(|thread| crate::ended(THREAD, thread.is_finished()))
    }

    /// Waits until the writer has finished its waiting work, and ends it.
    pub fn close(&self) {
        self.files.close();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.readers.close_idle();
        self.upkeep.stop();
        if let Some(thread) = thread {
            // A writer that panicked has no work left to finish.
            let _ = thread.join();
        }
    }
}
