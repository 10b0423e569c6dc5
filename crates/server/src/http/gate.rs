//! The gate before each route: who calls and whether they may, the correlation id, figures, one log line.

use super::auth::{self, Caller};
use super::correlation::{self, X_CORRELATION_ID};
use super::problem::Problem;
use super::route::Needs;
use super::server::Server;
use crate::metrics::RouteMetrics;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;
use tenancy_core::Error;
use tenancy_core::ids::{CorrelationId, KeyId};

/// What stands before one route.
pub struct Gate {
    /// The server's state.
    pub server: Arc<Server>,
    /// What a caller needs.
    pub needs: Needs,
    /// The route's method.
    pub method: &'static str,
    /// The route's path, parameters unfilled.
    pub path: String,
    /// The route's figures.
    pub metrics: RouteMetrics,
}

/// Lets a request through, or answers it.
pub async fn gate(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let (mut parts, body) = request.into_parts();
    let correlation_id = correlation::of(&parts.headers);
    let mut key_id = None;
    let response = match gate.admit(&mut parts, &correlation_id).await {
        Ok(admitted) => {
            key_id = admitted;
            run(next, Request::from_parts(parts, body)).await
        }
        Err(error) => Problem::from(error).into_response(),
    };
    let response = finished(response, &correlation_id);
    gate.record(&response, begun, &correlation_id, key_id.as_ref());
    response
}

/// Runs the handler. A panic in it is a fault of ours, and not the end of the connection.
async fn run(next: Next, request: Request) -> Response {
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    run.await.unwrap_or_else(|_| Problem::from(Error::Internal("a handler panicked".to_owned())).into_response())
}

/// The whole response: a problem is written down, and the correlation id goes out.
pub fn finished(response: Response, correlation_id: &CorrelationId) -> Response {
    let mut response = Problem::settle(response, correlation_id);
    if let Ok(value) = HeaderValue::from_str(correlation_id.as_str()) {
        response.headers_mut().insert(X_CORRELATION_ID, value);
    }
    response
}

impl Gate {
    async fn admit(&self, parts: &mut Parts, correlation_id: &CorrelationId) -> Result<Option<KeyId>, Error> {
        let Some(key) = auth::key(&self.server.tenancy, &parts.headers, self.needs).await? else { return Ok(None) };
        let key_id = key.key_id.clone();
        parts.extensions.insert(Caller { key, correlation_id: correlation_id.clone() });
        Ok(Some(key_id))
    }

    fn record(&self, response: &Response, begun: Instant, correlation_id: &CorrelationId, key_id: Option<&KeyId>) {
        let (status, time) = (response.status().as_u16(), begun.elapsed());
        self.metrics.answered(status, time);
        tracing::info!(
            target: "tenancy::request",
            method = self.method,
            route = self.path,
            status,
            ms = time.as_secs_f64() * 1000.0,
            correlation_id = correlation_id.as_str(),
            key_id = key_id.map(KeyId::as_str),
        );
    }
}
