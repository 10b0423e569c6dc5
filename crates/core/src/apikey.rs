//! API keys: a role, a scope, and the digest of a token that is not kept.

use crate::ids::KeyId;
use crate::scope::Scope;
use crate::words::words;
use jiff::Timestamp;

words!(
    /// What the bearer of a key may do; [`crate::permission`] has the table.
    Role {
        /// Everything, keys included.
        Admin = "admin",
        /// Reads and writes organizations and tenants, and runs lifecycle actions; no keys.
        Operator = "operator",
        /// Reads everything, keys included; writes nothing.
        Auditor = "auditor",
        /// Reads; writes nothing.
        Viewer = "viewer",
        /// The customer's own staff: reads its own, and writes display name, labels and webhooks. Needs a scope.
        Customer = "customer",
    }
);

/// A row of `api_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Its id.
    pub key_id: KeyId,
    /// For people; unique among keys that are not revoked.
    pub name: String,
    /// What its bearer may do.
    pub role: Role,
    /// What its bearer reaches.
    pub scope: Scope,
    /// SHA-256 of the token, in hexadecimal: how a key is found. A token has 256 random bits, so its digest needs no
    /// salt and no slow hash.
    pub token_digest: String,
    /// The digest of the token before the last rotation; good until `previous_expires_at`.
    pub previous_digest: Option<String>,
    /// When the token before the last rotation stops working.
    pub previous_expires_at: Option<Timestamp>,
    /// Up by one per change.
    pub version: i64,
    /// The key that made it; `None` for a key that was made on the command line of the server.
    pub created_by: Option<KeyId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it stops working.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// When it was last used, to about a minute.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether the key is good at `now`.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether a token of this digest is good at `now`: the key's token, or the one before while they overlap.
    pub fn takes(&self, digest: &str, now: Timestamp) -> bool {
        let is_previous =
            || self.previous_digest.as_deref() == Some(digest) && self.previous_expires_at.is_some_and(|at| now < at);
        self.is_good(now) && (self.token_digest == digest || is_previous())
    }
}
