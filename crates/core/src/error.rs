//! The error type of the product: stable codes, and messages that say what is wrong and what to do.

use crate::changes::Conflict;
use crate::gated_change::GatedChange;
use crate::ids::TenantId;
use crate::violation::Violation;

/// Reason why an operation failed. Each variant has one stable code, see [`Error::code`].
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum Error {
    /// The request cannot be parsed.
    #[error("{0}")]
    Malformed(String),
    /// The document is invalid. All errors in it are listed.
    #[error("the document has {}: {}", count(.0.len(), "error"), list(.0))]
    Invalid(Vec<Violation>),
    /// A gated change was not confirmed.
    #[error("this change must be confirmed: send {}", .0.iter().map(|g| format!("allow={} ({})", g.allow, g.message)).collect::<Vec<_>>().join("; "))]
    Gated(Vec<GatedChange>),
    /// The resource does not exist, or is outside the scope of the caller.
    #[error("there is no {kind} {id:?}{}", nearest.as_ref().map(|n| format!("; did you mean {n:?}?")).unwrap_or_default())]
    NotFound {
        /// Kind of the resource.
        kind: &'static str,
        /// Id or name in the request.
        id: String,
        /// Similar name that exists.
        nearest: Option<String>,
    },
    /// The current state does not permit the operation.
    #[error("{0}")]
    NotNow(String),
    /// The version in the request is not the current version.
    #[error("{}", stale(*.expected, *.current))]
    StaleVersion {
        /// Version in the request; [`NO_VERSION`] if the caller expects that the resource does not exist, `None` if the
        /// request names several versions, or a tag that no version has.
        expected: Option<i64>,
        /// Current version; [`NO_VERSION`] if the resource does not exist.
        current: i64,
    },
    /// The version in the request is the current one, but the state, a hold or a job has changed since it was read.
    #[error(
        "the state, the holds or the jobs have changed since version {version} was read: read the resource again, \
             then send If-Match: \"{version}.{counter}\""
    )]
    StaleState {
        /// Current version.
        version: i64,
        /// Current counter of everything that is not in the manifest.
        counter: i64,
    },
    /// The write requires a version, and the request has none.
    #[error("this request requires a version: read the resource, then send If-Match: \"{current}\"")]
    VersionRequired {
        /// Current version.
        current: i64,
    },
    /// A guard failed at the commit.
    #[error("{0}")]
    Conflict(#[from] Conflict),
    /// The Idempotency-Key was used for a different request.
    #[error("this Idempotency-Key was used for a different request: send a new key, or repeat the same request")]
    IdempotencyKeyReused,
    /// The request was carried out before, and a purge of its tenant has erased the stored response.
    #[error("this request was carried out before; its response was erased when the tenant was purged")]
    AnswerErased,
    /// Events behind the cursor are no longer kept, or the cursor belongs to a part of the log that a restore has lost.
    #[error("{}", expired_cursor(.oldest, *.is_lost))]
    CursorExpired {
        /// Oldest cursor behind which everything is kept.
        oldest: String,
        /// Whether the database was restored to a time before the cursor.
        is_lost: bool,
    },
    /// The request has no credential.
    #[error("an API key is required: send Authorization: Bearer <token>")]
    Unauthenticated,
    /// The request has a token that no valid key accepts.
    #[error(
        "the token in the Authorization header is not valid: its key is unknown, revoked or expired, or the token was replaced by a rotation; send the token of a valid key"
    )]
    InvalidToken,
    /// The key is valid but does not permit the operation.
    #[error("{0}")]
    Forbidden(String),
    /// The document contains fields that the caller may not write. All of them are listed.
    #[error("this key may not write {}: {}", count(.0.len(), "field"), list(.0))]
    FieldsForbidden(Vec<Violation>),
    /// The request exceeds a size limit.
    #[error("{0}")]
    TooLarge(String),
    /// The key has used up its rate limit.
    #[error("this key sends more requests than its rate limit allows: try again in {}", seconds(*.retry_after_seconds))]
    RateLimited {
        /// Time after which the key may send a request again, in seconds.
        retry_after_seconds: u64,
    },
    /// The key has too many requests in progress.
    #[error("this key has too many requests in progress: wait for their answers, and try again in a second")]
    TooManyAtOnce,
    /// A bounded queue is full.
    #[error("the server is busy: try again in a second")]
    Busy,
    /// A session that is not one of ours holds a row that the change needs.
    #[error(
        "another database session has locked data that this change needs, and nothing was written: try again, or end that \
         session (see pg_locks and pg_stat_activity)"
    )]
    Locked,
    /// Every attempt lost against concurrent changes.
    #[error("concurrent changes prevented this change, and nothing was written: try again in a second")]
    Overtaken,
    /// The database cannot be reached, or its disk is full. Nothing was written.
    #[error("the database cannot be reached, is read-only, or its disk is full; nothing was written: try again")]
    Unavailable,
    /// The SQLite file was deleted or replaced while it is open. What is written to it is lost.
    #[error(
        "the database file was deleted or replaced while the server has it open, and nothing was written: restore the \
         file and its -wal file, and start the server again"
    )]
    DatabaseGone,
    /// The connection to the database was lost during the commit.
    #[error(
        "the connection to the database was lost during the commit: repeat the request with the same Idempotency-Key"
    )]
    OutcomeUnknown,
    /// A stored row cannot be read: something other than this program has changed it. Names its table and column.
    #[error("a stored row cannot be read ({0}): correct it in the database, or restore it from a backup")]
    Unreadable(String),
    /// An internal error. The server's log has the details under the correlation id.
    #[error("internal error: the server's log has the details under this correlation id")]
    Internal(String),
}

