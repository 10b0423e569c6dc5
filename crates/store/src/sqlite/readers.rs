//! Read-only connections. A connection is taken for one read, and opened if none is idle.

use super::connection;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tenancy_core::Error;

/// Maximum number of idle connections that are kept: one for each list, and some for reads by key.
const MAX_IDLE: usize = crate::MAX_LISTS_AT_ONCE + 8;

/// Readers of a file.
pub struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Creates the readers of the file at `path`, without opening a connection.
    pub fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::new(Vec::new()) }
    }

    /// Closes idle connections. The last connection to close cleans the file up, and a read-only connection cannot do
    /// that.
    pub fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Runs a read on a connection that no other read uses meanwhile.
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let connection = match taken {
            Some(connection) => connection,
            None => connection::open_reader(&self.path)?,
        };
        // A connection whose read failed is closed, because it may be broken.
        let answer = read(&connection).map_err(|error| connection::failed(&error))?;
        let mut idle = idle();
        if idle.len() < MAX_IDLE {
            idle.push(connection);
        }
        Ok(answer)
    }

    /// Runs several reads on one snapshot.
    pub fn snapshot<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        self.with(|connection| {
            connection.prepare_cached("BEGIN")?.execute([])?;
            let answer = read(connection);
            connection.prepare_cached("COMMIT")?.execute([])?;
            answer
        })
    }
}
