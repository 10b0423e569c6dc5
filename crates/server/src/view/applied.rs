//! What became of each document of an `apply`, or would.

use super::problem::ProblemError;
use serde::Serialize;
use serde_json::Value;
use tenancy_core::Violation;
use tenancy_core::json::Difference;
use utoipa::ToSchema;

/// The answer of `apply`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Applied)]
pub struct AppliedView {
    /// One for each document, in order.
    #[schema(value_type = Vec<AppliedDocument>)]
    pub results: Vec<Value>,
    /// Nothing was written: this is what would be.
    pub dry_run: bool,
}

/// What became of one document.
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
pub struct AppliedDocument {
    /// The how-manieth, from 0.
    pub index: usize,
    /// `Organization` or `Tenant`.
    pub kind: &'static str,
    /// Its id.
    pub id: String,
    /// What became of it.
    #[schema(schema_with = super::schema::applied)]
    pub result: &'static str,
    /// Every place in which the manifest differs; none for one that is new.
    #[schema(value_type = Vec<DifferenceView>)]
    pub changes: Vec<Difference>,
    /// Its version now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<i64>,
    /// A tenant's state now.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// A tenant's wish.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub desired_state: Option<&'static str>,
    /// The job that was queued, or is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<AppliedJob>,
    /// Why a tenant is not as it is wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waits_for: Option<String>,
    /// What was kept, though it looks like a slip.
    #[schema(value_type = Vec<ProblemError>)]
    pub warnings: Vec<Violation>,
    /// Why it was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Object>)]
    pub error: Option<Value>,
}

impl AppliedDocument {
    /// Whether something was committed for it.
    pub fn is_written(&self) -> bool {
        matches!(self.result, "created" | "changed")
    }
}

/// A job that `apply` queued.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct AppliedJob {
    /// Its id.
    pub job_id: String,
    /// What it does.
    #[schema(schema_with = super::schema::action)]
    pub action: &'static str,
}

/// One place in which two manifests differ.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Difference)]
pub struct DifferenceView {
    /// JSON Pointer (RFC 6901); an entry of a list is named by its name.
    #[schema(example = "/quotas/storageGiB")]
    pub pointer: String,
    /// What stood there; `null` when nothing did.
    pub from: Value,
    /// What stands there now; `null` when nothing does.
    pub to: Value,
}
