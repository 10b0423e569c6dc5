//! Databases of both kinds, for the groups that run on each of them.

use std::path::PathBuf;
use tempfile::TempDir;
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;

/// What keeps databases of one kind.
pub enum Keeper {
    /// A temporary PostgreSQL.
    Postgres(Postgres),
    /// A temporary directory.
    Sqlite(TempDir),
}

/// A migrated database.
pub enum Kept {
    /// Of a temporary PostgreSQL.
    Postgres(tenancy_testkit::Database),
    /// A file.
    Sqlite(PathBuf),
}

impl Keeper {
    /// Starts both kinds.
    pub fn both() -> [Self; 2] {
        [Self::Postgres(Postgres::start()), Self::Sqlite(tempfile::tempdir().expect("a directory"))]
    }

    /// Name of the kind, as in the keys of figures.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Postgres(_) => "pg",
            Self::Sqlite(_) => "sqlite",
        }
    }

    /// Creates a migrated database.
    pub async fn database(&self, name: &str) -> Kept {
        let kept = match self {
            Self::Postgres(postgres) => Kept::Postgres(postgres.database(name)),
            Self::Sqlite(directory) => Kept::Sqlite(directory.path().join(format!("{name}.db"))),
        };
        kept.database().migrate(false).await.expect("migrated");
        kept
    }

    /// Copies a database that nobody uses.
    pub fn copy(&self, original: &Kept, name: &str) -> Kept {
        match (self, original) {
            (Self::Postgres(postgres), Kept::Postgres(original)) => Kept::Postgres(postgres.copy_of(original, name)),
            (Self::Sqlite(directory), Kept::Sqlite(original)) => {
                let copy = directory.path().join(format!("{name}.db"));
                std::fs::copy(original, &copy).expect("copied");
                Kept::Sqlite(copy)
            }
            _ => panic!("a copy is of the same kind"),
        }
    }
}

impl Kept {
    /// What the product opens.
    pub fn database(&self) -> Database {
        match self {
            Self::Postgres(database) => Database::Postgres(database.url()),
            Self::Sqlite(path) => Database::Sqlite(path.clone()),
        }
    }

    /// Runs statements. Blocks the thread.
    pub fn execute(&self, sql: &str) {
        match self {
            Self::Postgres(database) => database.execute(sql),
            Self::Sqlite(path) => rusqlite::Connection::open(path).expect("open").execute_batch(sql).expect("executed"),
        }
    }

    /// Returns the number that a query selects. Blocks the thread.
    pub fn number(&self, sql: &str) -> u64 {
        match self {
            Self::Postgres(database) => database.value(sql).parse().expect("a number"),
            Self::Sqlite(path) => {
                let connection = rusqlite::Connection::open(path).expect("open");
                let number: i64 = connection.query_row(sql, [], |row| row.get(0)).expect("selected");
                number.unsigned_abs()
            }
        }
    }
}
