//! A SQLite file that is copied to another database.

use super::connection::{self, FileLock, failed};
use super::migrate;
use crate::rows::{Type, Value};
use crate::sql::Sql;
use rusqlite::Connection;
use std::path::Path;
use tenancy_core::Error;

/// An open file that no server uses meanwhile.
pub struct CopySource {
    connection: Connection,
    _lock: FileLock,
}

impl CopySource {
    /// Opens a file whose schema is up to date.
    ///
    /// # Errors
    /// [`Error::NotNow`] when it does not exist, when another process has it open, or when its schema is behind.
    pub fn open(path: &Path) -> Result<Self, Error> {
        if !path.exists() {
            return Err(Error::NotNow(format!("there is no database {}", path.display())));
        }
        let path = connection::place(path)?;
        let lock = FileLock::take(&path)?;
        let connection = connection::open(&path)?;
        migrate::check(&connection)?;
        Ok(Self { connection, _lock: lock })
    }

    /// Reads rows, up to the size limit of the statement.
    pub fn rows(&self, sql: &Sql, types: &[Type]) -> Result<Vec<Vec<Value>>, Error> {
        connection::rows_within(&self.connection, sql, types).map_err(|error| failed(&error))
    }
}
