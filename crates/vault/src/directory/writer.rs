//! The thread that changes key files. What waits meanwhile is done together: the keys of many requests with one fsync.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::sync::{mpsc, oneshot};

use super::keys::Keys;
use super::marker::{self, Lock};
use super::record;
use super::shard::{self, FULL_LENGTH_BYTES, PLATFORM};
use super::wrapping_key::{SECRET_LENGTH_BYTES, WrappingKey};
use crate::erased::Erased;
use crate::{KeyError, KeyName};

/// Most requests that one batch takes.
const MAX_BATCH: usize = 1024;

/// One request to the thread.
pub(super) struct Command {
    pub(super) change: Change,
    pub(super) names: Vec<KeyName>,
    pub(super) answer: oneshot::Sender<Result<(), KeyError>>,
}

/// What to do with the names.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Change {
    Create,
    Destroy,
}

/// Works until the directory is dropped.
pub(super) fn run(keys: &Keys, mut commands: mpsc::Receiver<Command>) {
    let mut batch = Vec::new();
    let mut shard = 1;
    while let Some(first) = commands.blocking_recv() {
        batch.push(first);
        while batch.len() < MAX_BATCH
            && let Ok(next) = commands.try_recv()
        {
            batch.push(next);
        }
        let (creates, destroys): (Vec<_>, Vec<_>) = batch.drain(..).partition(|one| one.change == Change::Create);
        answer(creates, |names| create(keys, names, &mut shard));
        answer(destroys, |names| destroy(keys, names));
    }
}

fn answer(commands: Vec<Command>, work: impl FnOnce(&[KeyName]) -> Result<(), KeyError>) {
    if commands.is_empty() {
        return;
    }
    let names: Vec<KeyName> = commands.iter().flat_map(|one| one.names.iter().cloned()).collect();
    let done = work(&names);
    for one in commands {
        // The caller may have stopped waiting.
        let _ = one.answer.send(done.clone());
    }
}

/// Locks the directory for changes.
fn lock(keys: &Keys) -> Result<Lock, KeyError> {
    // Before the lock, because that would create its file in a foreign directory; after it, because it may take long.
    keys.check_identity()?;
    let lock = Lock::exclusive(&keys.path)?;
    keys.check_identity()?;
    shard::remove_unfinished(&keys.path).map_err(|error| marker::unavailable(&keys.path, "write", &error))?;
    Ok(lock)
}

fn create(keys: &Keys, names: &[KeyName], shard: &mut u32) -> Result<(), KeyError> {
    let lock = lock(keys)?;
    let (of_tenants, platform): (Vec<_>, Vec<_>) = names.iter().partition(|name| name.is_of_a_tenant());
    if !platform.is_empty() {
        keys.read_platform(Some(&lock))?;
        refuse_damaged(keys, &platform)?;
        append(keys, platform, PLATFORM)?;
    }
    if of_tenants.is_empty() {
        return Ok(());
    }
    *shard = with_room(&keys.path, *shard).map_err(|error| marker::unavailable(&keys.path, "read", &error))?;
    append(keys, of_tenants, *shard)
}

/// A key whose record is damaged may be restored; a new key of this name would take its place.
fn refuse_damaged(keys: &Keys, names: &[&KeyName]) -> Result<(), KeyError> {
    for name in names {
        match keys.in_memory(name).map_or_else(|| keys.look(name, &[PLATFORM]), Ok) {
            Ok(_) | Err(KeyError::Missing(_)) => {}
            Err(damaged) => return Err(damaged),
        }
    }
    Ok(())
}

/// Returns the first file from this one on that is not full.
fn with_room(directory: &Path, mut shard: u32) -> std::io::Result<u32> {
    loop {
        match shard::path(directory, shard).metadata() {
            Ok(metadata) if metadata.len() >= FULL_LENGTH_BYTES => shard += 1,
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => return Ok(shard),
        }
    }
}

/// Appends those keys that do not exist, and keeps them in memory.
fn append(keys: &Keys, names: Vec<&KeyName>, shard: u32) -> Result<(), KeyError> {
    let mut created = Vec::new();
    let mut lines = Vec::new();
    let mut seen = HashSet::new();
    for name in names {
        if keys.in_memory(name).is_some() || !seen.insert(name) {
            continue;
        }
        let secret = Erased::random(SECRET_LENGTH_BYTES)
            .map_err(|error| KeyError::Unavailable(format!("No random bytes for a key: {error}.")))?;
        lines.push(record::line(name, &secret));
        created.extend(WrappingKey::new(name.clone(), shard, &secret).map(|key| (name, key)));
    }
    if !lines.is_empty() {
        shard::append(&keys.path, shard, &lines).map_err(|error| marker::unavailable(&keys.path, "write", &error))?;
        keys.syncs.fetch_add(1, Ordering::Relaxed);
    }
    for (name, key) in created {
        keys.remember(name, Arc::new(key));
    }
    Ok(())
}

fn destroy(keys: &Keys, names: &[KeyName]) -> Result<(), KeyError> {
    let _lock = lock(keys)?;
    let wanted: HashSet<&[u8]> = names.iter().map(|name| name.as_str().as_bytes()).collect();
    let erase = || {
        if names.iter().any(|name| !name.is_of_a_tenant()) {
            shard::erase(&keys.path, PLATFORM, &wanted)?;
        }
        if names.iter().any(KeyName::is_of_a_tenant) {
            for shard in shard::of_tenants(&keys.path)? {
                shard::erase(&keys.path, shard, &wanted)?;
            }
        }
        Ok(())
    };
    let erased = erase();
    for name in names {
        keys.forget(name);
    }
    erased.map_err(|error: std::io::Error| marker::unavailable(&keys.path, "write", &error))
}
