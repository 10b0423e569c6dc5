//! The caller of a read, as the gate authenticated it.

use super::problem::Problem;
use crate::authentication::Caller;
use crate::tenancy::RequestContext;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use tenancy_core::Error;

/// Extractor of the caller.
pub struct By(pub Caller);

impl<S: Send + Sync> FromRequestParts<S> for By {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let request = parts.extensions.get::<RequestContext>().ok_or(Error::Unauthenticated)?;
        Ok(Self(request.caller.clone()))
    }
}
