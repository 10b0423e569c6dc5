//! SQLite: one file, one process, one writer thread, readers in place.

mod connection;
mod current_rows;
mod migrate;
mod readers;
mod writer;

pub use migrate::{is_marked, look, migrate};
pub use readers::Readers;
use writer::Writer;

use crate::keyed::{self, KeyedRead, ROWS, Statement};
use crate::queue::{self, Queue};
use crate::rows::{Dialect, Type, Value};
use crate::snapshot;
use crate::sql::Sql;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use tenancy_core::Error;

/// An open file. Cheap to clone.
#[derive(Clone)]
pub struct Sqlite {
    /// The way to the writer for commits.
    pub queue: Queue,
    /// The writer's other way, for upkeep, which never waits behind commits that queue; and heartbeats not behind that.
    pub upkeep: writer::Upkeep,
    /// Connections that only read.
    pub readers: Arc<Readers>,
    statements: Arc<Statements>,
    /// The writer; `None` once it is closed.
    thread: Arc<Mutex<Option<std::thread::JoinHandle<()>>>>,
    // Held as long as the file is open.
    _lock: Arc<connection::FileLock>,
}

/// The writer's thread.
const THREAD: &str = "sqlite-writer";

/// Texts of the reads by key, made once.
struct Statements {
    rows: Vec<Statement>,
    snapshot: Vec<Statement>,
}

impl Sqlite {
    /// Opens a file whose schema is up to date.
    ///
    /// # Errors
    /// [`Error::NotNow`] when another process has it open, or could have, or when its schema is behind.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let path = connection::place(path)?;
        let lock = connection::FileLock::take(&path)?;
        let writing = connection::open(&path)?;
        migrate::check(&writing)?;
        let (queue, intake) = queue::queue();
        let (upkeep, tasks) = writer::upkeep();
        let writer = Writer::new(writing, connection::open_unsynced(&path)?, intake, tasks);
        let thread = std::thread::Builder::new()
            .name(THREAD.to_owned())
            .spawn(move || writer.run())
            .map_err(|error| Error::Internal(error.to_string()))?;
        let readers = Arc::new(Readers::new(path));
        let statements = Statements {
            rows: keyed::statements(ROWS, Dialect::Sqlite),
            snapshot: keyed::statements(snapshot::reads(), Dialect::Sqlite),
        };
        Ok(Self {
            queue,
            upkeep,
            readers,
            statements: Arc::new(statements),
            thread: Arc::new(Mutex::new(Some(thread))),
            _lock: Arc::new(lock),
        })
    }

    /// Runs a query that only reads, in place: it takes microseconds, less than a thread to hand it to would.
    pub fn rows(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        self.readers.with(|connection| connection::rows_within(connection, sql, types))
    }

    /// The row that a key finds, if it is there; in place.
    pub fn row(&self, read: KeyedRead, key: Value) -> Result<Option<Vec<Value>>, Error> {
        let Statement { sql, types } = &self.statements.rows[read.index()];
        self.readers.with(|connection| connection::rows(connection, sql, &[key], types)).map(|mut rows| rows.pop())
    }

    /// The rows of each of a [snapshot's parts](snapshot::PARTS), in place and on one snapshot.
    pub fn snapshot(&self, id: &Value) -> Result<Vec<Vec<Vec<Value>>>, Error> {
        self.readers.snapshot(|connection| {
            let one = |Statement { sql, types }: &Statement| {
                connection::rows(connection, sql, std::slice::from_ref(id), types)
            };
            self.statements.snapshot.iter().map(one).collect()
        })
    }

    /// Runs a statement of upkeep in a transaction of its own.
    pub async fn write(&self, sql: Sql, types: Vec<Type>) -> Result<Vec<Vec<Value>>, Error> {
        self.upkeep.run(move |connection| connection::rows(connection, &sql.text, &sql.params, &types)).await
    }

    /// As [`Sqlite::write`], before all that waits, and without waiting for the disk.
    pub async fn write_first(&self, sql: Sql, types: Vec<Type>) -> Result<Vec<Vec<Value>>, Error> {
        self.upkeep.run_first(move |connection| connection::rows(connection, &sql.text, &sql.params, &types)).await
    }

    /// What is wrong with the writer, if anything is.
    pub fn complaint(&self) -> Option<String> {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        thread.as_ref().and_then(|thread| crate::ended(THREAD, thread.is_finished()))
    }

    /// Lets the writer finish what waits, and ends it.
    pub fn close(&self) {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.readers.close_idle();
        self.upkeep.stop();
        if let Some(thread) = thread {
            // A writer that panicked has nothing left to finish.
            let _ = thread.join();
        }
    }
}
