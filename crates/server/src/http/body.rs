//! The body of a request: limited in size and time, and parsed by its media type.

use super::problem::Problem;
use crate::config::Limits;
use crate::manifests::utf_16;
use crate::yaml;
use axum::body::{Body, Bytes, HttpBody as _, to_bytes};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, StatusCode};
use serde_json::Value;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::json::Strict;

/// Reads the whole body.
///
/// # Errors
/// [`Error::TooLarge`]; 408 if the body does not arrive in time.
pub async fn read(body: Body, limits: &Limits) -> Result<Bytes, Problem> {
    let time = Duration::from_secs(limits.body_read_timeout_seconds);
    let most = limits.max_body_bytes;
    let too_large = || {
        Error::TooLarge(format!("The request body must not exceed {most} bytes. Split it into several requests."))
            .into()
    };
    // A body whose declared length is too large is refused before it is sent.
    if usize::try_from(body.size_hint().lower()).is_ok_and(|least| least > most) {
        return Err(too_large());
    }
    match tokio::time::timeout(time, to_bytes(body, most)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_too_large(&error) => Err(too_large()),
        Ok(Err(_)) => {
            Err(Error::Malformed("The request body ended before its declared length. Send it again.".to_owned()).into())
        }
        Err(_) => {
            let detail = format!(
                "The request body did not arrive within {} seconds. Send it again.",
                limits.body_read_timeout_seconds
            );
            Err(Problem::Http(StatusCode::REQUEST_TIMEOUT, "timeout", detail))
        }
    }
}

fn is_too_large(error: &axum::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        source = error.source();
    }
    false
}

/// Checks that a body is UTF-8 without a content encoding. The server decodes nothing else.
///
/// # Errors
/// 415 for another `Content-Encoding` or charset.
pub fn as_it_is(headers: &HeaderMap) -> Result<(), Problem> {
    let refused = |code, detail| Err(Problem::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, detail));
    let words = headers.get_all(CONTENT_ENCODING).iter().flat_map(|value| value.as_bytes().split(|byte| *byte == b','));
    let mut encodings = words.map(|word| String::from_utf8_lossy(word.trim_ascii()).into_owned());
    if let Some(encoding) = encodings.find(|word| !word.is_empty() && !word.eq_ignore_ascii_case("identity")) {
        let detail = format!("Content-Encoding {encoding} is not supported. Send the body without Content-Encoding.");
        return refused("unsupported_content_encoding", detail);
    }
    match charset(headers) {
        Some(charset) if !charset.eq_ignore_ascii_case("utf-8") => {
            refused("unsupported_charset", format!("Charset {charset} is not supported. Send the body in UTF-8."))
        }
        _ => Ok(()),
    }
}

fn charset(headers: &HeaderMap) -> Option<&str> {
    let mut parameters = headers.get(CONTENT_TYPE)?.to_str().ok()?.split(';').skip(1);
    parameters.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        name.trim().eq_ignore_ascii_case("charset").then(|| value.trim().trim_matches('"'))
    })
}

/// Parses one JSON document. A body without a media type counts as JSON.
///
/// # Errors
/// [`Error::Malformed`]; 415 for another media type.
pub fn json(headers: &HeaderMap, body: &[u8]) -> Result<Value, Problem> {
    match media_type(headers) {
        None => {}
        // JSON Patch: a list of operations and not a document.
        Some(media) if media == "application/json-patch+json" => {
            return Err(unsupported(&media, "application/json or application/merge-patch+json"));
        }
        Some(media) if media == "application/json" || media.ends_with("+json") => {}
        // The default of `curl -d`.
        Some(media) if media == "application/x-www-form-urlencoded" => {}
        Some(media) => return Err(unsupported(&media, "application/json")),
    }
    Strict::parse(body).map_err(|error| Error::Malformed(format!("invalid JSON: {error}")).into())
}

