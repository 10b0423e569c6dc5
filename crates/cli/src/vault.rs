//! Opens the keys that encrypt private data, for the commands that open the database directly.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::hosting::of_database;
use crate::program::{command, quoted};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tenancy_server::Config;
use tenancy_store::Store;
use tenancy_store::database::Database;
use tenancy_vault::directory::Directory;
use tenancy_vault::program::Program;
use tenancy_vault::{KeyError, Vault};

/// Mark of a database whose private data is encrypted. It names the keys.
const ENCRYPTED: &str = "keys";

/// Opens the keys of the configuration, and the database with them.
///
/// # Errors
/// Fails if no keys are configured, if they cannot be used, or if the database was used with other keys.
pub async fn open(config: &Config, database: &Database) -> Result<Store, Failure> {
    let vault = configured(config, database).await?;
    database.open(vault).await.map_err(of_database)
}

/// Opens the keys of the configuration. A directory that does not exist is made for a database that has no keys yet.
///
/// # Errors
/// Fails if no keys are configured, or if they cannot be used.
pub async fn configured(config: &Config, database: &Database) -> Result<Arc<Vault>, Failure> {
    if !config.keys.program.is_empty() {
        let limit = Duration::from_secs(config.keys.program_timeout_seconds);
        let program = Program::new(config.keys.program.clone(), limit).map_err(|error| refused(&error))?;
        return Ok(Vault::new(Arc::new(program), config.keys.max_cached_keys));
    }
    let beside = config.keys_beside_data();
    let directory = match config.keys.directory.as_os_str().is_empty() {
        false => config.keys.directory.clone(),
        true if beside.exists() => beside,
        true => return Err(not_configured(&beside)),
    };
    at(config, database, directory).await
}

/// Opens the keys of `dev`, which are beside the data directory, and makes them if they do not exist.
///
/// # Errors
/// Fails if they cannot be used, or if the database was used with keys that are gone.
pub async fn of_dev(config: &Config, database: &Database) -> Result<Arc<Vault>, Failure> {
    at(config, database, config.keys_beside_data()).await
}

async fn at(config: &Config, database: &Database, directory: PathBuf) -> Result<Arc<Vault>, Failure> {
    // New keys would not open what the lost ones have sealed.
    let makes = !directory.exists() && !database.is_marked(ENCRYPTED).await.map_err(of_database)?;
    let opening = move || {
        if !makes {
            return Directory::open(&directory);
        }
        let made = Directory::create(&directory)?;
        ignore(&directory).map_err(|error| KeyError::Unavailable(format!("{}: {error}", directory.display())))?;
        Ok(made)
    };
    let opened = tokio::task::spawn_blocking(opening).await;
    let opened = opened.map_err(|error| Failure::refused(format!("opening the keys was stopped: {error}")))?;
    let service = opened.map_err(|error| refused(&error))?;
    Ok(Vault::new(Arc::new(service), config.keys.max_cached_keys))
}

/// Prevents a commit of the keys to Git.
fn ignore(directory: &Path) -> std::io::Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(directory.join(".gitignore"))?.write_all(b"*\n")
}

fn refused(error: &KeyError) -> Failure {
    let exit = if matches!(error, KeyError::Unavailable(_)) { Exit::NoServer } else { Exit::Refused };
    Failure::new(exit, format!("the keys that encrypt private data cannot be used: {error}"))
}

fn not_configured(beside: &Path) -> Failure {
    let message = "no keys are configured: private data is stored encrypted, and the keys must be outside the database";
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    // A URL can contain a password, which must not be printed.
    let is_secret = arguments.iter().any(|argument| argument.contains("://") && argument.contains(['@', '?']));
    let directory = quoted(&beside.to_string_lossy()).into_owned();
    if is_secret {
        return Failure::refused(message).and(format!(
            "run the same command with --keys-dir DIR, a directory that all processes share, such as {directory}"
        ));
    }
    let same: Vec<_> = arguments.iter().map(|argument| quoted(argument)).collect();
    Failure::refused(message).and(format!(
        "{} makes them in that directory, or opens them; all processes on the database must use the same directory",
        command(&format!("{} --keys-dir {directory}", same.join(" ")))
    ))
}
