//! Refusals, as RFC 9457 writes them.

use axum::http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};
use tenancy_core::Error;
use tenancy_core::changes::Conflict;
use tenancy_core::error::NO_VERSION;
use utoipa::ToSchema;

/// Why a request was refused, `application/problem+json`.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemView<'a> {
    /// A class of problems; there is none beyond `code`.
    #[serde(rename = "type")]
    #[schema(example = "about:blank")]
    pub kind: &'static str,
    /// The status in words.
    #[schema(example = "Unprocessable Entity")]
    pub title: &'a str,
    /// The HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// Stable: what clients may switch on.
    #[schema(example = "invalid")]
    pub code: &'a str,
    /// What is wrong and what to do, for people.
    pub detail: String,
    /// Every bad field of a document, or every change that must be allowed by name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<ProblemError>)]
    pub errors: Vec<Value>,
    /// The version there is now, where the request named another or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<i64>,
    /// Under which the server's log has more.
    pub correlation_id: &'a str,
}

/// One thing that is wrong with a document, or one change that must be allowed by name.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProblemError {
    /// Stable: `unknown_field`, `required`, `out_of_range`, …
    pub code: Option<String>,
    /// The name to pass in `allow`.
    pub allow: Option<String>,
    /// JSON Pointer (RFC 6901) into the document as it was sent; what it leaves out is pointed at where it would stand, an
    /// environment that it removes at the list.
    pub pointer: String,
    /// A sentence for a person.
    pub message: String,
    /// Which document of many.
    pub document: Option<DocumentRef>,
}

/// A document of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct DocumentRef {
    /// The how-manieth, from 0.
    pub index: usize,
    /// What it says it is.
    pub kind: Option<String>,
    /// Its id.
    pub name: Option<String>,
}

impl<'a> ProblemView<'a> {
    /// Of an error: the one mapping there is. `documents` are those that pointers lead into, where there are many.
    pub fn of(error: &'a Error, documents: &[DocumentRef], correlation_id: &'a str) -> Self {
        let status = StatusCode::from_u16(error.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let listed = match error {
            Error::Invalid(violations) => violations.iter().map(|violation| json!(violation)).collect(),
            Error::Gated(gates) => gates.iter().map(|gate| json!(gate)).collect(),
            Error::Conflict(conflict) => conflict.fields().iter().map(|violation| json!(violation)).collect(),
            _ => Vec::new(),
        };
        let current_version = match error {
            Error::StaleVersion { current: NO_VERSION, .. } => None,
            Error::StaleVersion { current, .. } | Error::VersionRequired { current } => Some(*current),
            Error::Conflict(Conflict::TenantMoved { version, .. } | Conflict::OrganizationMoved { version, .. }) => {
                Some(*version)
            }
            _ => None,
        };
        Self {
            kind: "about:blank",
            title: status.canonical_reason().unwrap_or("Refused"),
            status: status.as_u16(),
            code: error.code(),
            detail: error.to_string(),
            errors: listed.into_iter().map(|error| in_document(error, documents)).collect(),
            current_version,
            correlation_id,
        }
    }
}

/// Adds which document the error's pointer leads into.
fn in_document(mut error: Value, documents: &[DocumentRef]) -> Value {
    let index = error["pointer"].as_str().and_then(|at| at.split('/').nth(1)?.parse::<usize>().ok());
    if let Some(document) = index.and_then(|index| documents.get(index)) {
        error["document"] = json!(document);
    }
    error
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenancy_core::Violation;
    use tenancy_core::gated_change::GatedChange;

    #[test]
    fn must_list_what_is_wrong_and_in_which_document() {
        let violation =
            Violation { code: "required", pointer: "/1/region".into(), message: "region is required".into() };
        let error = Error::Invalid(vec![violation]);
        let documents: Vec<_> =
            (0..2).map(|index| DocumentRef { index, kind: Some("Tenant".into()), name: None }).collect();
        let problem = serde_json::to_value(ProblemView::of(&error, &documents, "c")).expect("json");
        assert_eq!(problem["status"], 422);
        assert_eq!((&problem["code"], &problem["title"]), (&json!("invalid"), &json!("Unprocessable Entity")));
        assert_eq!(problem["errors"][0]["document"], json!({"index": 1, "kind": "Tenant", "name": null}));
        assert_eq!(problem["errors"][0]["pointer"], "/1/region");
    }

    #[test]
    fn must_say_what_to_send_next() {
        let gate = GatedChange { allow: "move-region", pointer: "/region".into(), message: "moves".into() };
        let problem = serde_json::to_value(ProblemView::of(&Error::Gated(vec![gate]), &[], "c")).expect("json");
        assert_eq!((&problem["status"], &problem["errors"][0]["allow"]), (&json!(409), &json!("move-region")));
        let stale = Error::StaleVersion { expected: 3, current: 7 };
        let problem = serde_json::to_value(ProblemView::of(&stale, &[], "c")).expect("json");
        assert_eq!((&problem["status"], &problem["current_version"]), (&json!(412), &json!(7)));
        assert!(problem["detail"].as_str().expect("text").contains("If-Match: \"7\""));
        let internal = Error::Internal("the secret of the house".into());
        let problem = serde_json::to_string(&ProblemView::of(&internal, &[], "c")).expect("json");
        assert!(!problem.contains("secret"));
    }
}
