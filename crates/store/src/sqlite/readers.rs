//! Read-only connections. A connection is taken for one read, and opened if none is idle.

use super::connection;
use super::files::Files;
use rusqlite::Connection;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use tenancy_core::Error;

/// Maximum number of idle connections that are kept: one for each list, and some for reads by key.
const MAX_IDLE: usize = crate::MAX_LISTS_AT_ONCE + 8;

/// Readers of a file.
pub struct Readers {
    path: PathBuf,
    files: Arc<Files>,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Creates the readers of the file at `path`, without opening a connection.
    pub fn new(path: PathBuf, files: Arc<Files>) -> Self {
        Self { path, files, idle: Mutex::new(Vec::new()) }
    }

    /// Closes idle connections. The last connection to close cleans the file up, and a read-only connection cannot do
    /// that.
    pub fn close_idle(&self) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Runs a read on a connection that no other read uses meanwhile.
    ///
    /// # Errors
    /// [`Error::DatabaseGone`] when the read fails because the file was deleted or replaced.
    pub fn with<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
        self.read(read).map_err(|error| self.files.reason_for(error))
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T, Error> {
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

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn must_say_that_the_file_is_gone_when_a_new_connection_cannot_open_it() {
        let place = tempfile::tempdir().expect("a directory");
        let path = place.path().join("file.db");
        let _writing = connection::open(&path).expect("open");
        let readers = Readers::new(path.clone(), Arc::new(Files::of(&path)));
        std::fs::remove_file(&path).expect("deleted");
        let read = readers.with(|connection| connection.query_row("SELECT 1", [], |row| row.get::<_, i64>(0)));
        assert!(matches!(read, Err(Error::DatabaseGone)), "{read:?}");
    }
}
