//! Response to the write of a document: the resource after the change, and warnings.

use crate::problem::{ProblemError, Warning};
use serde::{Deserialize, Serialize};
use tenancy_core::Violation;
use utoipa::ToSchema;

/// A resource after an accepted write of its document.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Written<V> {
    /// The resource.
    #[serde(flatten)]
    pub view: V,
    /// Values that were accepted but look like mistakes.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ProblemError>)]
    pub warnings: Vec<Warning>,
}

impl<V> Written<V> {
    /// Builds the response from a resource and the warnings of the core.
    pub fn of(view: V, warnings: &[Violation]) -> Self {
        Self { view, warnings: warnings.iter().cloned().map(Warning::from).collect() }
    }
}
