//! Responses.

use super::problem::Problem;
use crate::answer::Answer;
use crate::elsewhere::elsewhere;
use crate::precondition::DIGEST;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, ETAG, LOCATION};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tenancy_api::list::{self, List, Unreadable};
use tenancy_core::Error;
use tenancy_core::json::sha256_hex;
use tenancy_store::page::Listed;

/// `Idempotency-Replayed`: the answer is the stored one to this Idempotency-Key.
pub const IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Returns a response with this media type.
pub fn bytes(status: StatusCode, media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Returns a JSON response.
///
/// # Errors
/// [`Error::Internal`] if the view cannot be serialized, which is not known to happen.
pub fn json(view: &impl Serialize) -> Result<Response, Problem> {
    let body = serde_json::to_vec(view).map_err(|error| Error::Internal(format!("cannot write JSON: {error}")))?;
    Ok(bytes(StatusCode::OK, "application/json", body))
}

/// Returns a page of a list; `view` builds an item from a row.
///
/// # Errors
/// The same as [`json`].
pub fn page<'a, R, V: Serialize>(listed: &'a Listed<R>, view: impl Fn(&'a R) -> V) -> Result<Response, Problem> {
    let unreadable = listed.unreadable.iter();
    let unreadable = unreadable.map(|row| Unreadable { id: row.id.clone(), place: row.place.clone() }).collect();
    json(&List { unreadable, ..list::page(&listed.items, listed.next.clone(), view) })
}

/// Number of items of a page from which it is rendered on another thread.
const ITEMS_ELSEWHERE: usize = 16;

/// Renders a page of a list, on another thread if it is large.
///
/// # Errors
/// The error of `render`.
pub async fn listed(
    items: usize,
    render: impl FnOnce() -> Result<Response, Problem> + Send + 'static,
) -> Result<Response, Problem> {
    if items < ITEMS_ELSEWHERE { render() } else { elsewhere(render).await? }
}

/// Returns a JSON response with an ETag: the version, and the digest of the body. Parts of the body change without the
/// version, and a strong tag names one representation (RFC 9110, 8.8.1).
///
/// # Errors
/// The same as [`json`].
pub fn versioned(version: &str, view: &impl Serialize) -> Result<Response, Problem> {
    let body = text(view);
    let etag = HeaderValue::from_str(&format!("\"{}\"", digested(version, &body)));
    let mut response = bytes(StatusCode::OK, "application/json", body);
    etag.map(|etag| response.headers_mut().insert(ETAG, etag)).ok();
    Ok(response)
}

/// Returns the tag of a representation whose parts change without its version.
pub fn digested(version: &str, body: &str) -> String {
    format!("{version}.{DIGEST}{:.8}", sha256_hex(&[body.as_bytes()]))
}

/// Returns the response of a write. `replayed`: it is a stored answer.
pub fn answer(answer: Answer, replayed: bool) -> Response {
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::OK);
    let mut response = if answer.body.is_empty() {
        let mut response = Response::new(Body::empty());
        *response.status_mut() = status;
        response
    } else {
        bytes(status, "application/json", answer.body)
    };
    let headers = response.headers_mut();
    let etag = answer.etag.and_then(|etag| HeaderValue::from_str(&format!("\"{etag}\"")).ok());
    let location = answer.location.and_then(|location| HeaderValue::from_str(&location).ok());
    etag.map(|etag| headers.insert(ETAG, etag));
    location.map(|location| headers.insert(LOCATION, location));
    if replayed {
        headers.insert(IDEMPOTENCY_REPLAYED, HeaderValue::from_static("true"));
    }
    response
}

/// Serializes a view for an [`Answer`].
pub fn text(view: &impl Serialize) -> String {
    // Serialization can fail only for maps whose keys are not text, which no view has.
    serde_json::to_string(view).unwrap_or_default()
}
