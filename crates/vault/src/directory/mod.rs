//! Keys in files of a directory, outside the data directory. `docs/keys-at-rest.md` describes the format.

mod marker;
mod record;
mod shard;
mod wrapping_key;
mod writer;

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use quick_cache::sync::Cache;
use tokio::sync::{mpsc, oneshot};

use self::marker::Lock;
use self::record::Line;
use self::shard::{Found, PLATFORM};
use self::wrapping_key::WrappingKey;
use self::writer::{Change, Command};
use crate::{KeyError, KeyName, KeyService};

/// Longest time that a change of key files may take; then the caller gets an error.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Most requests that wait for the thread that changes files.
const MAX_WAITING: usize = 4096;
/// Keys of tenants that this process created last; they are needed once more, to wrap the data key.
const MAX_RECENT_KEYS: usize = 4096;
/// Bytes of the number of the file at the start of a wrapped key.
const SHARD_LENGTH_BYTES: usize = 4;

/// A directory of keys. Several processes may use one directory at the same time.
pub struct Directory {
    keys: Arc<Keys>,
    commands: mpsc::Sender<Command>,
}

/// What the thread that changes files and those that read them share.
struct Keys {
    path: PathBuf,
    identity: String,
    /// Keys that belong to no tenant, all of them.
    platform: RwLock<HashMap<KeyName, Arc<WrappingKey>>>,
    recent: Cache<KeyName, Arc<WrappingKey>>,
}

impl Directory {
    /// Makes a directory of keys with mode 0700 and opens it. Opens it only if it is one already. Call this in a new
    /// installation: after a loss of the keys, an empty directory does not help.
    ///
    /// # Errors
    /// If the directory cannot be made, contains other files, or other users can open it.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        marker::create(path)?;
        Self::open(path)
    }

    /// Opens a directory of keys that exists.
    ///
    /// # Errors
    /// If it is missing, is no directory of keys, or other users can open it.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
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
        let keys = Arc::new(Keys { path, identity, platform: RwLock::default(), recent });
        keys.read_platform()?;
        let (commands, waiting) = mpsc::channel(MAX_WAITING);
        let working = Arc::clone(&keys);
        std::thread::Builder::new()
            .name("keys".to_owned())
            .spawn(move || writer::run(&working, waiting))
            .map_err(|error| KeyError::Unavailable(format!("Cannot start the thread that writes keys: {error}.")))?;
        Ok(Self { keys, commands })
    }

    /// Path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.keys.path
    }

    async fn change(&self, change: Change, names: Vec<KeyName>) -> Result<(), KeyError> {
        let late = || {
            KeyError::Unavailable(format!(
                "The directory of keys {} did not answer within {} seconds. Check its disk, and whether a stopped process \
                 holds its lock.",
                self.keys.path.display(),
                TIME_LIMIT.as_secs()
            ))
        };
        let (answer, answered) = oneshot::channel();
        let work = async {
            self.commands.send(Command { change, names, answer }).await.map_err(|_| late())?;
            answered.await.map_err(|_| late())?
        };
        tokio::time::timeout(TIME_LIMIT, work).await.map_err(|_| late())?
    }

    /// Reads files on a thread where that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Keys) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let keys = Arc::clone(&self.keys);
        let done = tokio::task::spawn_blocking(move || read(&keys)).await;
        done.map_err(|error| KeyError::Unavailable(format!("Reading keys was stopped: {error}.")))?
    }

    async fn key(&self, name: &KeyName) -> Result<Arc<WrappingKey>, KeyError> {
        if let Some(key) = self.keys.in_memory(name) {
            return Ok(key);
        }
        let name = name.clone();
        self.blocking(move |keys| keys.find(&name)).await
    }

    /// Finds the key of a wrapped data key. The key of a tenant is read from its file, so that it cannot be used here after
    /// another process destroyed it.
    async fn key_in(&self, name: &KeyName, shard: u32) -> Result<Arc<WrappingKey>, KeyError> {
        if !name.is_of_a_tenant() {
            return self.key(name).await;
        }
        let name = name.clone();
        self.blocking(move |keys| keys.find_in(&name, &[shard])).await
    }
}

impl Keys {
    /// Returns a key without reading files.
    fn in_memory(&self, name: &KeyName) -> Option<Arc<WrappingKey>> {
        if name.is_of_a_tenant() {
            return self.recent.get(name);
        }
        self.platform.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned()
    }

