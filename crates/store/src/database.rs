//! Selects a database, and opens, migrates and closes it.

use crate::copy;
pub use crate::copy::Copied;
use crate::postgres::{self, Postgres, Target};
use crate::sqlite::{self, Sqlite};
use crate::topics::Topics;
use crate::{DatabaseHealth, Engine, Store};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tenancy_core::decision_context::cut;
use tenancy_core::{Error, Timestamp};
use tenancy_vault::Vault;
use tokio_postgres::Config;
use tokio_postgres_rustls::MakeRustlsConnect;

/// Database that stores all data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// One file of the embedded SQLite. Only one process can open it at a time.
    Sqlite(PathBuf),
    /// A PostgreSQL URL. Add `?pooler=transaction` behind PgBouncer.
    Postgres(String),
}

/// Result of a migration or of a dry run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Migrated {
    /// Names of the migrations that ran, or would run.
    pub applied: Vec<String>,
    /// All SQL that ran for them, or would run, in order. A dry run also lists the statements that create the log's
    /// partitions.
    pub sql: Vec<String>,
}

/// A finished backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackedUp {
    /// Size of the file.
    pub bytes: u64,
    /// Newest log position in it.
    pub last_position: i64,
}

/// Why a server cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Unreached {
    /// Address and reason, without the password.
    pub message: String,
    /// The server answered and refused the connection. Retrying with the same settings gives the same result.
    pub is_refused: bool,
    /// Arguments of the command that creates the database, if it does not exist.
    pub create: Vec<String>,
    /// What to do, in words.
    pub next: Option<String>,
}

/// Reads the URL of a PostgreSQL server that is not that of the record, with the same parameters. Returns the configuration of the
/// driver, and how to use TLS.
///
/// # Errors
/// [`Error::NotNow`] with a sentence that says what is wrong, never with the password.
pub fn postgres_server(url: &str) -> Result<(Config, Option<MakeRustlsConnect>), Error> {
    let Target { config, tls, pooled, listen } = Target::parse(url)?;
    if pooled || listen.is_some() {
        return Err(Error::NotNow("pooler and listen are not supported here: name the server itself".to_owned()));
    }
    Ok((config, tls))
}

/// Checks the path of a SQLite file.
fn sqlite_path(path: &str) -> Result<Database, String> {
    let wrong = match path {
        _ if path.starts_with("//") => "a path has no // at its beginning".to_owned(),
        ":memory:" => "a database in memory is lost when the process ends".to_owned(),
        _ if path.contains('?') => {
            "options after the path of a SQLite file (?…) are not supported, and a path with a question mark is not, \
             either"
                .to_owned()
        }
        _ if std::path::Path::new(path).is_dir() => format!("{path} is a directory"),
        _ => return Ok(Database::Sqlite(PathBuf::from(path))),
    };
    Err(format!("the database URL is invalid: {wrong}. Use sqlite: and the path of a file, such as sqlite:tenancy.db"))
}

