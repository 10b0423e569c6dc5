//! Path parameters.

use super::problem::Problem;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::de::DeserializeOwned;
use tenancy_core::Error;

/// Extractor of a route's path parameters, in order.
pub struct Named<T>(pub T);

impl<S: Send + Sync, T: DeserializeOwned + Send> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        // No valid name contains it, and PostgreSQL accepts no text that does.
        if parts.uri.path().contains("%00") {
            return Err(Error::Malformed("The path must not contain U+0000.".to_owned()).into());
        }
        let read = axum::extract::Path::<T>::from_request_parts(parts, state).await;
        // Every parameter is text, which only a wrong encoding can break.
        read.map(|path| Self(path.0))
            .map_err(|_| Error::Malformed("The path must be percent-encoded UTF-8 (RFC 3986).".to_owned()).into())
    }
}
