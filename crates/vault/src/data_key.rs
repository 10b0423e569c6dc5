//! The key that seals one tenant's private columns.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::aead::Aead;

/// Sealed text begins with this. The number is the version of the format.
const PREFIX: &str = "sealed:1:";

/// Returns true if the text was sealed by a data key. Text that an older release wrote is plain.
#[must_use]
pub fn is_sealed(text: &str) -> bool {
    text.starts_with(PREFIX)
}

/// A tenant's data key, ready for use. `Debug` does not show the key.
pub struct DataKey {
    tenant_id: String,
    aead: Aead,
}

/// The sealed text of a row cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "The sealed text of {row} cannot be opened with the data key of {}. The text was changed or damaged, was copied \
     from another row, or was sealed under another key.",
    owner(tenant_id)
)]
pub struct BadSeal {
    /// Owner of the data key; empty for the platform's.
    pub tenant_id: String,
    /// Row and column of the text.
    pub row: String,
}

fn owner(tenant_id: &str) -> String {
    if tenant_id.is_empty() { "the platform".to_owned() } else { format!("tenant {tenant_id}") }
}

impl DataKey {
    /// Returns `None` if `bytes` is no key of 32 bytes.
    pub(crate) fn new(tenant_id: &str, bytes: &[u8]) -> Option<Self> {
        Some(Self { tenant_id: tenant_id.to_owned(), aead: Aead::new(bytes)? })
    }

    /// Owner of the key; empty for the platform's.
    #[must_use]
    pub fn tenant_id(&self) -> &str {
        &self.tenant_id
    }

    /// Seals a text of one row. `row` names the row and the column, such as `tenant_versions/7`; the text can be opened
    /// only with the same `row` and the same tenant.
    #[must_use]
    pub fn seal(&self, row: &str, plain: &[u8]) -> String {
        let sealed = self.aead.seal(&self.associated(row), plain);
        let mut text = String::with_capacity(PREFIX.len() + sealed.len().div_ceil(3) * 4);
        text.push_str(PREFIX);
        STANDARD.encode_string(sealed, &mut text);
        text
    }

    /// Opens what [`DataKey::seal`] returned for the same `row`.
    ///
    /// # Errors
    /// If the text is not sealed, was changed, or belongs to another row, tenant or key.
    pub fn open(&self, row: &str, sealed: &str) -> Result<Vec<u8>, BadSeal> {
        let opened = || {
            let bytes = STANDARD.decode(sealed.strip_prefix(PREFIX)?).ok()?;
            self.aead.open(&self.associated(row), bytes)
        };
        opened().ok_or_else(|| BadSeal { tenant_id: self.tenant_id.clone(), row: row.to_owned() })
    }

    /// A tenant id contains no NUL, so two pairs of tenant and row never have the same associated data.
    fn associated(&self, row: &str) -> Vec<u8> {
        [self.tenant_id.as_bytes(), &[0], row.as_bytes()].concat()
    }
}

impl fmt::Debug for DataKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("DataKey").field("tenant_id", &self.tenant_id).finish_non_exhaustive()
    }
}