/// Parses several documents, YAML or JSON.
///
/// # Errors
/// The same as [`json`].
pub fn documents(headers: &HeaderMap, body: &[u8]) -> Result<Vec<Value>, Problem> {
    match media_type(headers).as_deref() {
        Some("application/json") => Ok(match json(headers, body)? {
            Value::Array(documents) => documents,
            document => vec![document],
        }),
        None
        | Some(
            "application/yaml"
            | "application/x-yaml"
            | "text/yaml"
            | "text/x-yaml"
            | "text/plain"
            | "application/x-www-form-urlencoded"
            | "application/octet-stream",
        ) => {
            if let Some(what) = utf_16(body) {
                return Err(Error::Malformed(format!("The request body {what}.")).into());
            }
            let text = std::str::from_utf8(body)
                .map_err(|_| Error::Malformed("The request body must be UTF-8.".to_owned()))?;
            Ok(yaml::documents(text)?)
        }
        Some(media) => Err(unsupported(media, "application/yaml or application/json")),
    }
}

fn media_type(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or(value).trim().to_ascii_lowercase())
}

fn unsupported(media: &str, wanted: &str) -> Problem {
    let detail = format!("Content-Type {media} is not supported here. Send {wanted}.");
    Problem::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", detail)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json as value;

    fn of(media: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, media.parse().expect("a header"));
        headers
    }

    #[tokio::test]
    async fn must_bound_a_body() {
        let limits = Limits { max_body_bytes: 4, ..Limits::default() };
        assert_eq!(read(Body::from("1234"), &limits).await.expect("it fits"), "1234");
        let refused = read(Body::from("12345"), &limits).await.expect_err("too large");
        assert!(matches!(refused, Problem::Refused(Error::TooLarge(_))), "{refused:?}");
        let pieces = futures_util::stream::iter(["123", "45"].map(Ok::<_, std::convert::Infallible>));
        let refused = read(Body::from_stream(pieces), &limits).await.expect_err("too large, which it did not say");
        assert!(matches!(refused, Problem::Refused(Error::TooLarge(_))), "{refused:?}");
    }

    #[test]
    fn must_read_what_it_says_it_is() {
        for media in
            ["application/json", "application/merge-patch+json; charset=utf-8", "application/x-www-form-urlencoded"]
        {
            assert_eq!(json(&of(media), b"{}"), Ok(value!({})), "{media}");
        }
        assert_eq!(json(&HeaderMap::new(), b"{}"), Ok(value!({})));
        let refused = json(&of("text/csv"), b"{}").expect_err("another media type");
        assert!(matches!(refused, Problem::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE, ..)), "{refused:?}");
        assert_eq!(documents(&of("application/json"), b"[{},{}]").map(|d| d.len()), Ok(2));
        assert_eq!(documents(&of("application/yaml"), b"a: 1\n---\nb: 2").map(|d| d.len()), Ok(2));
        assert!(documents(&of("image/png"), b"").is_err());
        assert!(json(&of("application/json-patch+json"), b"[]").is_err());
    }

    #[test]
    fn must_decode_nothing() {
        let code = |headers: &HeaderMap| match as_it_is(headers) {
            Ok(()) => "",
            Err(Problem::Http(StatusCode::UNSUPPORTED_MEDIA_TYPE, code, _)) => code,
            Err(other) => panic!("{other:?}"),
        };
        assert_eq!(code(&HeaderMap::new()), "");
        for (media, expected) in [
            ("application/json; charset=UTF-8", ""),
            ("application/json;charset=\"utf-8\"", ""),
            ("application/json; boundary=x; Charset=latin1", "unsupported_charset"),
            ("application/yaml; charset=utf-16", "unsupported_charset"),
        ] {
            assert_eq!(code(&of(media)), expected, "{media}");
        }
        for (encoding, expected) in [
            ("identity", ""),
            ("gzip", "unsupported_content_encoding"),
            ("identity, br", "unsupported_content_encoding"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_ENCODING, encoding.parse().expect("a header"));
            assert_eq!(code(&headers), expected, "{encoding}");
        }
    }
}
