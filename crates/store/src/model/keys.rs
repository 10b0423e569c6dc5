//! Keys of the model: names in memory. A wrapped key is not encrypted, which is enough for a model.

use futures_util::future::{BoxFuture, FutureExt as _, ready};
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};
use tenancy_vault::{KeyError, KeyName, KeyService, Vault};

/// Maximum number of data keys that a model keeps opened.
const MAX_CACHED_KEYS: usize = 1000;

#[derive(Default)]
struct Keys(Mutex<BTreeSet<KeyName>>);

/// Returns a vault whose keys are in memory.
pub fn vault() -> Arc<Vault> {
    Vault::new(Arc::new(Keys::default()), MAX_CACHED_KEYS)
}

/// Returns a vault on the keys that all stores of a test process share. Each store has its own cache, as separate
/// processes do: databases can have tenants of the same name.
pub fn shared() -> Arc<Vault> {
    static SHARED: LazyLock<Arc<Keys>> = LazyLock::new(Arc::default);
    Vault::new(Arc::clone(&SHARED) as Arc<dyn KeyService>, MAX_CACHED_KEYS)
}

impl Keys {
    fn with<T>(&self, work: impl FnOnce(&mut BTreeSet<KeyName>) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn has(&self, name: &KeyName) -> Result<(), KeyError> {
        if self.with(|names| names.contains(name)) { Ok(()) } else { Err(KeyError::Missing(name.clone())) }
    }
}

type Answer<'a, T> = BoxFuture<'a, Result<T, KeyError>>;

fn now<'a, T: Send + 'a>(answer: Result<T, KeyError>) -> Answer<'a, T> {
    ready(answer).boxed()
}

impl KeyService for Keys {
    fn create(&self, names: Vec<KeyName>) -> Answer<'_, ()> {
        self.with(|known| known.extend(names));
        now(Ok(()))
    }

    fn wrap(&self, name: &KeyName, plain: Vec<u8>, context: Vec<u8>) -> Answer<'_, Vec<u8>> {
        now(self.has(name).map(|()| [plain, context].concat()))
    }

    fn unwrap(&self, name: &KeyName, wrapped: Vec<u8>, context: Vec<u8>) -> Answer<'_, Vec<u8>> {
        let plain = wrapped.strip_suffix(context.as_slice()).map(<[u8]>::to_vec);
        let refused = || KeyError::Refused("another context".to_owned());
        now(self.has(name).and_then(|()| plain.ok_or_else(refused)))
    }

    fn destroy(&self, names: Vec<KeyName>) -> Answer<'_, ()> {
        self.with(|known| known.retain(|name| !names.contains(name)));
        now(Ok(()))
    }

    fn sign(&self, _: &KeyName, _: Vec<u8>) -> Answer<'_, Vec<u8>> {
        now(Err(KeyError::Refused("the model does not sign".to_owned())))
    }

    fn public_key(&self, _: &KeyName) -> Answer<'_, Vec<u8>> {
        now(Err(KeyError::Refused("the model does not sign".to_owned())))
    }

    fn newest_shared(&self) -> Answer<'_, Option<KeyName>> {
        now(Ok(self
            .with(|names| names.iter().max_by_key(|name| name.shared_number()).cloned())
            .filter(|name| name.shared_number().is_some())))
    }

    fn identity(&self) -> Answer<'_, String> {
        now(Ok("model".to_owned()))
    }
}
