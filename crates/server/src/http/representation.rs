//! What a client asks of the form of an answer: nothing if it has the answer already (304), or a compressed one.

use crate::precondition::{names, opaque};
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::extract::Request;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, ETAG, IF_NONE_MATCH, VARY};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::response::Response;
use flate2::Compression;
use flate2::write::GzEncoder;
use std::io::Write as _;

/// Minimum size of a body that is compressed, in bytes.
const LEAST_BYTES: u64 = 1024;
/// Size from which a body is compressed outside the threads that serve requests, in bytes.
const LARGE_BYTES: usize = 64 * 1024;

/// What a request asks of its answer.
#[derive(Debug, Default)]
pub struct Wanted {
    /// `If-None-Match` of a read.
    if_none_match: Option<HeaderValue>,
    is_gzip_accepted: bool,
}

impl Wanted {
    /// Reads the headers of a request.
    pub fn of(request: &Request) -> Self {
        let headers = request.headers();
        let is_read = matches!(*request.method(), Method::GET | Method::HEAD);
        Self {
            if_none_match: headers.get(IF_NONE_MATCH).filter(|_| is_read).cloned(),
            is_gzip_accepted: accepts_gzip(headers),
        }
    }

    /// Returns the answer in the form that the request asks for.
    pub async fn form(self, response: Response) -> Response {
        if self.is_known(&response) {
            return not_modified(response);
        }
        if !is_compressible(&response) {
            return response;
        }
        let mut response = if self.is_gzip_accepted { compressed(response).await } else { response };
        response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
        response
    }

    /// Whether the client has this representation already (RFC 9110, 13.1.2).
    fn is_known(&self, response: &Response) -> bool {
        let text = |value: Option<&HeaderValue>| value.and_then(|value| value.to_str().ok()).map(str::to_owned);
        let (known, etag) = (text(self.if_none_match.as_ref()), text(response.headers().get(ETAG)));
        response.status() == StatusCode::OK && known.zip(etag).is_some_and(|(known, etag)| names(&known, &etag))
    }
}

fn not_modified(response: Response) -> Response {
    let (mut parts, _) = response.into_parts();
    parts.status = StatusCode::NOT_MODIFIED;
    parts.headers.remove(CONTENT_TYPE);
    parts.headers.remove(CONTENT_LENGTH);
    Response::from_parts(parts, Body::empty())
}

/// Whether `Accept-Encoding` allows gzip: it is named, or `*` is, with a quality that is not 0 (RFC 9110, 12.5.3).
fn accepts_gzip(headers: &HeaderMap) -> bool {
    let mut any = None;
    let words = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    for word in words.flat_map(|value| value.split(',')) {
        let (coding, parameters) = word.split_once(';').unwrap_or((word, ""));
        let quality = parameters.trim().strip_prefix("q=").and_then(|quality| quality.parse::<f32>().ok());
        let is_allowed = quality.is_none_or(|quality| quality > 0.0);
        match coding.trim() {
            coding if coding.eq_ignore_ascii_case("gzip") => return is_allowed,
            "*" => any = Some(is_allowed),
            _ => {}
        }
    }
    any.unwrap_or(false)
}

/// Whether the body is long enough, and text.
fn is_compressible(response: &Response) -> bool {
    let media = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    response.body().size_hint().exact().is_some_and(|bytes| bytes >= LEAST_BYTES)
        && !response.headers().contains_key(CONTENT_ENCODING)
        && ["json", "text/", "yaml"].iter().any(|text| media.contains(text))
}

/// Compresses the body. A strong tag names one representation, so that the compressed one gets a tag of its own.
async fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    // The body is in memory; reading it cannot fail.
    let Ok(plain) = to_bytes(body, usize::MAX).await else { return Response::from_parts(parts, Body::empty()) };
    let packed = match plain.len() {
        length if length < LARGE_BYTES => gzip(&plain),
        _ => {
            let plain = plain.clone();
            tokio::task::spawn_blocking(move || gzip(&plain)).await.unwrap_or(None)
        }
    };
    let Some(packed) = packed else { return Response::from_parts(parts, Body::from(plain)) };
    parts.headers.remove(CONTENT_LENGTH);
    parts.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    let etag =
        parts.headers.get(ETAG).and_then(|value| value.to_str().ok()).map(|tag| format!("\"{}-gzip\"", opaque(tag)));
    if let Some(etag) = etag.and_then(|etag| HeaderValue::from_str(&etag).ok()) {
        parts.headers.insert(ETAG, etag);
    }
    Response::from_parts(parts, Body::from(packed))
}

fn gzip(plain: &[u8]) -> Option<Bytes> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 3), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_compress_only_for_who_accepts_it() {
        let accepts = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(text));
            accepts_gzip(&headers)
        };
        for yes in ["gzip", "br, GZIP;q=0.5", "*", "deflate, *;q=0.1"] {
            assert!(accepts(yes), "{yes}");
        }
        for no in ["", "identity", "gzip;q=0", "gzip; q=0.0, *", "*;q=0", "br"] {
            assert!(!accepts(no), "{no}");
        }
        assert!(!accepts_gzip(&HeaderMap::new()));
    }
}
