//! Which database, and how it is opened, migrated and closed.

use crate::postgres::{self, Postgres, Target};
use crate::sqlite::{self, Sqlite};
use crate::topics::Topics;
use crate::{DatabaseHealth, Engine, Store};
use std::path::PathBuf;
use std::sync::Arc;
use tenancy_core::decision_context::cut;
use tenancy_core::{Error, Timestamp};

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
    /// All SQL that ran for them, or would run, in order; of a dry run also what makes the log's partitions.
    pub sql: Vec<String>,
}

/// Why a server cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreached {
    /// Where, and why not; without the password.
    pub message: String,
    /// It answers, and says no: the same again comes to the same.
    pub is_refused: bool,
    /// The words of the command that makes the database, where it is not there.
    pub create: Vec<String>,
}

impl Database {
    /// Takes `sqlite:PATH` or `postgres://…`.
    ///
    /// # Errors
    /// A sentence that says what is wrong.
    pub fn parse(text: &str) -> Result<Self, String> {
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return Ok(Self::Sqlite(PathBuf::from(path)));
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        Err(format!("a database is sqlite:PATH or postgres://…, not {text:?}"))
    }

    /// How many threads suit the requests, on a machine with so many cores. On PostgreSQL commits have a thread of their own:
    /// requests leave it a core, and with it the database, if it is on this machine. SQLite is read by the threads of the
    /// requests themselves.
    pub fn request_threads(&self, cores: usize) -> usize {
        match self {
            Self::Sqlite(_) => cores.max(1),
            Self::Postgres(_) => cores.saturating_sub(1).max(1),
        }
    }

    /// That the database can be reached. [`Database::open`] only says that it cannot, as everything does later on; this
    /// says why.
    ///
    /// # Errors
    /// Where the server is, and what it or the system says.
    pub async fn reach(&self) -> Result<(), Unreached> {
        let Self::Postgres(url) = self else { return Ok(()) };
        match Target::parse(url) {
            Ok(target) => postgres::reach(&target).await,
            // Whoever opens it is told so.
            Err(_) => Ok(()),
        }
    }

    /// Opens the database.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when it cannot be reached, [`Error::NotNow`] when it is behind and must be migrated
    /// first, or when another process holds the file.
    pub async fn open(&self) -> Result<Store, Error> {
        let topics = Arc::new(Topics::default());
        match self {
            Self::Sqlite(path) => Ok(Store::new(Engine::Sqlite(Sqlite::open(path)?), topics)),
            Self::Postgres(url) => {
                let postgres = Postgres::open(Target::parse(url)?, &topics).await?;
                Ok(Store::new(Engine::Postgres(Arc::new(postgres)), topics))
            }
        }
    }

    /// Brings the schema up to this release; `dry_run` only says what it would run.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn migrate(&self, dry_run: bool) -> Result<Migrated, Error> {
        match self {
            Self::Sqlite(path) => sqlite::migrate(path, dry_run, cut(Timestamp::now())),
            Self::Postgres(url) => postgres::migrate(&Target::parse(url)?, dry_run).await,
        }
    }

    /// How the database is. A file is only looked at, whoever has it open.
    ///
    /// # Errors
    /// As [`Database::open`], but for a file that another process holds.
    pub async fn look(&self) -> Result<DatabaseHealth, Error> {
        match self {
            Self::Sqlite(path) => sqlite::look(path),
            Self::Postgres(_) => {
                let store = self.open().await?;
                let health = store.health().await;
                store.close().await;
                health
            }
        }
    }

    /// Whether [`Store::mark`] has put this mark on the database. It need not be up to date, nor be there.
    ///
    /// # Errors
    /// As [`Database::open`].
    pub async fn is_marked(&self, name: &str) -> Result<bool, Error> {
        match self {
            Self::Sqlite(path) => sqlite::is_marked(path, name),
            Self::Postgres(url) => postgres::is_marked(&Target::parse(url)?, name).await,
        }
    }

    /// Gives a role of PostgreSQL the rights that `serve` needs, and no more: on the log it may read and append.
    ///
    /// # Errors
    /// As [`Database::open`]; [`Error::NotNow`] for a role that is not there or could change the log all the same, and on
    /// SQLite, which has no roles.
    pub async fn grant(&self, role: &str) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Err(Error::NotNow("SQLite has no roles".to_owned())),
            Self::Postgres(url) => postgres::grant(&Target::parse(url)?, role).await,
        }
    }
}
