//! Error responses. A handler only returns the error; the gate adds the correlation id and writes the body.

use super::respond::bytes;
use crate::operations::apply::Refused as FileRefused;
use axum::http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use std::borrow::Cow;
use tenancy_api::problem::Problem as ProblemView;
use tenancy_core::Error;
use tenancy_core::ids::CorrelationId;

/// Media type of RFC 9457.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq)]
pub enum Problem {
    /// An error of an operation.
    Refused(Error),
    /// The refusal of a file by `apply`.
    File(FileRefused),
    /// An HTTP error: status, code, sentence.
    Http(StatusCode, &'static str, String),
}

impl From<Error> for Problem {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<FileRefused> for Problem {
    fn from(refused: FileRefused) -> Self {
        Self::File(refused)
    }
}

impl IntoResponse for Problem {
    /// Returns a response without a body; the gate writes the body with [`Problem::answer`].
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

fn status(status: u16) -> StatusCode {
    StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl Problem {
    fn status(&self) -> StatusCode {
        match self {
            Self::Http(status, ..) => *status,
            Self::Refused(error) => status(error.status()),
            Self::File(refused) => status(refused.problem.status),
        }
    }

    /// Returns the complete response.
    pub fn answer(&self, correlation_id: &CorrelationId) -> Response {
        let view = match self {
            Self::Refused(error) => ProblemView::of(error, &[], correlation_id.as_str()),
            Self::File(refused) => (*refused.problem).clone(),
            Self::Http(status, code, detail) => {
                let title = status.canonical_reason().unwrap_or("Refused");
                ProblemView::plain(status.as_u16(), title, code, detail.clone(), correlation_id.as_str())
            }
        };
        if let Self::Refused(Error::Internal(what)) | Self::File(FileRefused { internal: Some(what), .. }) = self {
            tracing::error!(correlation_id = correlation_id.as_str(), "internal error: {what}");
        }
        let mut response = bytes(self.status(), PROBLEM_JSON, serde_json::to_vec(&view).unwrap_or_default());
        let headers = response.headers_mut();
        match self.status() {
            StatusCode::UNAUTHORIZED => drop(headers.insert(WWW_AUTHENTICATE, self.challenge())),
            StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => {
                headers.insert(RETRY_AFTER, HeaderValue::from(self.retry_after_seconds()));
            }
            _ => {}
        }
        response
    }

    fn error(&self) -> Option<&Error> {
        match self {
            Self::Refused(error) => Some(error),
            Self::File(_) | Self::Http(..) => None,
        }
    }

    /// Returns the stable code, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Refused(error) => error.code(),
            Self::File(refused) => match refused.problem.code {
                Cow::Borrowed(code) => code,
                Cow::Owned(_) => "refused",
            },
            Self::Http(_, code, _) => code,
        }
    }

    /// Returns the challenge of RFC 6750: a request without a token is not told that its token is invalid.
    fn challenge(&self) -> HeaderValue {
        match self.error() {
            Some(Error::InvalidToken) => HeaderValue::from_static("Bearer error=\"invalid_token\""),
            _ => HeaderValue::from_static("Bearer"),
        }
    }

    fn retry_after_seconds(&self) -> u64 {
        match self.error() {
            Some(Error::RateLimited { retry_after_seconds }) => *retry_after_seconds,
            _ => 1,
        }
    }

    /// Replaces a handler's response that carries a problem by the complete response.
    pub fn settle(mut response: Response, correlation_id: &CorrelationId) -> Response {
        let Some(problem) = response.extensions_mut().remove::<Self>() else { return response };
        let mut settled = problem.answer(correlation_id);
        if let Some(allow) = response.headers_mut().remove(ALLOW) {
            settled.headers_mut().insert(ALLOW, allow);
        }
        settled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_title_a_problem_with_the_words_of_its_status() {
        let errors = [
            Error::Malformed(String::new()),
            Error::Unauthenticated,
            Error::InvalidToken,
            Error::RateLimited { retry_after_seconds: 1 },
            Error::TooManyAtOnce,
            Error::Forbidden(String::new()),
            Error::not_found("tenant", "x"),
            Error::NotNow(String::new()),
            Error::StaleVersion { expected: Some(1), current: 2 },
            Error::TooLarge(String::new()),
            Error::Invalid(Vec::new()),
            Error::VersionRequired { current: 1 },
            Error::Internal(String::new()),
            Error::Busy,
        ];
        for error in errors {
            let problem = ProblemView::of(&error, &[], "c");
            let status = StatusCode::from_u16(problem.status).expect("a status");
            assert_eq!(Some(&*problem.title), status.canonical_reason(), "{error:?}");
        }
    }

    #[tokio::test]
    async fn must_add_retry_after_and_www_authenticate() {
        let id = CorrelationId::known("c-1");
        let busy = Problem::settle(Problem::from(Error::Busy).into_response(), &id);
        assert_eq!(busy.status().as_u16(), 503);
        assert_eq!(busy.headers()[RETRY_AFTER], "1");
        let nobody = Problem::settle(Problem::from(Error::Unauthenticated).into_response(), &id);
        assert_eq!(nobody.headers()[WWW_AUTHENTICATE], "Bearer");
        let bad = Problem::settle(Problem::from(Error::InvalidToken).into_response(), &id);
        assert_eq!(
            (bad.status().as_u16(), &bad.headers()[WWW_AUTHENTICATE]),
            (401, &HeaderValue::from_static("Bearer error=\"invalid_token\""))
        );
        let limited =
            Problem::settle(Problem::from(Error::RateLimited { retry_after_seconds: 7 }).into_response(), &id);
        assert_eq!((limited.status().as_u16(), &limited.headers()[RETRY_AFTER]), (429, &HeaderValue::from_static("7")));
        let body = axum::body::to_bytes(nobody.into_body(), 10_000).await.expect("a body");
        let problem: serde_json::Value = serde_json::from_slice(&body).expect("json");
        assert_eq!((&problem["code"], &problem["correlation_id"]), (&"unauthenticated".into(), &"c-1".into()));
    }
}
