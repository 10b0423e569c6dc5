//! The keys of a directory: those in memory, and where to find the others.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError, RwLock};

use quick_cache::sync::Cache;

use super::marker::{self, Lock};
use super::record::{self, Line};
use super::shard::{self, Found, PLATFORM};
use super::wrapping_key::WrappingKey;
use crate::{KeyError, KeyName};

const MAX_RECENT_KEYS: usize = 4096;

/// What the thread that changes files and those that read them share.
pub(super) struct Keys {
    pub(super) path: PathBuf,
    pub(super) identity: String,
    platform: RwLock<Platform>,
    /// Keys of tenants that this process created last; they are needed once more, to wrap the data key.
    recent: Cache<KeyName, Arc<WrappingKey>>,
    /// How often created keys were made durable.
    pub(super) syncs: AtomicU64,
}

/// Keys that belong to no tenant, all of them.
#[derive(Default)]
struct Platform {
    keys: HashMap<KeyName, Arc<WrappingKey>>,
    /// How often the keys were changed in memory.
    changes: u64,
}

impl Keys {
    /// Proves that the path is a directory of keys, and reads the keys that belong to no tenant.
    pub(super) fn open(path: &Path, creates: bool) -> Result<Self, KeyError> {
        if creates {
            marker::create(path)?;
        }
        let path = path.canonicalize().map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => KeyError::Refused(format!(
                "There is no directory of keys {}. Name the directory that the other processes use, mount it, or restore \
                 it from its own backup. Backups of the database do not contain it.",
                path.display()
            )),
            _ => marker::unavailable(path, "open", &error),
        })?;
        let identity = marker::identity(&path)?;
        marker::check_permissions(&path)?;
        let recent = Cache::new(MAX_RECENT_KEYS);
        let keys = Self { path, identity, platform: RwLock::default(), recent, syncs: AtomicU64::new(0) };
        keys.read_platform(None)?;
        Ok(keys)
    }

    /// Returns a key without reading files.
    pub(super) fn in_memory(&self, name: &KeyName) -> Option<Arc<WrappingKey>> {
        if name.is_of_a_tenant() {
            return self.recent.get(name);
        }
        self.platform.read().unwrap_or_else(PoisonError::into_inner).keys.get(name).cloned()
    }

    /// Keeps keys in memory that are durable now.
    pub(super) fn remember(&self, name: &KeyName, key: Arc<WrappingKey>) {
        if name.is_of_a_tenant() {
            self.recent.insert(name.clone(), key);
        } else {
            self.change_platform(|keys| keys.insert(name.clone(), key));
        }
    }

    /// Forgets keys that are destroyed now.
    pub(super) fn forget(&self, name: &KeyName) {
        self.recent.remove(name);
        self.change_platform(|keys| keys.remove(name));
    }

    fn change_platform<T>(&self, change: impl FnOnce(&mut HashMap<KeyName, Arc<WrappingKey>>) -> T) {
        let mut platform = self.platform.write().unwrap_or_else(PoisonError::into_inner);
        change(&mut platform.keys);
        platform.changes += 1;
    }

    /// Refuses to go on if the directory of the start is not there.
    pub(super) fn check_identity(&self) -> Result<(), KeyError> {
        marker::check_identity(&self.path, &self.identity)
    }

    /// Reads all keys that belong to no tenant, including those that another process created or destroyed. `lock` is the
    /// lock that the caller holds.
    pub(super) fn read_platform(&self, lock: Option<&Lock>) -> Result<(), KeyError> {
        loop {
            let changes = self.platform.read().unwrap_or_else(PoisonError::into_inner).changes;
            let found = self.platform_in_file()?;
            if lock.is_none() && !self.has_in_memory(&found) {
                return self.read_changed_platform();
            }
            let mut platform = self.platform.write().unwrap_or_else(PoisonError::into_inner);
            // What was read may be older than what another thread has put into memory meanwhile.
            if platform.changes == changes {
                *platform = Platform { keys: found, changes: changes + 1 };
                return Ok(());
            }
        }
    }

    fn has_in_memory(&self, found: &HashMap<KeyName, Arc<WrappingKey>>) -> bool {
        let platform = self.platform.read().unwrap_or_else(PoisonError::into_inner);
        platform.keys.len() == found.len() && found.keys().all(|name| platform.keys.contains_key(name))
    }

    /// A key that another process writes at this moment is not durable yet: it must not wrap anything. And a file that is
    /// rewritten at this moment may not show keys that it has.
    fn read_changed_platform(&self) -> Result<(), KeyError> {
        let lock = Lock::shared(&self.path)?;
        // If that process was killed before it synced the file, this does it.
        let synced = shard::sync(&shard::path(&self.path, PLATFORM));
        synced.map_err(|error| marker::unavailable(&self.path, "sync", &error))?;
        self.read_platform(Some(&lock))
    }

    fn platform_in_file(&self) -> Result<HashMap<KeyName, Arc<WrappingKey>>, KeyError> {
        self.check_identity()?;
        let path = shard::path(&self.path, PLATFORM);
        let read = shard::read(&path).map_err(|error| marker::unavailable(&self.path, "read", &error))?;
        let Some(bytes) = read else {
            return Err(KeyError::Unavailable(format!(
                "The key file {} is missing: it has the shared keys. Restore it from the backup of the directory of keys.",
                path.display()
            )));
        };
        let mut found = HashMap::new();
        for (_, line) in shard::lines(&bytes) {
            let (name, secret) = match record::parse(line) {
                Line::Live { name, secret } => (KeyName::parse(name)?, record::decode(secret)),
                Line::Destroyed => continue,
                Line::Damaged => {
                    tracing::warn!(path = %path.display(), "a record of this key file is damaged");
                    continue;
                }
            };
            let key = secret.and_then(|secret| WrappingKey::new(name.clone(), PLATFORM, &secret));
            found.extend(key.map(|key| (name, Arc::new(key))));
        }
        Ok(found)
    }

    /// Returns the shared key with the highest number of those in memory.
    pub(super) fn newest_shared(&self) -> Option<KeyName> {
        let platform = self.platform.read().unwrap_or_else(PoisonError::into_inner);
        platform
            .keys
            .keys()
            .max_by_key(|name| name.shared_number())
            .filter(|name| name.shared_number().is_some())
            .cloned()
    }

    /// Returns a key that is not in memory.
    pub(super) fn find(&self, name: &KeyName) -> Result<Arc<WrappingKey>, KeyError> {
        if !name.is_of_a_tenant() {
            self.read_platform(None)?;
            return self.in_memory(name).map_or_else(|| self.look(name, &[PLATFORM]), Ok);
        }
        let shards = shard::of_tenants(&self.path).map_err(|error| marker::unavailable(&self.path, "read", &error))?;
        self.find_in(name, &shards)
    }

    /// Returns a key that is in one of these files.
    pub(super) fn find_in(&self, name: &KeyName, shards: &[u32]) -> Result<Arc<WrappingKey>, KeyError> {
        if let Ok(key) = self.look(name, shards) {
            return Ok(key);
        }
        // A file that is rewritten at this moment may not show a key that it has. The second look excludes that.
        self.check_identity()?;
        let _lock = Lock::shared(&self.path)?;
        self.check_identity()?;
        self.look(name, shards)
    }

    /// Looks into files without a lock.
    pub(super) fn look(&self, name: &KeyName, shards: &[u32]) -> Result<Arc<WrappingKey>, KeyError> {
        for shard in shards {
            let path = shard::path(&self.path, *shard);
            let read = shard::read(&path).map_err(|error| marker::unavailable(&self.path, "read", &error))?;
            let key = match read.as_deref().map_or(Found::Absent, |bytes| shard::find(bytes, name)) {
                Found::Secret(secret) => WrappingKey::new(name.clone(), *shard, &secret),
                Found::Absent => continue,
                Found::Damaged => None,
            };
            return key.map(Arc::new).ok_or_else(|| {
                KeyError::Unavailable(format!(
                    "The record of {name} in {} is damaged. Restore this file from the backup of the directory of keys.",
                    path.display()
                ))
            });
        }
        Err(KeyError::Missing(name.clone()))
    }
}
