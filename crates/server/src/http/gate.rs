//! The gate before each route: who calls and whether they may, the correlation id, figures, one log line.

use super::auth::{self, Caller};
use super::correlation::{self, X_CORRELATION_ID};
use super::problem::Problem;
use super::route::Needs;
use super::server::Server;
use crate::metrics::RouteMetrics;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;
use tenancy_core::Error;
use tenancy_core::apikey::ApiKey;
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
    let correlation_id = correlation::of(request.headers());
    let mut key_id = None;
    let answered = gate.answer(request, next, &correlation_id, &mut key_id).await;
    let response = finished(answered.unwrap_or_else(|error| Problem::from(error).into_response()), &correlation_id);
    gate.record(&response, begun, &correlation_id, key_id.as_ref());
    response
}

/// Runs the handler. A panic in it is a fault of ours, and not the end of the connection.
async fn run(next: Next, request: Request) -> Response {
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    run.await.unwrap_or_else(|_| Problem::from(Error::Internal("a handler panicked".to_owned())).into_response())
}

/// A read that runs beside the check of its caller's key: the database is asked for both at once. What was read goes out
/// only if the key is good.
async fn beside(
    key: impl Future<Output = Result<ApiKey, Error>>,
    read: impl Future<Output = Response>,
) -> Result<(ApiKey, Response), Error> {
    match select(pin!(key), pin!(read)).await {
        Either::Left((key, read)) => {
            let key = key?;
            Ok((key, read.await))
        }
        Either::Right((answer, key)) => Ok((key.await?, answer)),
    }
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
    async fn answer(
        &self,
        mut request: Request,
        next: Next,
        correlation_id: &CorrelationId,
        key_id: &mut Option<KeyId>,
    ) -> Result<Response, Error> {
        if self.needs == Needs::Nothing {
            return Ok(run(next, request).await);
        }
        let (tenancy, seen) = (&self.server.tenancy, &self.server.seen_tokens);
        let digest = auth::shown(request.headers())?;
        if self.only_reads() && seen.has(&digest) {
            let key = auth::key(tenancy, &digest, self.needs);
            let (key, answer) = beside(key, run(next, request)).await.inspect_err(|_| seen.remove(&digest))?;
            *key_id = Some(key.key_id);
            return Ok(answer);
        }
        let key = auth::key(tenancy, &digest, self.needs).await?;
        seen.add(digest);
        *key_id = Some(key.key_id.clone());
        request.extensions_mut().insert(Caller { key, correlation_id: correlation_id.clone() });
        Ok(run(next, request).await)
    }

    /// Whether the handler changes nothing, and asks for nothing of its caller.
    fn only_reads(&self) -> bool {
        self.method == "GET" && matches!(self.needs, Needs::Permission(_))
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
