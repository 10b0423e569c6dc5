//! Who calls, and whether they may.

use super::route::Needs;
use crate::tenancy::{AskingKey, Tenancy};
use crate::token::token_digest;
use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use quick_cache::sync::Cache;
use std::sync::Arc;
use tenancy_core::apikey::ApiKey;
use tenancy_core::ids::CorrelationId;
use tenancy_core::permission::may;
use tenancy_core::{Error, Timestamp};

/// Who calls, in which request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key that was shown.
    pub key: Arc<ApiKey>,
    /// What is asked for in its name.
    pub asking: AskingKey,
    /// In which request.
    pub correlation_id: CorrelationId,
}

/// Most tokens that are remembered.
const MAX_SEEN_TOKENS: usize = 10_000;

/// Digests of tokens that were good when they were last looked up, with their keys. It says whose requests may begin before
/// it is known that their key still is good; that is found out by the commit, or before anything is answered.
#[derive(Debug)]
pub struct SeenTokens(Cache<String, Arc<ApiKey>>);

impl Default for SeenTokens {
    fn default() -> Self {
        Self(Cache::new(MAX_SEEN_TOKENS))
    }
}

impl SeenTokens {
    /// Its key, if it was good.
    pub fn key(&self, digest: &str) -> Option<Arc<ApiKey>> {
        self.0.get(digest)
    }

    /// It is good.
    pub fn add(&self, digest: String, key: Arc<ApiKey>) {
        self.0.insert(digest, key);
    }

    /// It is not, or not for this.
    pub fn remove(&self, digest: &str) {
        self.0.remove(digest);
    }
}

/// The digest of the token that a request shows.
///
/// # Errors
/// [`Error::Unauthenticated`] when it shows none.
pub fn shown(headers: &HeaderMap) -> Result<String, Error> {
    bearer(headers).map(token_digest).ok_or(Error::Unauthenticated)
}

/// The key of a token, as it is now, if it is good and may do this.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::Forbidden`].
pub async fn key(tenancy: &Tenancy, digest: &str, needs: Needs) -> Result<Arc<ApiKey>, Error> {
    let key = tenancy.store.api_key(digest).await?.ok_or(Error::Unauthenticated)?;
    allowed(&key, tenancy.store.now(), needs)?;
    Ok(Arc::new(key))
}

/// Whether a key as it was read may do this now.
///
/// # Errors
/// [`Error::Unauthenticated`], [`Error::Forbidden`].
pub fn allowed(key: &ApiKey, now: Timestamp, needs: Needs) -> Result<(), Error> {
    if !key.is_good(now) {
        return Err(Error::Unauthenticated);
    }
    match needs {
        Needs::Permission(operation) if !may(key.role, operation) => {
            Err(Error::Forbidden(format!("a key of role {} may not {operation}: ask for one that may", key.role)))
        }
        _ => Ok(()),
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
