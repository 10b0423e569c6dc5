//! The answer to a write of a document: the thing as it is now, and what looks like a slip.

use super::problem::ProblemError;
use serde::Serialize;
use tenancy_core::Violation;
use utoipa::ToSchema;

/// A thing whose document was taken.
#[derive(Debug, Serialize, ToSchema)]
pub struct Written<V> {
    /// As it is read.
    #[serde(flatten)]
    pub view: V,
    /// What was kept, though it looks like a slip.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ProblemError>)]
    pub warnings: Vec<Violation>,
}