/// Version of a resource that does not exist.
pub const NO_VERSION: i64 = 0;

fn stale(expected: Option<i64>, current: i64) -> String {
    match (expected, current) {
        (_, NO_VERSION) => "the resource does not exist yet: send the request without If-Match".to_owned(),
        (Some(NO_VERSION), current) => {
            format!("the resource exists already, at version {current}: to change it, send If-Match: \"{current}\"")
        }
        (Some(expected), current) => format!(
            "the version has changed from {expected} to {current}: read the resource again, then send If-Match: \"{current}\""
        ),
        (None, current) => format!(
            "If-Match does not name the current version {current}: read the resource again, then send If-Match: \"{current}\""
        ),
    }
}

fn expired_cursor(oldest: &str, is_lost: bool) -> String {
    let why = match is_lost {
        true => {
            "the cursor points behind an event that is not in this log: the database was restored to an earlier time"
        }
        false => "events behind this cursor are no longer kept",
    };
    format!("{why}; read the current tenants again (snapshot=true), or continue after the oldest cursor, {oldest}")
}

fn seconds(n: u64) -> String {
    if n == 1 { "a second".to_owned() } else { format!("{n} seconds") }
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
    /// Returns the stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "malformed",
            Self::Invalid(_) => "invalid",
            Self::Gated(_) => "not_allowed_by_name",
            Self::NotFound { .. } => "not_found",
            Self::NotNow(_) => "not_in_this_state",
            Self::StaleVersion { .. } | Self::StaleState { .. } => "stale_version",
            Self::VersionRequired { .. } => "version_required",
            Self::Conflict(conflict) => conflict.code(),
            Self::IdempotencyKeyReused => "idempotency_key_reused",
            Self::AnswerErased => "answer_erased",
            Self::CursorExpired { .. } => "cursor_expired",
            Self::Unauthenticated | Self::InvalidToken => "unauthenticated",
            Self::Forbidden(_) => "forbidden",
            Self::FieldsForbidden(_) => "fields_forbidden",
            Self::TooLarge(_) => "too_large",
            Self::RateLimited { .. } => "rate_limited",
            Self::TooManyAtOnce => "too_many_at_once",
            Self::Busy | Self::Overtaken => "busy",
            Self::Locked => "locked",
            Self::Unavailable => "unavailable",
            Self::DatabaseGone => "database_gone",
            Self::OutcomeUnknown => "outcome_unknown",
            Self::Unreadable(_) => "unreadable",
            Self::Internal(_) => "internal",
        }
    }

    /// Returns the HTTP status of the code: the only mapping from errors to statuses.
    pub fn status(&self) -> u16 {
        match self {
            Self::Malformed(_) => 400,
            Self::Invalid(_) | Self::IdempotencyKeyReused => 422,
            Self::Gated(_) | Self::NotNow(_) => 409,
            Self::NotFound { .. } => 404,
            Self::StaleVersion { .. } | Self::StaleState { .. } => 412,
            Self::VersionRequired { .. } => 428,
            Self::Conflict(conflict) => conflict.status(),
            Self::AnswerErased | Self::CursorExpired { .. } => 410,
            Self::Unauthenticated | Self::InvalidToken => 401,
            Self::Forbidden(_) | Self::FieldsForbidden(_) => 403,
            Self::TooLarge(_) => 413,
            Self::RateLimited { .. } | Self::TooManyAtOnce => 429,
            Self::Busy
            | Self::Locked
            | Self::Overtaken
            | Self::Unavailable
            | Self::DatabaseGone
            | Self::OutcomeUnknown => 503,
            Self::Unreadable(_) | Self::Internal(_) => 500,
        }
    }

    /// Returns the error for a request on a tombstone.
    pub(crate) fn purged(id: &TenantId) -> Self {
        Self::NotNow(format!("tenant {id} is purged: its data is destroyed and its id stays taken; choose another id"))
    }

    /// Returns the error for a `kind` named `id` that does not exist.
    pub fn not_found(kind: &'static str, id: impl Into<String>) -> Self {
        Self::NotFound { kind, id: id.into(), nearest: None }
    }
}
