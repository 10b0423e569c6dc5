//! What makes a directory a directory of keys: its identity, its lock, its permissions.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use super::shard::{self, PLATFORM};
use crate::KeyError;

const IDENTITY: &str = "identity";
/// The identity before it is complete.
const UNFINISHED: &str = "identity.tmp";
const LOCK: &str = "lock";
const TURN: &str = "lock-turn";
/// First word of the identity file. The number is the version of the format of the directory.
const FORMAT: &str = "tenancy-keys-1";

/// Makes the directory, its identity, and the file for shared keys, unless it is a directory of keys already.
pub(super) fn create(path: &Path) -> Result<(), KeyError> {
    let failed = |error: io::Error| unavailable(path, "create", &error);
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(failed)?;
    check_permissions(path)?;
    // Another process may make the directory at this moment.
    let platform = shard::path(path, PLATFORM);
    let is_own = |name: &std::ffi::OsStr| {
        platform.file_name() == Some(name) || [LOCK, TURN, IDENTITY, UNFINISHED].iter().any(|own| name == *own)
    };
    let entries = fs::read_dir(path).and_then(|entries| entries.collect::<io::Result<Vec<_>>>()).map_err(failed)?;
    if path.join(IDENTITY).exists() {
        return Ok(());
    }
    if let Some(foreign) = entries.iter().map(fs::DirEntry::file_name).find(|name| !is_own(name)) {
        return Err(KeyError::Refused(format!(
            "{} is not empty and is no directory of keys: it contains {}. Name an empty or a new directory.",
            path.display(),
            foreign.display()
        )));
    }
    let _lock = Lock::exclusive(path)?;
    // Another process may have made it before this one got the lock.
    if path.join(IDENTITY).exists() {
        return Ok(());
    }
    // It exists from the start: if it is missing later, the directory was restored in part, and the shared keys are lost.
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(false).mode(0o600);
    options.open(shard::path(path, PLATFORM)).and_then(|file| file.sync_all()).map_err(failed)?;
    write_identity(path).map_err(failed)
}

fn write_identity(path: &Path) -> io::Result<()> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(io::Error::other)?;
    let identity: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let (unfinished, finished) = (path.join(UNFINISHED), path.join(IDENTITY));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    file.write_all(format!("{FORMAT} {identity}\n").as_bytes())?;
    file.sync_all()?;
    fs::rename(unfinished, finished)?;
    shard::sync_directory(path)
}

/// Reads the identity of the directory.
pub(super) fn identity(path: &Path) -> Result<String, KeyError> {
    let text = match fs::read_to_string(path.join(IDENTITY)) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(KeyError::Refused(format!(
                "{} is no directory of keys: it has no file `{IDENTITY}`. Name the directory that the other processes \
                 use, mount it, or restore it from its own backup. Backups of the database do not contain it.",
                path.display()
            )));
        }
        Err(error) => return Err(unavailable(path, "read", &error)),
    };
    match text.trim_end().split_once(' ') {
        Some((FORMAT, identity)) if !identity.is_empty() => Ok(identity.to_owned()),
        _ => Err(KeyError::Refused(format!(
            "The file `{IDENTITY}` in {} is damaged, or a newer release wrote it. It must begin with `{FORMAT}`.",
            path.display()
        ))),
    }
}

/// Proves that the directory still is the one of the start of this process: it may not be mounted at this moment, or
/// another one may be there.
pub(super) fn check_identity(path: &Path, expected: &str) -> Result<(), KeyError> {
    match identity(path) {
        Ok(found) if found == expected => Ok(()),
        Err(error @ KeyError::Unavailable(_)) => Err(error),
        _ => Err(KeyError::Unavailable(format!(
            "The directory of keys {} is gone, or another one is in its place. Mount the one that was there when this \
             process started.",
            path.display()
        ))),
    }
}

/// Refuses a directory, or a file in it, that other users can read.
pub(super) fn check_permissions(path: &Path) -> Result<(), KeyError> {
    let mode = |path: &Path| fs::metadata(path).map(|metadata| metadata.permissions().mode() & 0o777);
    let failed = |error: io::Error| unavailable(path, "read", &error);
    let found = mode(path).map_err(failed)?;
    if found & 0o077 != 0 {
        return Err(KeyError::Refused(format!(
            "Other users can open the directory of keys {0} (mode {found:04o}). Run `chmod 700 {0}`.",
            path.display()
        )));
    }
    for entry in fs::read_dir(path).map_err(failed)? {
        let file = entry.map_err(failed)?.path();
        // A file may be renamed or removed by another process at this moment.
        let Ok(found) = mode(&file) else { continue };
        if found & 0o077 != 0 {
            return Err(KeyError::Refused(format!(
                "Other users can open the key file {0} (mode {found:04o}). Run `chmod 600 {0}`.",
                file.display()
            )));
        }
    }
    Ok(())
}

/// The lock of the directory. It is released when this is dropped, also if the process is killed.
pub(super) struct Lock(#[expect(dead_code, reason = "closing the file releases the lock")] File);

impl Lock {
    /// Waits until this process alone may change files.
    pub(super) fn exclusive(path: &Path) -> Result<Self, KeyError> {
        Self::open(path, File::lock)
    }

    /// Waits until no process changes files.
    pub(super) fn shared(path: &Path) -> Result<Self, KeyError> {
        Self::open(path, File::lock_shared)
    }

    fn open(path: &Path, wait: impl Fn(&File) -> io::Result<()>) -> Result<Self, KeyError> {
        let lock = || {
            // Who waits for the lock holds the turn, so that a busy process cannot take the lock again and again before
            // the others.
            let turn = lock_file(&path.join(TURN))?;
            turn.lock()?;
            let file = lock_file(&path.join(LOCK))?;
            wait(&file)?;
            Ok(Self(file))
        };
        lock().map_err(|error| unavailable(path, "lock", &error))
    }
}

fn lock_file(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// The error of a file operation on the directory.
pub(super) fn unavailable(path: &Path, verb: &str, error: &io::Error) -> KeyError {
    KeyError::Unavailable(format!("Cannot {verb} the directory of keys {}: {error}.", path.display()))
}
