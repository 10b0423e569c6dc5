//! Gated changes: changes that can destroy data, remove a limit or look like a typing error, and require a confirmation.

/// Kind of the revocation of the last admin key, in `allow`.
pub const LAST_ADMIN_KEY: &str = "last-admin-key";

/// A gated change that was not confirmed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GatedChange {
    /// Kind to pass in `allow`: `remove-environment`, `move-region`, …
    pub allow: &'static str,
    /// JSON Pointer of the changed field, as in a difference: an environment is addressed by its name.
    pub pointer: String,
    /// Effect of the change.
    pub message: String,
}
