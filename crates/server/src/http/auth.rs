//! The credential of a request: the bearer token in its `Authorization` header (RFC 6750).

use crate::authentication::Authentication;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use tenancy_core::Error;

/// Returns the digest of the token of a request.
///
/// # Errors
/// [`Error::Unauthenticated`] if the request has no bearer token.
pub fn shown(headers: &HeaderMap) -> Result<String, Error> {
    bearer(headers).map(Authentication::digest).ok_or(Error::Unauthenticated)
}

/// Returns the token of `Authorization: Bearer …`. The case of the scheme does not matter.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let token = token.trim();
    (scheme.eq_ignore_ascii_case("bearer") && !token.is_empty()).then_some(token)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_take_a_bearer_only() {
        let of = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(AUTHORIZATION, value.parse().expect("a header"));
            bearer(&headers).map(str::to_owned)
        };
        assert_eq!(of("Bearer abc"), Some("abc".to_owned()));
        assert_eq!(of("bearer  abc "), Some("abc".to_owned()));
        for bad in ["abc", "Basic abc", "Bearer ", "Bearer"] {
            assert_eq!(of(bad), None, "{bad}");
        }
        assert_eq!(bearer(&HeaderMap::new()), None);
    }
}
