//! Classifies errors of PostgreSQL. What is done about each class stands in `retry.rs`.

use super::reach::{places_and_reason, reason};
use super::silence::answered;
use super::target::Target;
use std::error::Error as _;
use std::future::Future;
use tenancy_core::Error;
use tokio_postgres::error::{DbError, Severity, SqlState};

/// Our SQLSTATE for a row that is not as the batch expected it.
const PRECONDITION_FAILED: &str = "TN001";

/// A class of errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The connection or the server is gone.
    Lost,
    /// A prepared statement or a row type is out of date, because another release has migrated the database.
    Stale,
    /// Another transaction was faster, or was in the way: the same statements may succeed now.
    Again,
    /// A lock was not granted in time.
    Locked,
    /// As [`Fault::Locked`], where the lock belongs to another process of ours, or to all of them: the log's head. Their
    /// commits are slow, and no member is the cause of that.
    Crowded,
    /// As [`Fault::Locked`], where no row that a guard names is locked: a member writes another row that somebody holds.
    Hidden,
    /// A statement took too long.
    Slow,
    /// The server is out of disk, memory or connections.
    Full,
    /// The same statements will fail again.
    Final,
}

impl Fault {
    /// Classifies an error.
    pub fn of(error: &tokio_postgres::Error) -> Self {
        let Some(server) = error.as_db_error() else {
            // The driver has no other name for a parameter that it could not encode, and for a value that it could not decode.
            let is_ours = |what| error.to_string().starts_with(what);
            let coded = is_ours("error serializing parameter") || is_ours("error deserializing column");
            return if coded { Self::Final } else { Self::Lost };
        };
        let state = server.code();
        if state.code() == PRECONDITION_FAILED
            || [SqlState::UNIQUE_VIOLATION, SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE]
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
        // A statement that a pooler has forgotten, and "wrong number of columns": a row type that has one column more.
        if [SqlState::INVALID_SQL_STATEMENT_NAME, SqlState::DATATYPE_MISMATCH].contains(state) || is_stale_plan(server)
        {
            return Self::Stale;
        }
        if state.code().starts_with("53") {
            return Self::Full;
        }
        // The pooler or the server went away, was stopped, is starting, or has become a standby. Every error that ends the
        // session is of that kind; an internal error that does not end it (XX000) is caused by a member.
        let ends_it = matches!(server.parsed_severity(), Some(Severity::Fatal | Severity::Panic));
        let away = ["08", "57P", "25006", "25P03"];
        let refused = state.code().starts_with("28");
        if (ends_it && !refused) || away.iter().any(|class| state.code().starts_with(class)) {
            return Self::Lost;
        }
        Self::Final
    }
}

/// Whether a prepared statement has other result columns than when it was prepared. Every other error with this SQLSTATE
/// says that the server cannot do what it was asked for, now or later. The message may be in the server's language; the
/// name of the function that reports it is not.
fn is_stale_plan(server: &DbError) -> bool {
    *server.code() == SqlState::FEATURE_NOT_SUPPORTED
        && (server.routine() == Some("RevalidateCachedQuery")
            || server.message().contains("cached plan must not change result type"))
}

/// Why a batch failed.
pub struct Failure {
    /// Its class.
    pub fault: Fault,
    /// The COMMIT may have come through.
    pub unknown: bool,
    /// What happened, for the log.
    pub what: String,
    /// No connection can be made: every change that waits would fail for the same reason.
    pub away: bool,
    /// The lock of the log's head was asked for.
    pub of_head: bool,
}

impl Failure {
    /// An error before COMMIT was sent: nothing can have been committed.
    pub fn before(error: &tokio_postgres::Error) -> Self {
        Self { fault: Fault::of(error), unknown: false, what: described(error), away: false, of_head: false }
    }

    /// The server does not answer.
    pub fn silence(unknown: bool) -> Self {
        Self { fault: Fault::Lost, unknown, what: "the server does not answer".to_owned(), away: false, of_head: false }
    }

    /// COMMIT was answered, but its wait for the synchronous standby was cancelled. The connection is given up.
    pub fn unconfirmed() -> Self {
        let what = "the wait for the synchronous standby was cancelled".to_owned();
        Self { fault: Fault::Lost, unknown: true, what, away: false, of_head: false }
    }

    /// The server does not answer an attempt to connect.
    pub fn away() -> Self {
        Self { away: true, ..Self::silence(false) }
    }

