//! The SQLite file of one environment, in a folder of its own.

use crate::{Fault, Wanted};
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension as _, params};
use serde_json::json;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;
use tenancy_core::ids::EnvironmentId;

/// How long a change of a file waits for a program that writes to it. Meanwhile nobody else changes a file of the folder; a job
/// that waited in vain tries again later.
const BUSY: Duration = Duration::from_millis(200);

/// The table of the control plane in each file. Programs can read it: which environment this is, and its quotas.
const SCHEMA: &str = "CREATE TABLE tenancy_environment (
    env_id TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL,
    name TEXT NOT NULL,
    fingerprint TEXT NOT NULL,
    settings TEXT NOT NULL
) STRICT";

/// The file of an environment.
#[derive(Debug)]
pub struct EnvironmentFile {
    /// Its path.
    pub path: PathBuf,
}

impl EnvironmentFile {
    /// Returns the file of a folder.
    pub fn in_folder(folder: &Path) -> Self {
        Self { path: folder.join("data.sqlite") }
    }

    /// Creates the folder with its file. A crash leaves either nothing under this name, or the whole file.
    pub fn create(folder: &Path, wanted: &Wanted, fingerprint: &str) -> Result<(), Fault> {
        let new = unfinished(folder);
        remove_folder(&new)?;
        create_folder(&new)?;
        let file = Self::in_folder(&new);
        let made = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&file.path);
        made.map_err(|error| unusable(&file.path, &error))?;
        let connection = file.open()?;
        let insert = "INSERT INTO tenancy_environment VALUES (?1, ?2, ?3, ?4, ?5)";
        let values =
            params![wanted.env_id.as_str(), wanted.tenant_id.as_str(), wanted.name, fingerprint, settings(wanted)];
        let filled = connection
            .pragma_update(None, "journal_mode", "WAL")
            .and_then(|()| connection.execute_batch(SCHEMA))
            .and_then(|()| connection.execute(insert, values));
        filled.map_err(|error| unreadable(&file.path, &error))?;
        connection.close().map_err(|(_, error)| unreadable(&file.path, &error))?;
        let synced = File::open(&file.path).and_then(|file| file.sync_all());
        synced.map_err(|error| unusable(&file.path, &error))?;
        sync_folder(&new)?;
        move_folder(&new, folder)
    }

    /// Returns the fingerprint, after a check that the file belongs to the environment.
    pub fn fingerprint(&self, env_id: &EnvironmentId) -> Result<String, Fault> {
        let connection = self.open_read_only()?;
        let text = "SELECT fingerprint FROM tenancy_environment WHERE env_id = ?1";
        let found = connection.query_row(text, [env_id.as_str()], |row| row.get(0)).optional();
        let strange = || {
            let path = shown(&self.path);
            Fault::Refused(format!("{path} does not belong to environment {env_id}: move it away, then try again"))
        };
        match found {
            Ok(Some(fingerprint)) => Ok(fingerprint),
            Ok(None) => Err(strange()),
            // The file has no such table.
            Err(rusqlite::Error::SqliteFailure(error, _)) if error.code == ErrorCode::Unknown => Err(strange()),
            Err(error) => Err(unreadable(&self.path, &error)),
        }
    }

    /// Writes the settings of the environment into the file.
    pub fn set_settings(&self, wanted: &Wanted) -> Result<(), Fault> {
        let settings = settings(wanted);
        let known = "SELECT settings FROM tenancy_environment WHERE env_id = ?1";
        let known = self.open_read_only()?.query_row(known, [wanted.env_id.as_str()], |row| row.get::<_, String>(0));
        if known.as_ref().is_ok_and(|known| *known == settings) {
            return Ok(());
        }
        let mode = self.mode()?;
        self.set_writable(true)?;
        let written = self.open()?.execute(
            "UPDATE tenancy_environment SET settings = ?1 WHERE env_id = ?2",
            params![settings, wanted.env_id.as_str()],
        );
        self.set_mode(mode)?;
        written.map(drop).map_err(|error| unreadable(&self.path, &error))
    }

    /// Checks that SQLite finds no fault in the file.
    pub fn check(&self) -> Result<(), Fault> {
        let found = self.open_read_only()?.query_row("PRAGMA quick_check(1)", [], |row| row.get::<_, String>(0));
        match found {
            Ok(word) if word == "ok" => Ok(()),
            Ok(fault) => {
                Err(Fault::Refused(format!("{} is damaged ({fault}): restore it from a backup", shown(&self.path))))
            }
            Err(error) => Err(unreadable(&self.path, &error)),
        }
    }

    /// Lets programs write to the file, or only read it.
    pub fn set_writable(&self, is_writable: bool) -> Result<(), Fault> {
        self.set_mode(if is_writable { 0o600 } else { 0o400 })
    }

    /// Returns the size of the file, in bytes, with its write-ahead log.
    pub fn bytes(&self) -> u64 {
        let log = self.path.with_extension("sqlite-wal");
        [&self.path, &log].into_iter().filter_map(|path| fs::metadata(path).ok()).map(|found| found.len()).sum()
    }

    fn mode(&self) -> Result<u32, Fault> {
        fs::metadata(&self.path).map(|found| found.permissions().mode()).map_err(|error| unusable(&self.path, &error))
    }

    fn set_mode(&self, mode: u32) -> Result<(), Fault> {
        fs::set_permissions(&self.path, Permissions::from_mode(mode)).map_err(|error| unusable(&self.path, &error))
    }

    fn open(&self) -> Result<Connection, Fault> {
        self.open_with(OpenFlags::SQLITE_OPEN_READ_WRITE)
    }

    fn open_read_only(&self) -> Result<Connection, Fault> {
        self.open_with(OpenFlags::SQLITE_OPEN_READ_ONLY)
    }

    fn open_with(&self, flags: OpenFlags) -> Result<Connection, Fault> {
        let opened = || {
            let connection = Connection::open_with_flags(&self.path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
            connection.busy_timeout(BUSY)?;
            connection.pragma_update(None, "synchronous", "FULL")?;
            Ok(connection)
        };
        opened().map_err(|error| unreadable(&self.path, &error))
    }
}

