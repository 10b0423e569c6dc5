//! Keys in files of a directory, outside the data directory. `docs/keys-at-rest.md` describes the format.

mod keys;
mod marker;
mod record;
mod shard;
mod wrapping_key;
mod writer;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, oneshot};

use self::keys::Keys;
use self::wrapping_key::WrappingKey;
use self::writer::{Change, Command};
use crate::erased::Erased;
use crate::{KeyError, KeyName, KeyService};

/// Longest time that a change of key files may take; then the caller gets an error.
const TIME_LIMIT: Duration = Duration::from_secs(10);
/// Most requests that wait for the thread that changes files.
const MAX_WAITING: usize = 4096;
/// Bytes of the number of the file at the start of a wrapped key.
const SHARD_LENGTH_BYTES: usize = 4;

/// A directory of keys. Several processes may use one directory at the same time.
pub struct Directory {
    keys: Arc<Keys>,
    commands: mpsc::Sender<Command>,
}

impl Directory {
    /// Makes a directory of keys with mode 0700 and opens it. Opens it only if it is one already. Call this in a new
    /// installation: after a loss of the keys, an empty directory does not help.
    ///
    /// # Errors
    /// If the directory cannot be made, contains other files, or other users can open it.
    pub fn create(path: &Path) -> Result<Self, KeyError> {
        Self::start(path, true)
    }

    /// Opens a directory of keys that exists.
    ///
    /// # Errors
    /// If it is missing, is no directory of keys, or other users can open it.
    pub fn open(path: &Path) -> Result<Self, KeyError> {
        Self::start(path, false)
    }

    /// Starts the thread that changes files. It also opens the directory, so that the caller does not wait for ever if a
    /// stopped process holds the lock.
    fn start(path: &Path, creates: bool) -> Result<Self, KeyError> {
        let (commands, waiting) = mpsc::channel(MAX_WAITING);
        let (opened, opening) = std::sync::mpsc::channel();
        let place = path.to_owned();
        let work = move || {
            let keys = Keys::open(&place, creates).map(Arc::new);
            // The caller may have stopped waiting.
            if opened.send(keys.clone()).is_ok()
                && let Ok(keys) = keys
            {
                writer::run(&keys, waiting);
            }
        };
        let started = std::thread::Builder::new().name("keys".to_owned()).spawn(work);
        started
            .map_err(|error| KeyError::Unavailable(format!("Cannot start the thread that writes keys: {error}.")))?;
        let keys = opening.recv_timeout(TIME_LIMIT).map_err(|_| late(path))??;
        Ok(Self { keys, commands })
    }

    /// Path of the directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.keys.path
    }

    /// Returns how often this process synced a key file to make created keys durable. It is less than the number of created
    /// keys, because keys that are created at the same time share it.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.keys.syncs.load(Ordering::Relaxed)
    }

    async fn change(&self, change: Change, names: Vec<KeyName>) -> Result<(), KeyError> {
        let (answer, answered) = oneshot::channel();
        let work = async {
            self.commands.send(Command { change, names, answer }).await.map_err(|_| late(&self.keys.path))?;
            answered.await.map_err(|_| late(&self.keys.path))?
        };
        tokio::time::timeout(TIME_LIMIT, work).await.map_err(|_| late(&self.keys.path))?
    }

    /// Reads files on a thread where that may block.
    async fn blocking<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Keys) -> Result<T, KeyError> + Send + 'static,
    ) -> Result<T, KeyError> {
        let keys = Arc::clone(&self.keys);
        let reading = tokio::task::spawn_blocking(move || read(&keys));
        let done = tokio::time::timeout(TIME_LIMIT, reading).await.map_err(|_| late(&self.keys.path))?;
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

fn late(path: &Path) -> KeyError {
    KeyError::Unavailable(format!(
        "The directory of keys {} did not answer within {} seconds. Check its disk, and whether a stopped process holds its \
         lock.",
        path.display(),
        TIME_LIMIT.as_secs()
    ))
}

impl KeyService for Directory {
    fn create(&self, names: Vec<KeyName>) -> BoxFuture<'_, Result<(), KeyError>> {
        self.change(Change::Create, names).boxed()
    }

    fn wrap(&self, name: &KeyName, plain: Vec<u8>, context: Vec<u8>) -> BoxFuture<'_, Result<Vec<u8>, KeyError>> {
        let (name, plain) = (name.clone(), Erased::from(plain));
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
            keys.read_platform(None)?;
            Ok(keys.newest_shared())
        })
        .boxed()
    }

    fn identity(&self) -> BoxFuture<'_, Result<String, KeyError>> {
        self.blocking(|keys| marker::identity(&keys.path)).boxed()
    }
}