impl Database {
    /// Parses `sqlite:PATH` or `postgres://…`. Spaces around it are ignored.
    ///
    /// # Errors
    /// Returns a sentence that says what is wrong. It contains at most the scheme, because the rest can contain a
    /// password.
    pub fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("sqlite:").filter(|path| !path.is_empty()) {
            return sqlite_path(path);
        }
        if text.starts_with("postgres://") || text.starts_with("postgresql://") {
            return Ok(Self::Postgres(text.to_owned()));
        }
        let what = match text.split_once(':') {
            _ if text.starts_with(['"', '\'']) => "the value begins with a quotation mark: remove it".to_owned(),
            _ if text.is_empty() => "the value is empty".to_owned(),
            Some((scheme, _))
                if scheme.len() <= 20 && scheme.chars().all(|c| c.is_ascii_alphanumeric() || c == '+') =>
            {
                format!("{scheme:?} is not a supported database")
            }
            _ => "the value has no scheme".to_owned(),
        };
        Err(format!("the database URL is invalid: {what}. Use sqlite:PATH or postgres://…"))
    }

    /// Returns the number of request threads for a machine with this many cores. On PostgreSQL commits run on a
    /// separate thread, so one core is left to them and to the database, if it runs on this machine. SQLite is read on
    /// the request threads themselves.
    pub fn request_threads(&self, cores: usize) -> usize {
        match self {
            Self::Sqlite(_) => cores.max(1),
            Self::Postgres(_) => cores.saturating_sub(1).max(1),
        }
    }

    /// Checks that the database can be reached, and says why not. [`Database::open`] reports only that it cannot be
    /// reached.
    ///
    /// # Errors
    /// Returns the address of the server and the message of the server or the operating system.
    pub async fn reach(&self) -> Result<(), Unreached> {
        let Self::Postgres(url) = self else { return Ok(()) };
        match Target::parse(url) {
            Ok(target) => postgres::reach(&target).await,
            // Opening it reports the error.
            Err(_) => Ok(()),
        }
    }

    /// Returns what an administrator should change before this database serves in production: the role may change the
    /// audit log, or an extension has distributed the tables. On SQLite there is nothing.
    ///
    /// # Errors
    /// Same as [`Database::open`].
    pub async fn warnings(&self) -> Result<Vec<String>, Error> {
        match self {
            Self::Sqlite(_) => Ok(Vec::new()),
            Self::Postgres(url) => postgres::warnings(&Target::parse(url)?).await,
        }
    }

    /// Copies a SQLite database to a new file, also while a server uses it. Blocks the thread. PostgreSQL has its own
    /// tools for this.
    ///
    /// # Errors
    /// [`Error::NotNow`] with the reason when nothing was written.
    pub fn backup(&self, to: &Path) -> Result<BackedUp, Error> {
        match self {
            Self::Sqlite(path) => sqlite::backup(path, to),
            Self::Postgres(_) => Err(Error::NotNow("back up PostgreSQL with pg_dump or pg_basebackup".to_owned())),
        }
    }

    /// Copies everything from this SQLite database, which no server may use, to an empty PostgreSQL database with all
    /// migrations. Returns the number of rows of each table. If it fails, the target stays empty. `told` is called after
    /// each table.
    ///
    /// # Errors
    /// [`Error::NotNow`] with the reason; errors of both databases.
    pub async fn copy_to(&self, target: &Self, told: impl FnMut(&Copied)) -> Result<Vec<Copied>, Error> {
        let (Self::Sqlite(from), Self::Postgres(to)) = (self, target) else {
            let what = "only a SQLite database can be copied, and only to PostgreSQL: use --from sqlite:PATH and --to \
                        postgres://…";
            return Err(Error::NotNow(what.to_owned()));
        };
        copy::copy(&sqlite::CopySource::open(from)?, &Target::parse(to)?, told).await
    }

    /// Opens the database. `vault` encrypts and decrypts private data.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database cannot be reached. [`Error::NotNow`] when its schema is behind and must
    /// be migrated first, when another process has the file open, or when the database was used with other keys.
    pub async fn open(&self, vault: Arc<Vault>) -> Result<Store, Error> {
        let topics = Arc::new(Topics::default());
        let engine = match self {
            Self::Sqlite(path) => Engine::Sqlite(Sqlite::open(path)?),
            Self::Postgres(url) => Engine::Postgres(Arc::new(Postgres::open(Target::parse(url)?, &topics).await?)),
        };
        let store = Store::new(engine, topics, vault);
        if let Err(error) = store.prove_keys().await {
            store.close().await;
            return Err(error);
        }
        Ok(store)
    }

    /// Opens the database with keys in memory, which all stores of the process share.
    ///
    /// # Errors
    /// Same as [`Database::open`].
    #[cfg(feature = "model")]
    pub async fn open_for_test(&self) -> Result<Store, Error> {
        self.open(crate::model::keys::shared()).await
    }

    /// Migrates the schema to this release. With `dry_run`, only returns what would run.
    ///
    /// # Errors
    /// Same as [`Database::open`].
    pub async fn migrate(&self, dry_run: bool) -> Result<Migrated, Error> {
        match self {
            Self::Sqlite(path) => sqlite::migrate(path, dry_run, cut(Timestamp::now())),
            Self::Postgres(url) => postgres::migrate(&Target::parse(url)?, dry_run).await,
        }
    }

    /// Returns the health of the database, and checks the triggers that keep the log append-only. A SQLite file is only read, even while another process has it open.
    ///
    /// # Errors
    /// Same as [`Database::open`], except that another process may have the file open.
    pub async fn look(&self) -> Result<DatabaseHealth, Error> {
        match self {
            Self::Sqlite(path) => sqlite::look(path),
            Self::Postgres(url) => {
                let postgres = Postgres::open(Target::parse(url)?, &Arc::default()).await?;
                let health = postgres.health().await;
                let triggers = postgres.missing_triggers().await;
                postgres.close().await;
                let mut health = health?;
                health.wrong.extend(triggers?);
                Ok(health)
            }
        }
    }

    /// Whether [`Store::mark`] has set this mark on the database. The database may be out of date or may not exist.
    ///
    /// # Errors
    /// Same as [`Database::open`].
    pub async fn is_marked(&self, name: &str) -> Result<bool, Error> {
        match self {
            Self::Sqlite(path) => sqlite::is_marked(path, name),
            Self::Postgres(url) => postgres::is_marked(&Target::parse(url)?, name).await,
        }
    }

    /// Grants a PostgreSQL role the rights that `serve` needs, and no more: the role can read and append to the log.
    ///
    /// # Errors
    /// Same as [`Database::open`]; also [`Error::NotNow`] if the role does not exist or could still change the log, and
    /// on SQLite, which has no roles.
    pub async fn grant(&self, role: &str) -> Result<(), Error> {
        match self {
            Self::Sqlite(_) => Err(Error::NotNow("SQLite has no roles: use a PostgreSQL database".to_owned())),
            Self::Postgres(url) => postgres::grant(&Target::parse(url)?, role).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_that_is_elsewhere_must_need_tls() {
        for url in [
            "postgres://admin:zz-secret@db.example.com/postgres",
            "postgres://admin:zz-secret@localhost,db.example.com/postgres",
            "postgres://admin:zz-secret@localhost/postgres?hostaddr=192.0.2.1",
        ] {
            match postgres_server(url) {
                Ok((_, tls)) => assert!(tls.is_some(), "{url}"),
                Err(error) => assert!(!error.to_string().contains("zz-secret"), "{error}"),
            }
        }
        let (_, tls) = postgres_server("postgres://admin@localhost/postgres?hostaddr=127.0.0.1").expect("here");
        assert!(tls.is_none());
    }

    #[test]
    fn a_server_of_places_must_be_no_pooler() {
        for parameter in ["pooler=transaction", "listen=postgres%3A%2F%2Flocalhost%2Ft"] {
            let refused = postgres_server(&format!("postgres://admin:zz-secret@localhost/t?{parameter}")).err();
            let said = refused.expect(parameter).to_string();
            assert!(said.contains("name the server itself") && !said.contains("zz-secret"), "{said}");
        }
    }

    #[test]
    fn must_refuse_what_is_no_database_and_print_nothing_secret() {
        for (text, said) in [
            ("postgre://u:zz-secret@h/d", "\"postgre\" is not a supported database"),
            ("jdbc:postgresql://u:zz-secret@h/d", "\"jdbc\" is not"),
            ("mysql://u:zz-secret@h/d", "\"mysql\" is not"),
            ("zz-secret", "no scheme"),
            ("u zz-secret:x", "no scheme"),
            ("\"postgres://u:zz-secret@h/d\"", "quotation mark"),
            ("'postgres://u:zz-secret@h/d'", "quotation mark"),
            ("  ", "is empty"),
            ("sqlite:", "sqlite:PATH"),
            ("sqlite://u:zz-secret@h/d", "no // at its beginning"),
            ("sqlite::memory:", "in memory"),
            ("sqlite:t.db?mode=rwc", "options"),
            ("sqlite:/", "is a directory"),
        ] {
            let refused = Database::parse(text).expect_err(text);
            assert!(refused.contains(said) && !refused.contains("zz-secret"), "{refused}");
        }
        assert_eq!(Database::parse(" sqlite:t.db\n"), Ok(Database::Sqlite(PathBuf::from("t.db"))));
        assert_eq!(Database::parse(" postgres://h/d "), Ok(Database::Postgres("postgres://h/d".to_owned())));
    }
}
