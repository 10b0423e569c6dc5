//! Errors as problem details (RFC 9457).

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::fmt;
use tenancy_core::changes::Conflict;
use tenancy_core::error::NO_VERSION;
use tenancy_core::gated_change::GatedChange;
use tenancy_core::{Error, Violation};
use utoipa::ToSchema;

/// Every `code` of a problem.
pub const CODES: [&str; 47] = [
    "malformed",
    "invalid",
    "not_allowed_by_name",
    "not_found",
    "not_in_this_state",
    "stale_version",
    "version_required",
    "idempotency_key_reused",
    "answer_erased",
    "cursor_expired",
    "unauthenticated",
    "forbidden",
    "fields_forbidden",
    "too_large",
    "rate_limited",
    "too_many_at_once",
    "apply_in_progress",
    "busy",
    "locked",
    "unavailable",
    "keys_unavailable",
    "database_gone",
    "outcome_unknown",
    "unreadable",
    "internal",
    "idempotency_key_used",
    "organization_missing",
    "organization_closed",
    "organization_exists",
    "organization_cap_exceeded",
    "tenant_exists",
    "alias_taken",
    "lease_lost",
    "key_exists",
    "key_moved",
    "webhook_exists",
    "webhook_moved",
    "placement_exists",
    "placement_moved",
    "placement_missing",
    "slot_taken",
    "conflict",
    "method_not_allowed",
    "timeout",
    "unsupported_media_type",
    "unsupported_content_encoding",
    "unsupported_charset",
];

/// Error of a request, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// Always `about:blank`: `code` identifies the error.
    #[serde(rename = "type")]
    #[schema(value_type = String, example = "about:blank")]
    pub kind: Cow<'static, str>,
    /// Name of the HTTP status.
    #[schema(value_type = String, example = "Unprocessable Entity")]
    pub title: Cow<'static, str>,
    /// HTTP status.
    #[schema(example = 422)]
    pub status: u16,
    /// Stable code of the error, for programs.
    #[schema(value_type = crate::schema::ProblemCode, example = "invalid")]
    pub code: Cow<'static, str>,
    /// What is wrong and what to do, for people. The text can change between releases.
    pub detail: String,
    /// All invalid fields of a document, or all changes that need to be confirmed with `allow`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<ProblemError>,
    /// Current version, if the request named a different version or none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub current_version: Option<i64>,
    /// Oldest cursor behind which all events are still kept, if the cursor of the request has expired.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub oldest: Option<String>,
    /// Results of all documents of a request to `apply` as they would be, if it was refused as a whole.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(value_type = Vec<crate::applied::AppliedDocument>, no_recursion)]
    pub results: Vec<serde_json::Value>,
    /// Correlation id of the request. The log of the server has more details under it.
    pub correlation_id: String,
}

impl fmt::Display for DocumentRef {
    /// Writes the kind and name, or the number in the request, counted from 1.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.kind, &self.name) {
            (Some(kind), Some(name)) => write!(f, "{kind} {name}"),
            _ => write!(f, "document {}", self.index + 1),
        }
    }
}

/// One invalid field of a document, or one change that needs to be confirmed with `allow`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ProblemError {
    /// Kind to pass in `allow` to confirm the change.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::Allow>)]
    pub allow: Option<String>,
    /// Stable code, for programs: `unknown_field`, `required`, `out_of_range`, …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Document that the error concerns, if the request has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub document: Option<DocumentRef>,
    /// What is wrong, for people.
    pub message: String,
    /// JSON Pointer (RFC 6901) into the document as it was sent. For a missing field, it is the place where the field
    /// would be; for a removed environment, it is the list.
    pub pointer: String,
}

/// A value that was accepted but looks like a mistake. OpenAPI describes it as a [`ProblemError`], of which it has
/// three fields.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warning {
    /// Stable code, for programs: `undeclared_key`, …
    pub code: Cow<'static, str>,
    /// JSON Pointer (RFC 6901) into the document as it was sent.
    pub pointer: String,
    /// What looks wrong, for people.
    pub message: String,
}

/// One document of a request with several documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DocumentRef {
    /// Zero-based index in the request.
    pub index: usize,
    /// Value of `kind` in the document. `null` if the document has none.
    #[schema(required)]
    pub kind: Option<String>,
    /// Id of the organization or tenant. `null` if the document has none.
    #[schema(required)]
    pub name: Option<String>,
}

