//! What became of each document of an `apply`, or would.

use crate::problem::{Problem, ProblemError, Warning};
use crate::word::{ClosedList, Word};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use tenancy_core::action::Action;
use tenancy_core::tenant::{DesiredState, State};
use utoipa::ToSchema;

/// The answer of `apply`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Applied {
    // JSON, because a line of a file that was sent before is answered as it was stored.
    /// One for each document, in order.
    #[schema(value_type = Vec<AppliedDocument>)]
    pub results: Vec<Value>,
    /// Nothing was written: this is what would be.
    pub dry_run: bool,
}

/// What became of one document.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AppliedDocument {
    /// The how-manieth, from 0.
    pub index: usize,
    /// `Organization` or `Tenant`.
    #[schema(value_type = String)]
    pub kind: Cow<'static, str>,
    /// Its id.
    pub id: String,
    /// What became of it.
    #[schema(schema_with = super::schema::applied)]
    pub result: Word<Outcome>,
    /// Every place in which the manifest differs; none for one that is new.
    pub changes: Vec<Difference>,
    /// Its version now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// A tenant's state now.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub state: Option<Word<State>>,
    /// A tenant's wish.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub desired_state: Option<Word<DesiredState>>,
    /// The job that was queued, or is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<AppliedJob>,
    /// Why a tenant is not as it is wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// What was kept, though it looks like a slip.
    #[schema(value_type = Vec<ProblemError>)]
    pub warnings: Vec<Warning>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<Box<Problem>>,
}

impl AppliedDocument {
    /// The line of a document that nothing was done with yet.
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

    /// Whether something was committed for it.
    pub fn is_written(&self) -> bool {
        self.result == Outcome::Created || self.result == Outcome::Changed
    }
}

/// What became of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was not there, and is now.
    Created,
    /// It was there, and is different now.
    Changed,
    /// Nothing was written.
    Unchanged,
    /// A rule does not allow it.
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

/// A job that `apply` queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AppliedJob {
    /// Its id.
    pub job_id: String,
    /// What it does.
    #[schema(schema_with = super::schema::action)]
    pub action: Word<Action>,
}

/// One place in which two manifests differ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Difference {
    /// JSON Pointer (RFC 6901); an entry of a list is named by its name.
    #[schema(example = "/quotas/storageGiB")]
    pub pointer: String,
    /// What stood there; `null` when nothing did.
    pub from: Value,
    /// What stands there now; `null` when nothing does.
    pub to: Value,
}

impl From<tenancy_core::json::Difference> for Difference {
    fn from(difference: tenancy_core::json::Difference) -> Self {
        let tenancy_core::json::Difference { pointer, from, to } = difference;
        Self { pointer, from, to }
    }
}
