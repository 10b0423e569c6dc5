//! Private data is stored sealed: encrypted under the data key of its tenant, or of the platform. The database contains
//! the data keys only wrapped; the keys that wrap them are in the key service of the vault ([`tenancy_vault`]).
//!
//! Sealing happens where a commit is asked for, before it waits in the queue. Reads open what they return.

pub mod columns;
mod commit;
mod keys;
mod opening;
mod proof;

pub(crate) use commit::KeysOfCommit;
pub(crate) use keys::Held;
pub use keys::unusable;
pub(crate) use opening::{Keys, Opened};
pub use proof::MARK;

use crate::Store;
use tenancy_core::Error;
use tenancy_vault::{DataKey, is_sealed};

impl Store {
    /// Seals a text under the data key of a tenant, or of the platform if `tenant_id` is empty. `row` names the row and
    /// the column that the text is stored in, such as `webhook/whk_1/secret`; only [`Store::open_for`] with the same two
    /// names opens it.
    ///
    /// # Errors
    /// [`Error::NotNow`] if the tenant has no data key, because it is not registered or was purged: the text must not be
    /// stored. [`Error::KeysUnavailable`] if the data key cannot be used now; [`Error::Unavailable`].
    pub async fn seal_for(&self, tenant_id: &str, row: &str, plain: &str) -> Result<String, Error> {
        let key = self.data_key(tenant_id).await?.ok_or_else(|| no_key(tenant_id))?;
        Ok(key.seal(row, plain.as_bytes()))
    }

    /// Opens a text that [`Store::seal_for`] has sealed. A text that is not sealed is returned unchanged.
    ///
    /// # Errors
    /// Same as [`Store::seal_for`]; [`Error::Unreadable`] if the key was destroyed or is missing, or if the text was sealed
    /// for another row.
    pub async fn open_for(&self, tenant_id: &str, row: &str, sealed: &str) -> Result<String, Error> {
        if !is_sealed(sealed) {
            return Ok(sealed.to_owned());
        }
        let keys = self.keys_of([tenant_id]).await?;
        match keys.open(tenant_id, row, sealed) {
            Opened::Text(text) => Ok(text),
            Opened::Gone => Err(Error::Unreadable(format!("{row}, whose key was destroyed"))),
            Opened::NoKey => Err(Error::Unreadable(format!("{row}, whose key is missing"))),
            Opened::Broken => Err(Error::Unreadable(row.to_owned())),
        }
    }
}

/// Returns the error for private data of a tenant without a data key.
pub(crate) fn no_key(tenant_id: &str) -> Error {
    Error::NotNow(format!(
        "tenant {tenant_id} has no key that encrypts its private data: a purge destroyed it; if the database was restored \
         to a time before the purge, purge the tenant again"
    ))
}

/// Seals the text of a JSON value. The result is a JSON string.
pub(crate) fn sealed_json(key: &DataKey, row: &str, plain: &str) -> String {
    format!("\"{}\"", key.seal(row, plain.as_bytes()))
}

/// Whether a stored JSON value is sealed.
pub(crate) fn is_sealed_json(stored: &str) -> bool {
    sealed_in_json(stored).is_some()
}

/// Returns the sealed text in a stored JSON value, if it is sealed.
fn sealed_in_json(stored: &str) -> Option<&str> {
    stored.strip_prefix('"')?.strip_suffix('"').filter(|text| is_sealed(text))
}
