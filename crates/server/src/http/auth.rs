//! Who calls, and whether they may.

use super::route::Needs;
use crate::tenancy::Tenancy;
use crate::token::token_digest;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use tenancy_core::Error;
use tenancy_core::apikey::ApiKey;
use tenancy_core::ids::CorrelationId;
use tenancy_core::permission::may;

/// Who calls, in which request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key that was shown.
    pub key: ApiKey,
    /// In which request.
    pub correlation_id: CorrelationId,
}

/// The key that the request shows, if the route needs one; it is asked for on every request, so that a key that was
/// revoked is refused from that commit on.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::Forbidden`].
pub async fn key(tenancy: &Tenancy, headers: &HeaderMap, needs: Needs) -> Result<Option<ApiKey>, Error> {
    if needs == Needs::Nothing {
        return Ok(None);
    }
    let token = bearer(headers).ok_or(Error::Unauthenticated)?;
    let key = tenancy.store.api_key(&token_digest(token)).await?.ok_or(Error::Unauthenticated)?;
    if !key.is_good(tenancy.store.now()) {
        return Err(Error::Unauthenticated);
    }
    match needs {
        Needs::Permission(operation) if !may(key.role, operation) => {
            Err(Error::Forbidden(format!("a key of role {} may not {operation}: ask for one that may", key.role)))
        }
        _ => Ok(Some(key)),
    }
}

/// The token of `Authorization: Bearer …`; the scheme's case does not matter.
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
