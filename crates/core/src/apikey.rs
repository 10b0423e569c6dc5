//! API keys: a role, a scope, and the digest of a token. The token itself is not stored.

use crate::ids::KeyId;
use crate::scope::Scope;
use crate::words::words;
use jiff::Timestamp;

words!(
    /// Role of a key: its operations are in the table in [`crate::permission`].
    Role {
        /// All operations, including those on keys.
        Admin = "admin",
        /// Reads and writes organizations and tenants, and runs lifecycle actions. Has no access to keys.
        Operator = "operator",
        /// Reads everything, including keys; writes nothing.
        Auditor = "auditor",
        /// Reads everything except keys; writes nothing.
        Viewer = "viewer",
        /// For staff of a customer. Reads within its scope, and writes display name, labels and webhooks. Requires a
        /// scope.
        Customer = "customer",
        /// For gateways. Reads whether tenants may be served, and nothing else.
        Gateway = "gateway",
    }
);

/// A row of `api_keys`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// Id of the key.
    pub key_id: KeyId,
    /// Name, unique among keys that are not revoked.
    pub name: String,
    /// Role: the operations that the key permits.
    pub role: Role,
    /// Scope: the organizations and tenants that the key can access.
    pub scope: Scope,
    /// SHA-256 of the token, in hexadecimal. Keys are found by it. A token has 256 random bits, so its digest needs
    /// neither a salt nor a slow hash.
    pub token_digest: String,
    /// Digest of the token from before the last rotation, which is valid until `previous_expires_at`.
    pub previous_digest: Option<String>,
    /// Time from which the token from before the last rotation is refused.
    pub previous_expires_at: Option<Timestamp>,
    /// Version. It increases by one with each change.
    pub version: i64,
    /// Key that created this key; `None` if it was created on the command line of the server.
    pub created_by: Option<KeyId>,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time from which the key is refused.
    pub expires_at: Option<Timestamp>,
    /// Time at which the key was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Time of the last use, accurate to about one minute.
    pub last_used_at: Option<Timestamp>,
}

impl ApiKey {
    /// Whether the key is active at `now`: neither revoked nor expired.
    pub fn is_good(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|at| now < at)
    }

    /// Whether a token with this digest is valid at `now`: the current token, or the previous one while they overlap.
    pub fn takes(&self, digest: &str, now: Timestamp) -> bool {
        let is_previous =
            || self.previous_digest.as_deref() == Some(digest) && self.previous_expires_at.is_some_and(|at| now < at);
        self.is_good(now) && (self.token_digest == digest || is_previous())
    }
}
