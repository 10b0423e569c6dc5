//! Connections that only read: taken for the moment of one read, opened when none is idle.

use super::connection;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use tenancy_core::Error;

/// Most connections that are kept when idle.
const MAX_IDLE: usize = 8;

/// The readers of a file.
pub struct Readers {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of the file at `path`; none is opened yet.
    pub fn new(path: PathBuf) -> Self {
        Self { path, idle: Mutex::new(Vec::new()) }
    }

    /// Closes those that are idle: who closes the file last tidies it up, and a reader cannot.
    pub fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Runs a read on a connection of its own.
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let connection = match taken {
            Some(connection) => connection,
            None => connection::open_reader(&self.path)?,
        };
        // A connection whose read failed is closed: whatever was wrong with it goes with it.
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
