//! Results of `apply`: one for each document. A dry run has the same results.

use crate::problem::{DocumentRef, Problem, ProblemError, Warning};
use crate::word::{ClosedList, Word};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use tenancy_core::action::Action;
use tenancy_core::tenant::{DesiredState, State};
use utoipa::ToSchema;

/// Response of `apply`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    // JSON, because a repeated request is answered with the stored text of each result.
    /// One result for each document, in the order of the request.
    #[schema(value_type = Vec<AppliedDocument>)]
    pub results: Vec<Value>,
    /// If true, nothing was written: the results show what would change.
    pub dry_run: bool,
}

/// Result of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppliedDocument {
    /// Zero-based index in the request.
    pub index: usize,
    /// Kind of the document.
    #[schema(value_type = crate::schema::DocumentKind)]
    pub kind: Cow<'static, str>,
    /// Id of the organization or tenant.
    pub id: String,
    /// Result of the document.
    #[schema(value_type = crate::schema::Outcome)]
    pub result: Word<Outcome>,
    /// Differences from the previous manifest. Empty if the organization or tenant is new.
    pub changes: Vec<Difference>,
    /// Version after the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// State of the tenant after the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::State>)]
    pub state: Option<Word<State>>,
    /// Desired state of the tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::DesiredState>)]
    pub desired_state: Option<Word<DesiredState>>,
    /// Job that the change queued, or that is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<AppliedJob>,
    /// What keeps the tenant from its desired state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// Values that were accepted but look like mistakes.
    #[schema(value_type = Vec<ProblemError>)]
    pub warnings: Vec<Warning>,
    /// Reason why the document was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub error: Option<Box<Problem>>,
}

impl AppliedDocument {
    /// The result of a document before anything is done with it.
    pub fn unchanged(index: usize, kind: &'static str, id: String) -> Self {
        Self {
            index,
            kind: kind.into(),
            id,
            result: Outcome::Unchanged.into(),
            changes: Vec::new(),
            version: None,
            state: None,
            desired_state: None,
            job: None,
            waits_for: None,
            warnings: Vec::new(),
            error: None,
        }
    }

    /// Returns the errors of a refused document, with pointers that begin with the index of the document, as in a problem
    /// that concerns the whole request.
    pub fn problem_errors(&self, document: Option<&DocumentRef>) -> Vec<ProblemError> {
        let Some(problem) = &self.error else { return Vec::new() };
        let inside = |error: ProblemError| ProblemError {
            pointer: format!("/{}{}", self.index, error.pointer),
            document: document.cloned(),
            ..error
        };
        if !problem.errors.is_empty() {
            return problem.errors.iter().cloned().map(inside).collect();
        }
        let (code, message) = (Some(problem.code.to_string()), problem.detail.clone());
        vec![inside(ProblemError { code, message, ..ProblemError::default() })]
    }

    /// Whether a change of the document was committed.
    pub fn is_written(&self) -> bool {
        self.result == Outcome::Created || self.result == Outcome::Changed
    }
}

/// Result of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The organization or tenant was created.
    Created,
    /// The organization or tenant was changed.
    Changed,
    /// Nothing was written.
    Unchanged,
    /// A rule does not permit the change.
    Refused,
}

impl ClosedList for Outcome {
    fn words() -> &'static [(&'static str, Self)] {
        &[
            ("created", Self::Created),
            ("changed", Self::Changed),
            ("unchanged", Self::Unchanged),
            ("refused", Self::Refused),
        ]
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Changed => "changed",
            Self::Unchanged => "unchanged",
            Self::Refused => "refused",
        }
    }
}

/// Job that `apply` queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliedJob {
    /// Id of the job.
    pub job_id: String,
    /// Action of the job.
    #[schema(value_type = crate::schema::Action)]
    pub action: Word<Action>,
}

/// One difference between two manifests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// JSON Pointer (RFC 6901) of the field. An entry of a list is addressed by its name.
    #[schema(example = "/quotas/storageGiB")]
    pub pointer: String,
    /// Previous value; `null` if the field was absent.
    pub from: Value,
    /// New value; `null` if the field is absent.
    pub to: Value,
}

impl From<tenancy_core::json::Difference> for Difference {
    fn from(difference: tenancy_core::json::Difference) -> Self {
        let tenancy_core::json::Difference { pointer, from, to } = difference;
        Self { pointer, from, to }
    }
}
