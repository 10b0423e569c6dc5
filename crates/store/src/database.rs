//! Which database, and how it is opened, migrated and closed.

use crate::Store;
use std::path::PathBuf;
use tenancy_core::Error;

/// Where the record is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// One file of the embedded SQLite; one process at a time.
    Sqlite(PathBuf),
    /// A PostgreSQL URL, with `?pooler=transaction` behind PgBouncer.
    Postgres(String),
}

/// What a migration did, or would do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Names of the migrations that ran, or would run.
    pub applied: Vec<String>,
    /// Their SQL.
    pub sql: Vec<String>,
}

#[allow(unused_variables, clippy::todo)]
impl Database {
    /// Takes `sqlite:PATH` or `postgres://…`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        todo!()
    }

    /// Opens the database.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it cannot be reached, [`Error::NotNow`] when it is behind and must be migrated
    /// first, or when another process holds the file.
    pub async fn open(&self) -> Result<Store, Error> {
        todo!()
    }

    /// Brings the schema up to this release; `dry_run` only says what it would run.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn migrate(&self, dry_run: bool) -> Result<Migrated, Error> {
        todo!()
    }
}

#[allow(clippy::todo)]
impl Store {
    /// Waits for what is under way, and closes. Commits asked for afterwards are [`Error::Unavailable`].
    pub async fn close(&self) {
        todo!()
    }
}