    /// A connection is refused. Whatever the reason is, no member caused it.
    pub fn refused(error: &tokio_postgres::Error, target: &Target) -> Self {
        let what = places_and_reason(error, &target.config);
        Self { fault: Fault::Lost, unknown: false, what, away: true, of_head: false }
    }

    /// The program itself has found something wrong.
    pub fn of_ours(fault: Fault, what: String) -> Self {
        Self { fault, unknown: false, what, away: false, of_head: false }
    }

    /// The result of `asked`, or that the server does not answer in time; `unknown` says whether COMMIT was part of it.
    pub async fn unless_answered<T>(unknown: bool, asked: impl Future<Output = Result<T, Self>>) -> Result<T, Self> {
        answered(asked).await.unwrap_or_else(|| Err(Self::silence(unknown)))
    }

    /// An error after COMMIT was sent.
    pub fn after(error: &tokio_postgres::Error) -> Self {
        let fault = Fault::of(error);
        Self { unknown: fault == Fault::Lost, ..Self::before(error) }
    }

    /// COMMIT itself failed. A server that does not say that it has rolled back may have committed a part, or all: above all
    /// one that consists of several machines.
    pub fn of_commit(error: &tokio_postgres::Error) -> Self {
        match Fault::of(error) {
            _ if rolls_back(error) => Self::before(error),
            Fault::Lost => Self::after(error),
            _ => Self { fault: Fault::Again, unknown: true, ..Self::before(error) },
        }
    }
}

/// Whether an error of COMMIT says that all is rolled back: a constraint that is looked at last, others in the way, or that
/// it was cancelled.
fn rolls_back(error: &tokio_postgres::Error) -> bool {
    let unknown = SqlState::T_R_STATEMENT_COMPLETION_UNKNOWN;
    error.code().is_some_and(|state| {
        let class = &state.code()[..2];
        *state != unknown && (["23", "25", "40"].contains(&class) || *state == SqlState::QUERY_CANCELED)
    })
}

/// The error of a read or of upkeep; nothing has changed, or it does not matter.
pub fn failed(error: &tokio_postgres::Error) -> Error {
    match Fault::of(error) {
        Fault::Lost | Fault::Stale | Fault::Full | Fault::Slow | Fault::Locked | Fault::Crowded | Fault::Hidden => {
            tracing::warn!(error = %described(error), "PostgreSQL is not available");
            Error::Unavailable
        }
        Fault::Again => Error::Busy,
        Fault::Final => Error::Internal(format!("PostgreSQL: {}", described(error))),
    }
}

/// A connection that cannot be had: nothing has changed.
pub fn away(error: &tokio_postgres::Error, target: &Target) -> Error {
    tracing::warn!(error = %places_and_reason(error, &target.config), "PostgreSQL cannot be connected to");
    Error::Unavailable
}

/// An error with what the server says of it.
pub fn described(error: &tokio_postgres::Error) -> String {
    match error.as_db_error() {
        Some(server) => format!("{} {}", server.code().code(), server.message()),
        None => match error.source() {
            Some(_) => format!("{error}: {}", reason(error)),
            None => error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::connection::Connection;
    use crate::postgres::target::Target;

    #[tokio::test]
    async fn must_tell_a_plan_that_is_out_of_date_from_what_the_server_does_not_support() {
        let database = tenancy_testkit::Postgres::shared().database("unsupported");
        database.execute("CREATE TABLE numbers (number integer)");
        let connection = Connection::open(&Target::parse(&database.url()).unwrap(), &[]).await.unwrap();
        let read = "SELECT number FROM numbers";
        connection.prepare([read]).await.unwrap();
        connection.query(read, &[]).await.unwrap();
        database.execute("ALTER TABLE numbers ALTER number TYPE bigint");
        let stale = connection.query(read, &[]).await.unwrap_err();
        assert_eq!((stale.code(), Fault::of(&stale)), (Some(&SqlState::FEATURE_NOT_SUPPORTED), Fault::Stale));
        let unsupported = connection.execute("SELECT count(*) FROM numbers FOR UPDATE").await.unwrap_err();
        assert_eq!(unsupported.code(), Some(&SqlState::FEATURE_NOT_SUPPORTED));
        assert_eq!(Fault::of(&unsupported), Fault::Final);
        let Error::Internal(text) = failed(&unsupported) else { panic!("{unsupported:?}") };
        assert!(text.contains("0A000 FOR UPDATE is not allowed with aggregate functions"), "{text}");
    }
}
