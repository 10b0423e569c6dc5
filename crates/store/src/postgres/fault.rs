//! What an error of PostgreSQL means for us.

use tenancy_core::Error;
use tokio_postgres::error::{Severity, SqlState};

/// What is to be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection, or the server, is gone: connect anew.
    Lost,
    /// A prepared statement or a row type is not what it was: another release has migrated meanwhile. Connect anew, too.
    Stale,
    /// Another was quicker, or the two stood in each other's way: the same again may come through.
    Again,
    /// It waited too long for a lock: others commit slowly, or somebody keeps a row.
    Locked,
    /// It took too long.
    Slow,
    /// The server has no room: disk, memory, connections.
    Full,
    /// It will never come through.
    Final,
}

impl Fault {
    /// Sorts an error.
    pub fn of(error: &tokio_postgres::Error) -> Self {
        let Some(state) = error.code() else {
            // The driver has no other name for a parameter that it could not encode, and for a value that it could not decode.
            let is_ours = |what| error.to_string().starts_with(what);
            let coded = is_ours("error serializing parameter") || is_ours("error deserializing column");
            return if coded { Self::Final } else { Self::Lost };
        };
        if [SqlState::UNIQUE_VIOLATION, SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE]
            .contains(state)
        {
            return Self::Again;
        }
        if *state == SqlState::LOCK_NOT_AVAILABLE {
            return Self::Locked;
        }
        if *state == SqlState::QUERY_CANCELED {
            return Self::Slow;
        }
        // "cached plan must not change result type", a statement that a pooler has forgotten, and "wrong number of columns":
        // a row type that has got one more.
        if [SqlState::FEATURE_NOT_SUPPORTED, SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DATATYPE_MISMATCH]
            .contains(state)
        {
            return Self::Stale;
        }
        if state.code().starts_with("53") {
            return Self::Full;
        }
        // The pooler or the server went away, was stopped, is starting, or has become a standby. Whatever ends the session is
        // of that kind; an internal error that does not (XX000) is some member's.
        let severity = error.as_db_error().and_then(|error| error.parsed_severity());
        let ends_it = matches!(severity, Some(Severity::Fatal | Severity::Panic));
        let away = ["08", "57P", "25006", "25P03"];
        let refused = state.code().starts_with("28");
        if (ends_it && !refused) || away.iter().any(|class| state.code().starts_with(class)) {
            return Self::Lost;
        }
        Self::Final
    }
}

/// Whether an error of COMMIT says that all is rolled back: a constraint that is looked at last, others in the way, or that
/// it was cancelled.
pub fn rolls_back(error: &tokio_postgres::Error) -> bool {
    let unknown = SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN;
    error.code().is_some_and(|state| {
        let class = &state.code()[..2];
        *state != unknown && (["23", "25", "40"].contains(&class) || *state == SqlState::QUERY_CANCELED)
    })
}

/// The error of a read or of upkeep; nothing has changed, or it does not matter.
pub fn failed(error: &tokio_postgres::Error) -> Error {
    match Fault::of(error) {
        Fault::Lost | Fault::Stale | Fault::Full | Fault::Slow | Fault::Locked => {
            tracing::warn!(error = %described(error), "PostgreSQL is not available");
            Error::Unavailable
        }
        Fault::Again => Error::Busy,
        Fault::Final => Error::Internal(format!("PostgreSQL: {}", described(error))),
    }
}

/// A connection that cannot be had: nothing has changed.
pub fn away(error: &tokio_postgres::Error) -> Error {
    tracing::warn!(error = %described(error), "PostgreSQL cannot be connected to");
    Error::Unavailable
}

/// An error with what the server says of it.
pub fn described(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} {}", server.code().code(), server.message()),
        None => error.to_string(),
    }
}
