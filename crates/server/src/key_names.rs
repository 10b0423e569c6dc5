//! Cache of the names of keys, for answers that show actors. The name and scope of a key never change, so entries stay
//! valid.

use crate::tenancy::Tenancy;
use quick_cache::sync::Cache;
use std::collections::BTreeSet;
use std::sync::Arc;
use tenancy_api::viewpoint::{KeyName, Names};
use tenancy_core::Error;
use tenancy_core::apikey::ApiKey;
use tenancy_core::ids::KeyId;

/// Maximum number of names in the cache.
const MAX_NAMES: usize = 10_000;

/// Names by key id.
#[derive(Debug)]
pub struct KeyNames(Cache<String, Arc<KeyName>>);

impl Default for KeyNames {
    fn default() -> Self {
        Self(Cache::new(MAX_NAMES))
    }
}

impl Names for KeyNames {
    fn name(&self, key_id: &str) -> Option<Arc<KeyName>> {
        self.0.get(key_id)
    }
}

impl KeyNames {
    /// Adds the name of a key.
    fn add(&self, key: &ApiKey) {
        let name = KeyName { name: key.name.clone(), is_scoped: !key.scope.is_all() };
        self.0.insert(key.key_id.to_string(), Arc::new(name));
    }
}

impl Tenancy {
    /// Reads the missing names of the keys among these actors, in one statement.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn load_key_names(&self, actors: impl IntoIterator<Item = &str>) -> Result<(), Error> {
        let names = &self.key_names;
        let ids = actors.into_iter().filter_map(|actor| actor.strip_prefix("user:"));
        let unknown: BTreeSet<&str> = ids.filter(|id| names.name(id).is_none()).collect();
        if unknown.is_empty() {
            return Ok(());
        }
        let ids: Vec<_> = unknown.into_iter().map(KeyId::known).collect();
        self.store.api_keys_by_ids(&ids).await?.iter().for_each(|key| names.add(key));
        Ok(())
    }
}
