//! Gated changes: changes that can destroy data and need to be allowed by name.

/// A change that could destroy data and was not allowed by name.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct GatedChange {
    /// The name to pass in `allow`: `remove-environment`, `move-region`, …
    pub allow: &'static str,
    /// The field that asks for it, as in a difference: a JSON Pointer in which an environment stands by its name.
    pub pointer: String,
    /// What would happen.
    pub message: String,
}
