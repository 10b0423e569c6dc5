//! The gate before each route: who calls and whether they may, the correlation id, figures, one log line.

use super::auth::{self, Caller};
use super::correlation::{self, X_CORRELATION_ID};
use super::problem::Problem;
use super::route::Needs;
use super::server::Server;
use crate::metrics::RouteMetrics;
use crate::tenancy::AskingKey;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
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
    key: impl Future<Output = Result<Arc<ApiKey>, Error>>,
    read: impl Future<Output = Response>,
) -> Result<(Arc<ApiKey>, Response), Error> {
    match select(pin!(key), pin!(read)).await {
        Either::Left((key, read)) => {
            let key = key?;
            Ok((key, read.await))
        }
        Either::Right((answer, key)) => Ok((key.await?, answer)),
    }
}

/// The request with who calls.
fn of_caller(mut request: Request, key: &Arc<ApiKey>, asking: &AskingKey, correlation_id: &CorrelationId) -> Request {
    let (key, asking, correlation_id) = (Arc::clone(key), asking.clone(), correlation_id.clone());
    request.extensions_mut().insert(Caller { key, asking, correlation_id });
    request
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
        request: Request,
        next: Next,
        correlation_id: &CorrelationId,
        key_id: &mut Option<KeyId>,
    ) -> Result<Response, Error> {
        if self.needs == Needs::Nothing {
            return Ok(run(next, request).await);
        }
        let (tenancy, seen) = (&self.server.tenancy, &self.server.seen_tokens);
        let digest = auth::shown(request.headers())?;
        let known = seen.key(&digest).filter(|key| auth::allowed(key, tenancy.store.now(), self.needs).is_ok());
        let checked = async { auth::key(tenancy, &digest, self.needs).await.inspect_err(|_| seen.remove(&digest)) };
        let (key, answer) = match known {
            Some(_) if self.only_reads() => beside(checked, run(next, request)).await?,
            Some(key) => {
                let asking = AskingKey::of(&key);
                let answer = run(next, of_caller(request, &key, &asking, correlation_id)).await;
                // A commit would have said that the key is good; where there was none, what is answered waits for it. That
                // something failed here is nobody's secret, and may be that a change's outcome is unknown.
                if !asking.held() && !answer.status().is_server_error() {
                    let unknown = |error| if asking.is_outcome_unknown() { Error::OutcomeUnknown } else { error };
                    let now = checked.await.map_err(unknown)?;
                    seen.add(digest.clone(), now);
                }
                (key, answer)
            }
            None => {
                let key = checked.await?;
                seen.add(digest.clone(), Arc::clone(&key));
                let asking = AskingKey::of(&key);
                let answer = run(next, of_caller(request, &key, &asking, correlation_id)).await;
                (key, answer)
            }
        };
        *key_id = Some(key.key_id.clone());
        Ok(answer)
    }

    /// Whether the handler changes nothing, and asks for nothing of its caller.
    fn only_reads(&self) -> bool {
        self.method == "GET" && matches!(self.needs, Needs::Permission(_))
    }

    fn record(&self, response: &Response, begun: Instant, correlation_id: &CorrelationId, key_id: Option<&KeyId>) {
        let time = begun.elapsed();
        self.metrics.answered(response.status().as_u16(), time);
        log(self.method, &self.path, response, time, correlation_id, key_id);
    }
}

/// What stands for a route in figures and log lines where there is none.
const NO_ROUTE: &str = "none";

/// Methods that figures and log lines know; any other is `other`, since callers can make up as many as they like.
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// Answers a request that leads to no route, and records it as every other.
pub fn without_route(server: &Server, request: &Request, problem: Problem) -> Response {
    let (begun, correlation_id) = (Instant::now(), correlation::of(request.headers()));
    let response = finished(problem.into_response(), &correlation_id);
    let method = METHODS.into_iter().find(|method| *method == request.method().as_str()).unwrap_or("other");
    server.metrics.route(method, NO_ROUTE).answered(response.status().as_u16(), begun.elapsed());
    log(method, NO_ROUTE, &response, begun.elapsed(), &correlation_id, None);
    response
}

fn log(
    method: &str,
    route: &str,
    response: &Response,
    time: Duration,
    correlation_id: &CorrelationId,
    key_id: Option<&KeyId>,
) {
    tracing::info!(
        target: "tenancy::request",
        method,
        route,
        status = response.status().as_u16(),
        ms = time.as_secs_f64() * 1000.0,
        correlation_id = correlation_id.as_str(),
        key_id = key_id.map(KeyId::as_str),
    );
}
