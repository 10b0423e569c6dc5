//! The answer to a write of a document: the thing as it is now, and what looks like a slip.

use crate::problem::{ProblemError, Warning};
use serde::{Deserialize, Serialize};
use tenancy_core::Violation;
use utoipa::ToSchema;

/// A thing whose document was taken.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Written<V> {
    /// As it is read.
    #[serde(flatten)]
    pub view: V,
    /// What was kept, though it looks like a slip.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ProblemError>)]
    pub warnings: Vec<Warning>,
}

impl<V> Written<V> {
    /// A thing as it is read, and what core warned of.
    pub fn of(view: V, warnings: &[Violation]) -> Self {
        Self { view, warnings: warnings.iter().cloned().map(Warning::from).collect() }
    }
}
