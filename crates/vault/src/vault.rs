//! Creates, opens and re-wraps data keys.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use quick_cache::sync::Cache;

use crate::aead::KEY_LENGTH_BYTES;
use crate::erased::Erased;
use crate::{DataKey, KeyError, KeyName, KeyService};

/// A process notices a shared key that another process created within this time.
pub const SHARED_KEY_REFRESH: Duration = Duration::from_secs(5);

/// A data key as the database stores it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WrappedKey {
    /// Owner of the data key; empty for the platform's.
    pub tenant_id: String,
    /// Name of the key in the key service that unwraps it.
    pub wrapping_key: KeyName,
    /// The wrapped key, in base64.
    pub wrapped: String,
}

/// Data keys of tenants, with a bounded cache of opened ones.
pub struct Vault {
    keys: Arc<dyn KeyService>,
    /// By tenant.
    opened: Cache<String, Opened>,
    shared: Mutex<Option<Shared>>,
}

/// A data key in the cache, with the wrapped form that it was opened from.
#[derive(Clone)]
struct Opened {
    wrapped: Arc<str>,
    key: Arc<DataKey>,
}

/// The shared key that wraps new data keys.
struct Shared {
    name: KeyName,
    checked_at: Instant,
}

impl Vault {
    /// Keeps at most `max_cached_keys` opened data keys in memory, about 1 KiB each.
    #[must_use]
    pub fn new(service: Arc<dyn KeyService>, max_cached_keys: usize) -> Arc<Self> {
        Arc::new(Self { keys: service, opened: Cache::new(max_cached_keys), shared: Mutex::new(None) })
    }

    /// Creates a data key. With `of_its_own`, a wrapping key for this tenant alone is created first and is durable when this
    /// returns; otherwise the current shared key wraps the data key. The data key is not in the cache until [`Vault::keep`],
    /// because the commit that stores it may still fail.
    ///
    /// # Errors
    /// If the key service is unavailable or refuses.
    pub async fn create(&self, tenant_id: &str, of_its_own: bool) -> Result<(WrappedKey, Arc<DataKey>), KeyError> {
        let name = if of_its_own { self.own_key(tenant_id).await? } else { self.current_shared().await? };
        let plain = Erased::random(KEY_LENGTH_BYTES)
            .map_err(|error| KeyError::Unavailable(format!("No random bytes for a data key: {error}.")))?;
        let key = Arc::new(data_key(tenant_id, &plain, &name)?);
        Ok((self.wrap(tenant_id, name, plain).await?, key))
    }

    /// Opens a data key, or returns it from the cache.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if the wrapping key was destroyed.
    pub async fn open(&self, key: &WrappedKey) -> Result<Arc<DataKey>, KeyError> {
        if let Some(opened) = self.opened.get(key.tenant_id.as_str())
            && *opened.wrapped == *key.wrapped
        {
            return Ok(opened.key);
        }
        let plain = self.unwrap(key).await?;
        let opened = Arc::new(data_key(&key.tenant_id, &plain, &key.wrapping_key)?);
        self.keep(key, Arc::clone(&opened));
        self.notice(&key.wrapping_key);
        Ok(opened)
    }

    /// Puts a data key that was created into the cache. Call this after the commit that stored it.
    pub fn keep(&self, key: &WrappedKey, opened: Arc<DataKey>) {
        let wrapped = Arc::from(key.wrapped.as_str());
        self.opened.insert(key.tenant_id.clone(), Opened { wrapped, key: opened });
    }

    /// Returns a tenant's data key if it is in the cache. Re-wrapping a data key does not change it.
    #[must_use]
    pub fn cached(&self, tenant_id: &str) -> Option<Arc<DataKey>> {
        self.opened.get(tenant_id).map(|opened| opened.key)
    }

    /// Removes a tenant's data key from the cache.
    pub fn forget(&self, tenant_id: &str) {
        self.opened.remove(tenant_id);
    }

    /// Wraps a data key under the current shared key, from an older shared key or from a tenant's own key. `None` if the
    /// current shared key wraps it already. Destroy the old key after the new form is stored.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if the old wrapping key was destroyed.
    pub async fn rewrap(&self, key: &WrappedKey) -> Result<Option<WrappedKey>, KeyError> {
        let current = self.current_shared().await?;
        if key.wrapping_key == current {
            return Ok(None);
        }
        let plain = self.unwrap(key).await?;
        self.wrap(&key.tenant_id, current, plain).await.map(Some)
    }

    /// Wraps a data key under a new wrapping key of the tenant's own. Destroy the old key, if it is not shared, after the
    /// new form is stored.
    ///
    /// # Errors
    /// [`KeyError::Missing`] if the old wrapping key was destroyed.
    pub async fn rewrap_of_its_own(&self, key: &WrappedKey) -> Result<WrappedKey, KeyError> {
        let plain = self.unwrap(key).await?;
        let name = self.own_key(&key.tenant_id).await?;
        self.wrap(&key.tenant_id, name, plain).await
    }

