//! Verdicts for gateways: 200 or 403, and nothing else.
//!
//! nginx (`auth_request`) turns every other status into an error of its own, except 401, which it passes to the client
//! together with the challenge of this server. The client has no key of this server and cannot answer it. So a missing
//! or refused key, bad input, a limit and a database that is away are also answered with 403. The gateway then serves
//! nobody, and `X-Tenant-Reason` says why: the code of the problem.

use super::problem::Problem;
use super::respond::bytes;
use axum::body::Body;
use axum::http::header::CACHE_CONTROL;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde_json::json;
use tenancy_api::access::{Access, REASON_HEADER, header_text};

/// Marks an answer as a verdict.
#[derive(Debug, Clone, Copy)]
struct Verdict;

/// Whether the answer is a verdict, and not a problem.
pub fn is_one(answer: &Response) -> bool {
    answer.extensions().get::<Verdict>().is_some()
}

/// Returns the verdict on a tenant, with its headers.
pub fn on(access: &Access) -> Response {
    let mut verdict = match &access.reason {
        None => marked(Response::new(Body::empty())),
        Some(reason) => refused(&reason.to_string()),
    };
    for (name, value) in access.headers() {
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
            verdict.headers_mut().insert(name, value);
        }
    }
    verdict
}

/// Returns the refusal of a request for a reason that is not the state of a tenant.
pub fn refused(reason: &str) -> Response {
    let mut verdict = bytes(StatusCode::FORBIDDEN, "application/json", json!({"reason": reason}).to_string());
    if let Ok(reason) = HeaderValue::try_from(header_text(reason)) {
        verdict.headers_mut().insert(HeaderName::from_static(REASON_HEADER), reason);
    }
    marked(verdict)
}

/// Turns every answer that is not a verdict into one.
pub fn only(answer: Response) -> Response {
    if is_one(&answer) {
        return answer;
    }
    let code = answer.extensions().get::<Problem>().map_or("unavailable", Problem::code);
    if answer.status().is_server_error() {
        let problem = answer.extensions().get::<Problem>();
        tracing::warn!(code, problem = problem.map(tracing::field::debug), "a gateway got no answer, only a refusal");
    }
    refused(code)
}

fn marked(mut verdict: Response) -> Response {
    // A verdict holds for one request.
    verdict.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    verdict.extensions_mut().insert(Verdict);
    verdict
}
