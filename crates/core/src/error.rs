//! The one error of the product: stable codes, and sentences that say what to do.

use crate::changes::Conflict;
use crate::gated_change::GatedChange;
use crate::violation::Violation;

/// Why an operation did not happen. Every variant has one stable code, see [`Error::code`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The bytes are no JSON or YAML that we take.
    #[error("{0}")]
    Malformed(String),
    /// The document says something that is not allowed; all of it is listed.
    #[error("the document has {} to mend: {}", count(.0.len(), "problem"), list(.0))]
    Invalid(Vec<Violation>),
    /// A write that may destroy data was not allowed by name.
    #[error("this needs to be allowed by name: {}", .0.iter().map(|g| format!("{} ({})", g.allow, g.message)).collect::<Vec<_>>().join("; "))]
    Gated(Vec<GatedChange>),
    /// There is no such thing, or the caller may not see it.
    #[error("there is no {kind} {id:?}{}", nearest.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default())]
    NotFound {
        /// What was looked for.
        kind: &'static str,
        /// By which name.
        id: String,
        /// The nearest name there is.
        nearest: Option<String>,
    },
    /// The state table has no such transition now.
    #[error("{0}")]
    NotNow(String),
    /// The write was decided on a version that is not the newest.
    #[error("{}", stale(*.expected, *.current))]
    StaleVersion {
        /// What the caller named; [`NO_VERSION`]: that nothing is there.
        expected: i64,
        /// What is there; [`NO_VERSION`]: nothing is.
        current: i64,
    },
    /// A write that needs a version came without.
    #[error("this write needs the version it was decided on: send If-Match: \"{current}\"")]
    VersionRequired {
        /// What is there.
        current: i64,
    },
    /// What the commit met when it held the locks.
    #[error("{0}")]
    Conflict(#[from] Conflict),
    /// The same Idempotency-Key came with another request.
    #[error("this Idempotency-Key was used for another request: send a new key, or the same request again")]
    IdempotencyKeyReused,
    /// No credential, or one that is not known.
    #[error("a key is needed: send Authorization: Bearer <token>")]
    Unauthenticated,
    /// The credential is good, and does not allow this.
    #[error("{0}")]
    Forbidden(String),
    /// The document names fields that the caller may not write; all of them are listed.
    #[error("this key may not write {}: {}", count(.0.len(), "field"), list(.0))]
    FieldsForbidden(Vec<Violation>),
    /// Larger than a limit.
    #[error("{0}")]
    TooLarge(String),
    /// A bounded queue is full.
    #[error("too much is waiting: try again in a second")]
    Busy,
    /// Whatever was decided, something else had changed before it could be committed.
    #[error("others keep changing what this depends on, and nothing has changed: try again in a second")]
    Overtaken,
    /// The database cannot be reached, or its disk is full, and nothing has changed.
    #[error("the database cannot be reached, or has no room; nothing has changed: try again")]
    Unavailable,
    /// The database went away while it committed.
    #[error("the database went away during the commit: send it again with the same Idempotency-Key")]
    OutcomeUnknown,
    /// A fault of ours; its details are in the server's log under the correlation id.
    #[error("something went wrong on our side: the server's log has it under this correlation id")]
    Internal(String),
}

/// The version of what is not there.
pub const NO_VERSION: i64 = 0;

fn stale(expected: i64, current: i64) -> String {
    match (expected, current) {
        (_, NO_VERSION) => "there is nothing yet that a version could be of: send it without If-Match".to_owned(),
        (NO_VERSION, current) => {
            format!("it is there already, at version {current}: to change it, send If-Match: \"{current}\" instead")
        }
        _ => format!("the version moved from {expected} to {current}: read it again, and send If-Match: \"{current}\""),
    }
}

fn count(n: usize, what: &str) -> String {
    if n == 1 { format!("1 {what}") } else { format!("{n} {what}s") }
}

fn list(violations: &[Violation]) -> String {
    let line = |v: &Violation| match v.pointer.as_str() {
        "" => v.message.clone(),
        at => format!("{at}: {}", v.message),
    };
    violations.iter().map(line).collect::<Vec<_>>().join("; ")
}

impl Error {
    /// The stable code that clients may switch on.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Invalid(_) => "invalid",
            Self::Gated(_) => "not_allowed_by_name",
            Self::NotFound { .. } => "not_found",
            Self::NotNow(_) => "not_in_this_state",
            Self::StaleVersion { .. } => "stale_version",
            Self::VersionRequired { .. } => "version_required",
            Self::Conflict(conflict) => conflict.code(),
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::Unauthenticated => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::FieldsForbidden(_) => "fields_forbidden",
            Self::TooLarge(_) => "too_large",
            Self::Busy | Self::Overtaken => "busy",
            Self::Unavailable => "unavailable",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Internal(_) => "internal",
        }
    }

    /// The HTTP status that goes with the code: the one mapping there is.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Invalid(_) | Self::IdempotencyKeyReused => 422,
            Self::Gated(_) | Self::NotNow(_) => 409,
            Self::NotFound { .. } => 404,
            Self::StaleVersion { .. } => 412,
            Self::VersionRequired { .. } => 428,
            Self::Conflict(conflict) => conflict.status(),
            Self::Unauthenticated => 401,
            Self::Forbidden(_) | Self::FieldsForbidden(_) => 403,
            Self::TooLarge(_) => 413,
            Self::Busy | Self::Overtaken | Self::Unavailable | Self::OutcomeUnknown => 503,
            Self::Internal(_) => 500,
        }
    }

    /// There is no `kind` named `id`.
    pub fn not_found(kind: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound { kind, id: id.into(), nearest: None }
    }
}
