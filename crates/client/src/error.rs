//! Why a request fails.

use std::time::Duration;
use tenancy_api::Problem;

/// Why a request fails.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The server refuses the request, and says why.
    #[error("{} ({}, correlation id {})", .0.detail, .0.code, .0.correlation_id)]
    Refused(Box<Problem>),
    /// No server answers.
    #[error("no server answers at {url}: {cause}")]
    Unreachable {
        /// URL of the server.
        url: String,
        /// Innermost cause.
        cause: String,
    },
    /// The connection ended before the answer was complete. If the request was a change, it may have been made: send it
    /// again with the same Idempotency-Key to learn its result.
    #[error("the connection to {url} ended before the answer was complete: {cause}")]
    Broken {
        /// URL of the server.
        url: String,
        /// Innermost cause.
        cause: String,
    },
    /// The answer does not come from a Tenancy server, such as an error of a proxy.
    #[error("{url} answers with status {status}, and not as a Tenancy server: {cause}")]
    NotTenancy {
        /// URL of the server.
        url: String,
        /// Status of the answer.
        status: u16,
        /// What is wrong with the answer.
        cause: String,
    },
    /// The client was given an invalid value.
    #[error("{0}")]
    Invalid(String),
}

impl Error {
    /// Stable code of the problem, if the server has refused the request.
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }

    /// Correlation id of the request, if the server has refused it. The server's log has more under it.
    pub fn correlation_id(&self) -> Option<&str> {
        match self {
            Self::Refused(problem) => Some(&problem.correlation_id),
            _ => None,
        }
    }

    /// Status of the answer, if there is one.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::NotTenancy { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether the key is unknown, revoked or expired, or may not read this.
    pub fn is_of_key(&self) -> bool {
        matches!(self.code(), Some("unauthenticated" | "forbidden"))
    }
}

/// An error, and whether and when the request can be sent again.
#[derive(Debug)]
pub(crate) struct Attempt {
    pub(crate) error: Error,
    pub(crate) again: Again,
}

/// Whether a request can be sent again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Again {
    /// Sending it again gives the same answer.
    No,
    /// After a pause of the client's choice.
    Soon,
    /// Not before this pause, which the server demands.
    After(Duration),
}

/// Returns the innermost cause; the outer ones only repeat the URL.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
