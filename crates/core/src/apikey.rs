//! API keys: a role, and the digest of a token that nobody keeps.

use crate::ids::KeyId;
use crate::words::words;
use jiff::Timestamp;

words!(
    /// What a key may.
    Role {
        /// Everything.
        Admin = "admin",
        /// Everything about tenants; no keys.
        Operator = "operator",
        /// Reads.
        Viewer = "viewer",
    }
);

/// A row of `api_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub key_id: KeyId,
    /// For people; unique among keys that are not revoked.
    pub name: String,
    /// What it may.
    pub role: Role,
    /// SHA-256 of the token, in hexadecimal: how a key is found. A token has 256 random bits, so its digest needs no
    /// salt and no slow hash.
    pub token_digest: String,
    /// Up by one per change.
    pub version: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused.
    pub revoked_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether the key is good at `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }
}
