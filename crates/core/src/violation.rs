//! Violations: what is wrong with a document, each at one place in it.

use crate::json::Pointer;

/// One thing that is wrong with a document, at one place in it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Stable, machine-readable: `unknown_field`, `required`, `out_of_range`, …
    pub code: &'static str,
    /// JSON Pointer (RFC 6901) of the field in the document as it was sent.
    pub pointer: String,
    /// A sentence for a person.
    pub message: String,
}

impl Violation {
    /// A violation at `pointer`.
    pub fn at(pointer: &Pointer, code: &'static str, message: impl Into<String>) -> Self {
        Self { code, pointer: pointer.to_string(), message: message.into() }
    }
}
