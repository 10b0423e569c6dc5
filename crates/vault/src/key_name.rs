//! Names of keys in a key service.

use std::fmt;

use crate::key_service::KeyError;

/// Keys that one tenant has for itself begin with this.
const OF_A_TENANT: &str = "tenant-";
/// Keys that wrap the data keys of all other tenants begin with this, followed by a number.
const SHARED: &str = "shared-";

/// Name of a key in a key service: `shared-1`, `tenant-acme-eu-6f1c22d09be0a7d4`. A name is never used for another key.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KeyName(String);

impl KeyName {
    /// A longer name is refused.
    pub const MAX_LENGTH_BYTES: usize = 128;

    /// Reads a name.
    ///
    /// # Errors
    /// [`KeyError::Refused`] if the name is empty, longer than 128 bytes, or contains other characters than ASCII letters,
    /// digits, `-`, `_` and `.`.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
        if (1..=Self::MAX_LENGTH_BYTES).contains(&text.len()) && text.bytes().all(plain) {
            return Ok(Self(text.to_owned()));
        }
        let shown: String = text.chars().take(Self::MAX_LENGTH_BYTES).collect();
        Err(KeyError::Refused(format!(
            "The name of a key has 1 to {} ASCII letters, digits, `-`, `_` and `.`; {shown:?} does not.",
            Self::MAX_LENGTH_BYTES
        )))
    }

    /// Returns a new name for a tenant's own key.
    pub(crate) fn of_tenant(tenant_id: &str) -> Result<Self, KeyError> {
        let random = getrandom::u64().map_err(|error| KeyError::Unavailable(format!("No random bytes: {error}.")))?;
        Self::parse(&format!("{OF_A_TENANT}{tenant_id}-{random:016x}"))
    }

    /// Returns the name of the shared key with this number.
    #[must_use]
    pub fn shared(number: u64) -> Self {
        Self(format!("{SHARED}{number}"))
    }

    /// Returns the number of a shared key; `None` for other keys.
    #[must_use]
    pub fn shared_number(&self) -> Option<u64> {
        self.0.strip_prefix(SHARED)?.parse().ok()
    }

    /// Returns true for the key of one tenant.
    #[must_use]
    pub fn is_of_a_tenant(&self) -> bool {
        self.0.starts_with(OF_A_TENANT)
    }

    /// Returns the name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for KeyName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