    /// Creates a new shared key, which wraps data keys from now on. Other processes use it within
    /// [`SHARED_KEY_REFRESH`].
    ///
    /// # Errors
    /// If the key service is unavailable or refuses.
    pub async fn rotate(&self) -> Result<KeyName, KeyError> {
        let newest = self.keys.newest_shared().await?;
        let number = newest.as_ref().and_then(KeyName::shared_number).unwrap_or(0);
        let name = KeyName::shared(number + 1);
        self.keys.create(vec![name.clone()]).await?;
        self.set_shared(name.clone());
        Ok(name)
    }

    /// Destroys a wrapping key for good: every data key that it wraps can no longer be opened.
    ///
    /// # Errors
    /// [`KeyError::Refused`] for the current shared key.
    pub async fn destroy(&self, name: &KeyName) -> Result<(), KeyError> {
        if name.shared_number().is_some() && self.keys.newest_shared().await?.as_ref() == Some(name) {
            return Err(KeyError::Refused(format!(
                "{name} is the current shared key, which wraps new data keys. Create a new shared key first."
            )));
        }
        self.keys.destroy(vec![name.clone()]).await
    }

    /// The key service itself.
    #[must_use]
    pub fn service(&self) -> &Arc<dyn KeyService> {
        &self.keys
    }

    /// Returns the shared key that wraps new data keys. Creates the first one.
    ///
    /// # Errors
    /// If the key service is unavailable or refuses.
    pub async fn current_shared(&self) -> Result<KeyName, KeyError> {
        let known = {
            let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
            match shared.as_mut() {
                Some(shared) if shared.checked_at.elapsed() < SHARED_KEY_REFRESH => return Ok(shared.name.clone()),
                // This caller asks the service; others go on with the known key meanwhile.
                Some(shared) => {
                    shared.checked_at = Instant::now();
                    Some(shared.name.clone())
                }
                None => None,
            }
        };
        let newest = match (self.keys.newest_shared().await, known) {
            (Ok(Some(newest)), _) => newest,
            // Another process may create the same one at this moment; both then use it.
            (Ok(None), _) => {
                let first = KeyName::shared(1);
                self.keys.create(vec![first.clone()]).await?;
                first
            }
            // A known key still wraps, also while the service cannot say whether there is a newer one.
            (Err(KeyError::Unavailable(cause)), Some(known)) => {
                tracing::warn!(cause, "cannot ask for a newer shared key");
                known
            }
            (Err(error), _) => return Err(error),
        };
        self.set_shared(newest.clone());
        Ok(newest)
    }

    fn set_shared(&self, name: KeyName) {
        *self.shared.lock().unwrap_or_else(PoisonError::into_inner) = Some(Shared { name, checked_at: Instant::now() });
    }

    /// A data key under a newer shared key shows that another process has rotated the shared key.
    fn notice(&self, name: &KeyName) {
        let mut shared = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = shared.as_mut()
            && name.shared_number() > known.name.shared_number()
        {
            known.name = name.clone();
        }
    }

    async fn own_key(&self, tenant_id: &str) -> Result<KeyName, KeyError> {
        let name = KeyName::of_tenant(tenant_id)?;
        self.keys.create(vec![name.clone()]).await?;
        Ok(name)
    }

    async fn wrap(&self, tenant_id: &str, name: KeyName, mut plain: Erased) -> Result<WrappedKey, KeyError> {
        let wrapped = self.keys.wrap(&name, std::mem::take(&mut *plain), context(tenant_id)).await?;
        Ok(WrappedKey { tenant_id: tenant_id.to_owned(), wrapping_key: name, wrapped: STANDARD.encode(wrapped) })
    }

    async fn unwrap(&self, key: &WrappedKey) -> Result<Erased, KeyError> {
        let wrapped = STANDARD.decode(&key.wrapped).map_err(|_| damaged(&key.tenant_id, &key.wrapping_key))?;
        self.keys.unwrap(&key.wrapping_key, wrapped, context(&key.tenant_id)).await.map(Erased::from)
    }
}

fn data_key(tenant_id: &str, plain: &[u8], wrapping_key: &KeyName) -> Result<DataKey, KeyError> {
    DataKey::new(tenant_id, plain).ok_or_else(|| damaged(tenant_id, wrapping_key))
}

/// Binds a wrapped data key to its owner. No tenant has the context of the platform.
fn context(tenant_id: &str) -> Vec<u8> {
    if tenant_id.is_empty() { b"platform".to_vec() } else { format!("tenant:{tenant_id}").into_bytes() }
}

fn damaged(tenant_id: &str, wrapping_key: &KeyName) -> KeyError {
    let owner = if tenant_id.is_empty() { "the platform" } else { tenant_id };
    KeyError::Refused(format!(
        "The data key of {owner} under {wrapping_key} is damaged. Restore its row in data_keys from a backup."
    ))
}