impl Problem {
    /// Builds the problem of an error: the only mapping from errors to problems. `documents` are the documents of the
    /// request, if it has several; pointers then begin with the index of a document.
    pub fn of(error: &Error, documents: &[DocumentRef], correlation_id: &str) -> Self {
        let status = error.status();
        let mut errors: Vec<ProblemError> = match error {
            Error::Invalid(violations) | Error::FieldsForbidden(violations) => {
                violations.iter().map(ProblemError::from).collect()
            }
            Error::Gated(gates) => gates.iter().map(ProblemError::from).collect(),
            Error::Conflict(conflict) => conflict.fields().iter().map(ProblemError::from).collect(),
            _ => Vec::new(),
        };
        errors.iter_mut().for_each(|error| error.document = document_of(&error.pointer, documents));
        let current_version = match error {
            Error::StaleVersion { current: NO_VERSION, .. } => None,
            Error::StaleVersion { current: version, .. }
            | Error::VersionRequired { current: version }
            | Error::StaleState { version, .. } => Some(*version),
            Error::Conflict(Conflict::TenantMoved { version, .. } | Conflict::OrganizationMoved { version, .. }) => {
                Some(*version)
            }
            _ => None,
        };
        let oldest = match error {
            Error::CursorExpired { oldest, .. } => Some(oldest.clone()),
            _ => None,
        };
        Self {
            errors,
            current_version,
            oldest,
            ..Self::plain(status, title(status), error.code(), error.to_string(), correlation_id)
        }
    }

    /// Builds a problem without details; `title` is the name of the status.
    pub fn plain(status: u16, title: &'static str, code: &'static str, detail: String, correlation_id: &str) -> Self {
        Self {
            kind: "about:blank".into(),
            title: title.into(),
            status,
            code: code.into(),
            detail,
            errors: Vec::new(),
            current_version: None,
            oldest: None,
            results: Vec::new(),
            correlation_id: correlation_id.to_owned(),
        }
    }
}

/// The name of each status that errors have (RFC 9110).
fn title(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        401 => "Unauthorized",
        403 => "Forbidden",
        404 => "Not Found",
        409 => "Conflict",
        410 => "Gone",
        412 => "Precondition Failed",
        413 => "Payload Too Large",
        429 => "Too Many Requests",
        422 => "Unprocessable Entity",
        428 => "Precondition Required",
        500 => "Internal Server Error",
        503 => "Service Unavailable",
        _ => "Refused",
    }
}

/// The document that a pointer addresses.
fn document_of(pointer: &str, documents: &[DocumentRef]) -> Option<DocumentRef> {
    let index = pointer.split('/').nth(1)?.parse::<usize>().ok()?;
    documents.get(index).cloned()
}

impl From<&Violation> for ProblemError {
    fn from(violation: &Violation) -> Self {
        let Violation { code, pointer, message } = violation.clone();
        Self { code: Some(code.to_owned()), pointer, message, ..Self::default() }
    }
}

impl From<&GatedChange> for ProblemError {
    fn from(gate: &GatedChange) -> Self {
        let GatedChange { allow, pointer, message } = gate.clone();
        Self { allow: Some(allow.to_owned()), pointer, message, ..Self::default() }
    }
}

impl From<Violation> for Warning {
    fn from(violation: Violation) -> Self {
        let Violation { code, pointer, message } = violation;
        Self { code: code.into(), pointer, message }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_list_what_is_wrong_and_in_which_document() {
        let violation =
            Violation { code: "required", pointer: "/1/region".into(), message: "region is required".into() };
        let error = Error::Invalid(vec![violation]);
        let documents: Vec<_> =
            (0..2).map(|index| DocumentRef { index, kind: Some("Tenant".into()), name: None }).collect();
        let problem = serde_json::to_value(Problem::of(&error, &documents, "c")).expect("json");
        assert_eq!(problem["status"], 422);
        assert_eq!((&problem["code"], &problem["title"]), (&json!("invalid"), &json!("Unprocessable Entity")));
        assert_eq!(problem["errors"][0]["document"], json!({"index": 1, "kind": "Tenant", "name": null}));
        assert_eq!(problem["errors"][0]["pointer"], "/1/region");
    }

    #[test]
    fn must_list_every_code_of_the_core() {
        let sources = [include_str!("../../core/src/error.rs"), include_str!("../../core/src/changes.rs")];
        let mut codes = 0;
        for source in sources {
            let function = source.split("pub fn code(&self)").nth(1).and_then(|rest| rest.split("\n    }\n").next());
            let texts = function.expect("a function").split('"').skip(1).step_by(2);
            for code in texts {
                assert!(CODES.contains(&code), "{code}");
                codes += 1;
            }
        }
        assert!(codes > 30, "{codes}");
    }

    #[test]
    fn must_say_what_to_send_next() {
        let gate = GatedChange { allow: "move-region", pointer: "/region".into(), message: "moves".into() };
        let problem = serde_json::to_value(Problem::of(&Error::Gated(vec![gate]), &[], "c")).expect("json");
        assert_eq!((&problem["status"], &problem["errors"][0]["allow"]), (&json!(409), &json!("move-region")));
        let stale = Error::StaleVersion { expected: Some(3), current: 7 };
        let problem = serde_json::to_value(Problem::of(&stale, &[], "c")).expect("json");
        assert_eq!((&problem["status"], &problem["current_version"]), (&json!(412), &json!(7)));
        assert!(problem["detail"].as_str().expect("text").contains("If-Match: \"7\""));
        let internal = Error::Internal("the secret of the house".into());
        let problem = serde_json::to_string(&Problem::of(&internal, &[], "c")).expect("json");
        assert!(!problem.contains("secret"));
    }
}