    fn remember(&self, name: &KeyName, key: Arc<WrappingKey>) {
        if name.is_of_a_tenant() {
            self.recent.insert(name.clone(), key);
        } else {
            self.platform.write().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), key);
        }
    }

    fn forget(&self, name: &KeyName) {
        self.recent.remove(name);
        self.platform.write().unwrap_or_else(PoisonError::into_inner).remove(name);
    }

    /// Reads all keys that belong to no tenant, including those that another process created or destroyed.
    fn read_platform(&self) -> Result<(), KeyError> {
        let path = shard::path(&self.path, PLATFORM);
        let failed = |error: io::Error| marker::unavailable(&self.path, "read", &error);
        let bytes = shard::read(&path).map_err(failed)?.unwrap_or_else(|| Vec::new().into());
        let mut found = HashMap::new();
        for (_, line) in shard::lines(&bytes) {
            let Line::Live { name, secret } = record::parse(line) else { continue };
            let name = KeyName::parse(name)?;
            let key = record::decode(secret).and_then(|secret| WrappingKey::new(name.clone(), PLATFORM, &secret));
            found.extend(key.map(|key| (name, Arc::new(key))));
        }
        *self.platform.write().unwrap_or_else(PoisonError::into_inner) = found;
        Ok(())
    }

    fn newest_shared(&self) -> Option<KeyName> {
        let platform = self.platform.read().unwrap_or_else(PoisonError::into_inner);
        platform.keys().max_by_key(|name| name.shared_number()).filter(|name| name.shared_number().is_some()).cloned()
    }

    fn find(&self, name: &KeyName) -> Result<Arc<WrappingKey>, KeyError> {
        if !name.is_of_a_tenant() {
            self.read_platform()?;
            return self.in_memory(name).ok_or_else(|| KeyError::Missing(name.clone()));
        }
        let shards = shard::of_tenants(&self.path).map_err(|error| marker::unavailable(&self.path, "read", &error))?;
        self.find_in(name, &shards)
    }

    fn find_in(&self, name: &KeyName, shards: &[u32]) -> Result<Arc<WrappingKey>, KeyError> {
        if let Ok(key) = self.look(name, shards) {
            return Ok(key);
        }
        // A file that is rewritten at this moment may not show a key that it has. The second look excludes that.
        let _lock = Lock::shared(&self.path)?;
        marker::identity(&self.path)?;
        self.look(name, shards)
    }

    fn look(&self, name: &KeyName, shards: &[u32]) -> Result<Arc<WrappingKey>, KeyError> {
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

impl KeyService for Directory {
    fn create(&self, names: Vec<KeyName>) -> BoxFuture<'_, Result<(), KeyError>> {
        self.change(Change::Create, names).boxed()
    }

    fn wrap(&self, name: &KeyName, plain: Vec<u8>, context: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>> {
        let (name, plain) = (name.clone(), crate::erased::Erased::from(plain));
        async move { Ok(self.key(&name).await?.wrap(&plain, &context)) }.boxed()
    }

    fn unwrap(&self, name: &KeyName, wrapped: Vec<u8>, context: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>> {
        let name = name.clone();
        async move {
            let Some((shard, sealed)) = wrapped.split_first_chunk::<SHARD_LENGTH_BYTES>() else {
                return Err(KeyError::Refused(format!("A data key under {name} is damaged: it is too short.")));
            };
            self.key_in(&name, u32::from_be_bytes(*shard)).await?.unwrap(sealed, &context)
        }
        .boxed()
    }

    fn destroy(&self, names: Vec<KeyName>) -> BoxFuture<'_, Result<(), KeyError>> {
        self.change(Change::Destroy, names).boxed()
    }

    fn sign(&self, name: &KeyName, message: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>> {
        let name = name.clone();
        async move { self.key(&name).await?.sign(&message) }.boxed()
    }

    fn public_key(&self, name: &KeyName) -> BoxFuture<'_, Result<Vec<u8>, KeyError>> {
        let name = name.clone();
        async move { Ok(self.key(&name).await?.public_key()) }.boxed()
    }

    fn newest_shared(&self) -> BoxFuture<'_, Result<Option<KeyName>, KeyError>> {
        self.blocking(|keys| {
            keys.read_platform()?;
            Ok(keys.newest_shared())
        })
        .boxed()
    }

    fn identity(&self) -> BoxFuture<'_, Result<String, KeyError>> {
        self.blocking(|keys| marker::identity(&keys.path)).boxed()
    }
}
