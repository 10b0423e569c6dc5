//! Violations: errors in a document, each at one place.

use crate::json::Pointer;

/// One error in a document.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Violation {
    /// Stable code, for programs: `unknown_field`, `required`, `out_of_range`, …
    pub code: &'static str,
    /// JSON Pointer (RFC 6901) of the field in the document as it was sent.
    pub pointer: String,
    /// What is wrong, for people.
    pub message: String,
}

impl Violation {
    /// Creates a violation at `pointer`.
    pub fn at(pointer: &Pointer, code: &'static str, message: impl Into<String>) -> Self {
        Self { code, pointer: pointer.to_string(), message: message.into() }
    }
}