/// Creates a folder with access for its owner only, if it does not exist.
pub fn create_folder(folder: &Path) -> Result<(), Fault> {
    match DirBuilder::new().recursive(true).mode(0o700).create(folder) {
        Ok(()) => Ok(()),
        Err(error) => Err(unusable(folder, &error)),
    }
}

/// Lets only the owner use a folder.
pub fn keep_private(folder: &Path) -> Result<(), Fault> {
    fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(|error| unusable(folder, &error))
}

/// Whether there is something under this name. A disk that cannot be read is an error.
pub fn exists(path: &Path) -> Result<bool, Fault> {
    match fs::symlink_metadata(path) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(unusable(path, &error)),
    }
}

/// Returns the name that a folder has until it is complete.
pub fn unfinished(folder: &Path) -> PathBuf {
    folder.with_extension("new")
}

/// Removes a folder with its files, if it exists.
pub fn remove_folder(folder: &Path) -> Result<(), Fault> {
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(unusable(folder, &error)),
        _ => Ok(()),
    }
}

/// Moves a folder. It is durable under the new name when this returns.
pub fn move_folder(from: &Path, to: &Path) -> Result<(), Fault> {
    fs::rename(from, to).map_err(|error| unusable(from, &error))?;
    [from, to].into_iter().filter_map(Path::parent).try_for_each(sync_folder)
}

/// Makes the names in a folder durable.
pub fn sync_folder(folder: &Path) -> Result<(), Fault> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| unusable(folder, &error))
}

fn settings(wanted: &Wanted) -> String {
    json!({
        "region": wanted.region,
        "isolation_level": wanted.isolation_level,
        "quotas": wanted.quotas,
        "retention_days": wanted.retention_days,
        "policies": wanted.policies,
    })
    .to_string()
}

/// Returns the last two names of a path: customers see the errors of jobs, and not where the server keeps its data.
pub fn shown(path: &Path) -> String {
    let names: Vec<_> = path.iter().map(|name| name.to_string_lossy()).collect();
    names[names.len().saturating_sub(2)..].join("/")
}

fn unusable(path: &Path, error: &io::Error) -> Fault {
    tracing::warn!(path = %path.display(), %error, "a file of an environment cannot be used");
    Fault::Unavailable(format!("{} cannot be used: {error}", shown(path)))
}

fn unreadable(path: &Path, error: &rusqlite::Error) -> Fault {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            Fault::Refused(format!("{} is damaged ({error}): restore it from a backup", shown(path)))
        }
        Some(ErrorCode::CannotOpen) if !path.exists() => {
            Fault::Refused(format!("{} is gone: restore it from a backup", shown(path)))
        }
        _ => Fault::Unavailable(format!("{} cannot be used: {error}", shown(path))),
    }
}
