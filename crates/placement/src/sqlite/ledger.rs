//! The ledger of a folder: one row for each environment, with the fence of its last change.

use crate::Fault;
use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::{Access, Fence};

/// How long a change waits for one of another process.
const BUSY: Duration = Duration::from_secs(10);

const SCHEMA: &str = "CREATE TABLE IF NOT EXISTS places (
    env_id TEXT PRIMARY KEY,
    log_epoch INTEGER NOT NULL,
    counter INTEGER NOT NULL,
    lease_epoch INTEGER NOT NULL,
    fingerprint TEXT,
    access TEXT NOT NULL,
    is_removed INTEGER NOT NULL
) STRICT, WITHOUT ROWID";

/// What the ledger knows of an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Fingerprint of the place; `None` until it is made.
    pub fingerprint: Option<String>,
    /// Access.
    pub access: Access,
    /// Whether the place was destroyed.
    pub is_removed: bool,
}

impl Default for Entry {
    fn default() -> Self {
        Self { fingerprint: None, access: Access::Blocked, is_removed: false }
    }
}

/// The ledger.
#[derive(Debug)]
pub struct Ledger {
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens the ledger, and creates it if it does not exist.
    pub fn open(path: &Path) -> Result<Self, Fault> {
        // SQLite would create it with the permissions of the process.
        let made = OpenOptions::new().create(true).append(true).mode(0o600).open(path);
        made.map_err(|error| {
            Fault::Unavailable(format!("the ledger of the environments' files cannot be used: {error}"))
        })?;
        let opened = || {
            let connection = Connection::open(path)?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "journal_mode", "WAL")?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            connection.execute(SCHEMA, [])?;
            Ok(connection)
        };
        Ok(Self { connection: Mutex::new(opened().map_err(failed)?) })
    }

    /// Returns the entry of an environment.
    pub fn entry(&self, env_id: &EnvironmentId) -> Result<Option<Entry>, Fault> {
        let connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        read(&connection, env_id).map(|row| row.map(|(_, entry)| entry))
    }

    /// Changes an environment while nobody else changes one in this folder. The fence is committed first: what was begun
    /// under it is not overtaken by what came before, also if the process is killed during the work.
    pub fn change<T>(
        &self,
        env_id: &EnvironmentId,
        fence: Fence,
        work: impl FnOnce(&mut Entry) -> Result<T, Fault>,
    ) -> Result<T, Fault> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let (known, entry) = read(&begun, env_id)?.unwrap_or((fence, Entry::default()));
        if known > fence {
            return Err(Fault::Late);
        }
        write(&begun, env_id, fence, &entry)?;
        begun.commit().map_err(failed)?;
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        let Some((known, mut entry)) = read(&transaction, env_id)? else { return Err(Fault::Late) };
        if known != fence {
            return Err(Fault::Late);
        }
        let done = work(&mut entry)?;
        write(&transaction, env_id, fence, &entry)?;
        transaction.commit().map_err(failed)?;
        Ok(done)
    }
}

fn read(connection: &Connection, env_id: &EnvironmentId) -> Result<Option<(Fence, Entry)>, Fault> {
    let text = "SELECT log_epoch, counter, lease_epoch, fingerprint, access, is_removed FROM places WHERE env_id = ?1";
    let row = connection.query_row(text, [env_id.as_str()], |row| {
        let fence = Fence { log_epoch: row.get(0)?, counter: row.get(1)?, lease_epoch: row.get(2)? };
        Ok((fence, row.get(3)?, row.get::<_, String>(4)?, row.get(5)?))
    });
    let Some((fence, fingerprint, access, is_removed)) = row.optional().map_err(failed)? else { return Ok(None) };
    let unknown = || Fault::Refused(format!("the ledger has an access that this release does not know: {access}"));
    let access = Access::parse(&access).ok_or_else(unknown)?;
    Ok(Some((fence, Entry { fingerprint, access, is_removed })))
}

fn write(transaction: &Transaction<'_>, env_id: &EnvironmentId, fence: Fence, entry: &Entry) -> Result<(), Fault> {
    let text = "INSERT OR REPLACE INTO places \
                (env_id, log_epoch, counter, lease_epoch, fingerprint, access, is_removed) \
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let values = params![
        env_id.as_str(),
        fence.log_epoch,
        fence.counter,
        fence.lease_epoch,
        entry.fingerprint,
        entry.access.as_str(),
        entry.is_removed
    ];
    transaction.execute(text, values).map(drop).map_err(failed)
}

fn failed(error: rusqlite::Error) -> Fault {
    Fault::Unavailable(format!("the ledger of the environments' files cannot be used: {error}"))
}
