//! Watches that the files under the names of the database are the ones that are open. A file that was deleted or replaced
//! stays open, and everything that is written to it is lost.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tenancy_core::Error;

/// Minimum time between two checks by the writer.
const EVERY: Duration = Duration::from_millis(100);

/// The open files of a database.
pub struct Files {
    path: PathBuf,
    /// Name and identity of the database and of its write-ahead log.
    opened: [(PathBuf, Identity); 2],
    gone: AtomicBool,
    /// Whether the database was closed. SQLite then removes the write-ahead log, and a later read makes another one.
    closed: AtomicBool,
    checked: Mutex<Instant>,
}

/// What tells a file from another one of the same name: device and inode.
type Identity = Option<(u64, u64)>;

#[cfg(unix)]
fn identity(path: &Path) -> Identity {
    use std::os::unix::fs::MetadataExt as _;
    path.metadata().ok().map(|found| (found.dev(), found.ino()))
}

/// On other systems, an open file cannot be deleted or replaced.
#[cfg(not(unix))]
fn identity(_: &Path) -> Identity {
    None
}

impl Files {
    /// Creates the watch of a database that is open and has been read, so that its write-ahead log exists.
    pub fn of(path: &Path) -> Self {
        let log = PathBuf::from(format!("{}-wal", path.display()));
        let opened = [path.to_owned(), log].map(|path| {
            let identity = identity(&path);
            (path, identity)
        });
        let (gone, closed) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { path: path.to_owned(), opened, gone, closed, checked: Mutex::new(Instant::now()) }
    }

    /// Ends the watch, before the database is closed.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    /// Checks the files. Once they are gone, they stay gone.
    pub fn are_gone(&self) -> bool {
        *self.checked.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        let is_over = self.gone.load(Ordering::Relaxed) || self.closed.load(Ordering::Relaxed);
        if !is_over && self.opened.iter().any(|(path, opened)| identity(path) != *opened) {
            self.gone.store(true, Ordering::Relaxed);
            tracing::error!(
                path = %self.path.display(),
                "the SQLite file or its write-ahead log was deleted or replaced while it is open, so changes would be \
                 lost: nothing is written any more; restore the files, and start the server again"
            );
        }
        self.gone.load(Ordering::Relaxed)
    }

    /// Replaces the error of an access that failed with [`Error::DatabaseGone`] if the files are gone.
    pub fn reason_for(&self, error: Error) -> Error {
        if matches!(error, Error::Unavailable) && self.are_gone() { Error::DatabaseGone } else { error }
    }

    /// Fails if the files are gone. Checks them if the last check is a while ago.
    pub fn check(&self) -> Result<(), Error> {
        let is_due = self.checked.lock().unwrap_or_else(PoisonError::into_inner).elapsed() >= EVERY;
        let gone = if is_due { self.are_gone() } else { self.gone.load(Ordering::Relaxed) };
        if gone { Err(Error::DatabaseGone) } else { Ok(()) }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn must_not_miss_the_write_ahead_log_of_a_database_that_was_closed() {
        let place = tempfile::tempdir().expect("a directory");
        let [path, log] = ["a.db", "a.db-wal"].map(|name| place.path().join(name));
        for path in [&path, &log] {
            std::fs::write(path, "x").expect("written");
        }
        let files = Files::of(&path);
        files.close();
        std::fs::remove_file(log).expect("removed");
        assert!(!files.are_gone());
    }

    #[test]
    fn must_notice_each_way_in_which_a_file_goes() {
        let place = tempfile::tempdir().expect("a directory");
        let [path, log] = ["a.db", "a.db-wal"].map(|name| place.path().join(name));
        let write = || [&path, &log].map(|path| std::fs::write(path, "x").expect("written"));
        write();
        assert!(!Files::of(&path).are_gone());
        for gone in [&path, &log] {
            let files = Files::of(&path);
            std::fs::write(gone, "changed").expect("written");
            assert!(!files.are_gone(), "the same file");
            std::fs::rename(gone, place.path().join("away")).expect("renamed");
            assert!(files.are_gone());
            write();
            assert!(files.are_gone(), "also when another file has its name");
            let files = Files::of(&path);
            std::fs::copy(gone, place.path().join("copy")).expect("copied");
            std::fs::rename(place.path().join("copy"), gone).expect("renamed");
            assert!(files.are_gone(), "replaced");
        }
    }
}
