//! Backup of a SQLite file while a server uses it.

use super::connection::{self, FileLock, failed};
use crate::database::BackedUp;
use rusqlite::Connection;
use rusqlite::backup::{Backup, StepResult};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tenancy_core::Error;

/// Number of pages of 4 KiB that are copied at once.
const PAGES: i32 = 1024;
/// Pause when the file is locked for a moment.
const PAUSE: Duration = Duration::from_millis(50);
/// Maximum number of such pauses.
const MAX_PAUSES: usize = 200;

/// Copies the file to `to`, which must not exist. The copy is checked and complete when it gets its name, and only its
/// owner can read it.
///
/// # Errors
/// [`Error::NotNow`] when the file does not exist, when `to` exists or cannot be created, or when the copy is damaged.
pub fn backup(path: &Path, to: &Path) -> Result<BackedUp, Error> {
    if !path.exists() {
        return Err(Error::NotNow(format!("there is no database {}", path.display())));
    }
    let exists = || Error::NotNow(format!("{} exists already: name another file", to.display()));
    if to.symlink_metadata().is_ok() {
        return Err(exists());
    }
    let partial = Partial::make(to)?;
    copy(&path.canonicalize().unwrap_or_else(|_| path.to_owned()), &partial.path)?;
    let last_position = check(&partial.path)?;
    let bytes = partial.named(to).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => exists(),
        _ => Error::NotNow(format!("{} cannot be created: {error}", to.display())),
    })?;
    Ok(BackedUp { bytes, last_position })
}

fn copy(from: &Path, to: &Path) -> Result<(), Error> {
    // Without a server, the lock keeps one from starting meanwhile, and the file is opened as a server would open it,
    // which restores what a killed process has left in the write-ahead log. With a server, or without the right to
    // write, the file is read beside it.
    let lock = FileLock::take(from).ok();
    let source = if lock.is_some() { connection::open(from)? } else { connection::open_to_look(from)? };
    // Not whether it has all migrations: a backup is made before an upgrade.
    if !source.table_exists(None, "schema_migrations").map_err(|error| failed(&error))? {
        return Err(Error::NotNow(format!("{} is not a database of tenancy", from.display())));
    }
    let copied = || {
        // One snapshot: otherwise each commit of the server would make the copy start again.
        source.execute_batch("BEGIN")?;
        source.query_row("SELECT count(*) FROM schema_migrations", [], |_| Ok(()))?;
        let mut target = Connection::open(to)?;
        let backup = Backup::new(&source, &mut target)?;
        let mut pauses = 0;
        loop {
            match backup.step(PAGES)? {
                StepResult::Done => break,
                StepResult::More => {}
                _ if pauses < MAX_PAUSES => {
                    pauses += 1;
                    std::thread::sleep(PAUSE);
                }
                _ => {
                    return Err(rusqlite::Error::SqliteFailure(
                        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_BUSY),
                        Some("the file stays locked".to_owned()),
                    ));
                }
            }
        }
        drop(backup);
        // One file that contains everything: no write-ahead log beside it.
        target.pragma_update(None, "journal_mode", "DELETE")?;
        target.close().map_err(|(_, error)| error)?;
        source.execute_batch("COMMIT")
    };
    copied().map_err(|error| failed(&error))
}

/// Checks the copy, and returns its newest log position.
fn check(path: &Path) -> Result<i64, Error> {
    let copy = connection::open_to_look(path)?;
    let found: String =
        copy.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(|error| failed(&error))?;
    if found != "ok" {
        return Err(Error::NotNow(format!(
            "the copy is damaged, and so is the database, probably: {found}. Keep the file as it is, and restore the \
             previous backup"
        )));
    }
    copy.query_row("SELECT max(last_position) FROM log_batches", [], |row| row.get(0)).map_err(|error| failed(&error))
}

/// A file beside the result that is removed unless it gets the result's name.
struct Partial {
    path: PathBuf,
}

impl Partial {
    fn make(to: &Path) -> Result<Self, Error> {
        let path = PathBuf::from(format!("{}.partial-{}", to.display(), std::process::id()));
        connection::make_new(&path)?;
        Ok(Self { path })
    }

    /// Gives the file its name, unless another file has it, and makes that durable. Returns the size.
    fn named(self, to: &Path) -> std::io::Result<u64> {
        let file = File::open(&self.path)?;
        file.sync_all()?;
        // Unlike a rename, a link never replaces a file. Some file systems have no links.
        match std::fs::hard_link(&self.path, to) {
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists && to.symlink_metadata().is_err() => {
                std::fs::rename(&self.path, to)?;
            }
            linked => linked?,
        }
        // Removes the other name.
        drop(self);
        let directory = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(directory)?.sync_all()?;
        Ok(file.metadata()?.len())
    }
}

impl Drop for Partial {
    fn drop(&mut self) {
        for end in ["", "-journal", "-wal", "-shm"] {
            // Usually only the first exists.
            let _ = std::fs::remove_file(format!("{}{end}", self.path.display()));
        }
    }
}
