//! The gate before each route: authentication, authorization, correlation id, metrics and one log line.

use super::auth;
use super::correlation::{self, X_CORRELATION_ID};
use super::peer::Peer;
use super::problem::Problem;
use super::representation::Wanted;
use super::server::Server;
use crate::authentication::{Caller, Requirement};
use crate::connections::connection::Connection;
use crate::connections::response_budget::ResponseBudget;
use crate::metrics::RouteMetrics;
use crate::tenancy::RequestContext;
use axum::extract::{Request, State};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_core::Error;
use tenancy_core::ids::{CorrelationId, KeyId};

/// `Accept-Patch` (RFC 5789, 3.1): media types of the bodies of PATCH.
const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");
const PATCHES: &str = "application/merge-patch+json, application/json";

/// The gate of one route.
pub struct Gate {
    /// State of the server.
    pub server: Arc<Server>,
    /// What the route requires of its caller.
    pub requirement: Requirement,
    /// Method of the route.
    pub method: &'static str,
    /// Path of the route, with parameters in braces.
    pub path: String,
    /// Metrics of the route.
    pub metrics: RouteMetrics,
}

/// Passes a request on to the handler, or answers it.
pub async fn gate(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let correlation_id = correlation::of(request.headers());
    let peer = request.extensions().get::<Peer>().copied();
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let wanted = Wanted::of(&request);
    let mut key_id = None;
    let answered = gate.answer(request, next, &correlation_id, &mut key_id).await;
    let response = finished(answered.unwrap_or_else(|error| Problem::from(error).into_response()), &correlation_id);
    let mut response = wanted.form(response).await;
    if gate.method == "PATCH" && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        response.headers_mut().insert(ACCEPT_PATCH, HeaderValue::from_static(PATCHES));
    }
    if let Some(connection) = connection {
        let charged = ResponseBudget::charge(&connection, response, gate.method != "GET");
        response = charged.unwrap_or_else(|| finished(too_much_unread().into_response(), &correlation_id));
    }
    gate.record(&response, begun, &correlation_id, key_id.as_ref(), peer);
    response
}

fn too_much_unread() -> Problem {
    let detail = "Too many responses wait for slow clients. Send the request again.";
    Problem::Http(StatusCode::SERVICE_UNAVAILABLE, "busy", detail.to_owned())
}

/// Notes that a valid key was used on the connection, so that the connection keeps its seat.
fn show_key(connection: Option<&Arc<Connection>>) {
    if let Some(connection) = connection {
        connection.seat().show_key();
    }
}

/// Runs the handler. A panic becomes an answer with status 500, and the connection stays open.
async fn run(next: Next, request: Request) -> Response {
    let run = AssertUnwindSafe(next.run(request)).catch_unwind();
    run.await.unwrap_or_else(|_| {
        Problem::from(Error::Internal("a handler panicked; see standard error of the server".to_owned()))
            .into_response()
    })
}

/// Runs a read and the check of its caller's key at the same time, so that both queries are in progress together. The
/// result of the read is returned only if the key is valid.
async fn beside(
    check: impl Future<Output = Result<Caller, Error>>,
    read: impl Future<Output = Response>,
) -> Result<Response, Error> {
    match select(pin!(check), pin!(read)).await {
        Either::Left((checked, read)) => {
            checked?;
            Ok(read.await)
        }
        Either::Right((answer, check)) => check.await.map(|_| answer),
    }
}

/// Returns the request with its caller and correlation id.
fn of_caller(mut request: Request, caller: &Caller, correlation_id: &CorrelationId) -> Request {
    request.extensions_mut().insert(RequestContext { caller: caller.clone(), correlation_id: correlation_id.clone() });
    request
}

/// Returns the complete response: writes the body of a problem and adds the correlation id.
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
        if self.requirement == Requirement::Nothing {
            return Ok(run(next, request).await);
        }
        let (tenancy, authentication) = (&self.server.tenancy, &self.server.authentication);
        let digest = auth::shown(request.headers())?;
        let connection = request.extensions().get::<Arc<Connection>>().cloned();
        let now = tenancy.now();
        let known = authentication.known(&digest, now, self.requirement);
        let check = authentication.look_up(tenancy, &digest, self.requirement);
        if known.is_some() {
            // Before the handler runs: a request may wait for a job for a minute.
            show_key(connection.as_ref());
        }
        let (caller, answer) = match known {
            Some(caller) if self.only_reads() => {
                let read = run(next, of_caller(request, &caller, correlation_id));
                let answer = beside(check, read).await?;
                (caller, answer)
            }
            Some(caller) => {
                let answer = run(next, of_caller(request, &caller, correlation_id)).await;
                // A commit proves that the key was valid. Without a commit, the answer waits for the lookup. A server
                // error is returned at once: it is not confidential, and may mean that the outcome of a change is
                // unknown.
                if caller.committed() {
                    caller.key().inspect(|key| tenancy.key_usage.used(key, now));
                } else if !answer.status().is_server_error() {
                    let unknown = |error| if caller.is_outcome_unknown() { Error::OutcomeUnknown } else { error };
                    check.await.map_err(unknown)?;
                }
                (caller, answer)
            }
            None => {
                let caller = check.await?;
                show_key(connection.as_ref());
                let answer = run(next, of_caller(request, &caller, correlation_id)).await;
                (caller, answer)
            }
        };
        *key_id = caller.key().map(|key| key.key_id.clone());
        Ok(answer)
    }

    /// Returns whether the handler changes nothing and has no requirement besides a permission.
    fn only_reads(&self) -> bool {
        self.method == "GET" && matches!(self.requirement, Requirement::Permission(_))
    }

    fn record(
        &self,
        response: &Response,
        begun: Instant,
        correlation_id: &CorrelationId,
        key_id: Option<&KeyId>,
        peer: Option<Peer>,
    ) {
        let time = begun.elapsed();
        self.metrics.answered(response.status().as_u16(), time);
        log(self.method, &self.path, response, time, correlation_id, key_id, peer);
    }
}

/// Label of requests without a route in metrics and log lines.
const NO_ROUTE: &str = "none";

/// Methods in metrics and log lines. All others count as `other`, since callers could otherwise create any number of
/// labels.
const METHODS: [&str; 7] = ["GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"];

/// Answers a request that matches no route, and records it like any other request.
pub fn without_route(server: &Server, request: &Request, problem: Problem) -> Response {
    let (begun, correlation_id) = (Instant::now(), correlation::of(request.headers()));
    let response = finished(problem.into_response(), &correlation_id);
    let method = METHODS.into_iter().find(|method| *method == request.method().as_str()).unwrap_or("other");
    server.metrics.route(method, NO_ROUTE).answered(response.status().as_u16(), begun.elapsed());
    let peer = request.extensions().get::<Peer>().copied();
    log(method, NO_ROUTE, &response, begun.elapsed(), &correlation_id, None, peer);
    response
}

fn log(
    method: &str,
    route: &str,
    response: &Response,
    time: Duration,
    correlation_id: &CorrelationId,
    key_id: Option<&KeyId>,
    peer: Option<Peer>,
) {
    tracing::info!(
        target: "tenancy::request",
        method,
        route,
        status = response.status().as_u16(),
        ms = time.as_secs_f64() * 1000.0,
        correlation_id = correlation_id.as_str(),
        key_id = key_id.map(KeyId::as_str),
        peer = peer.map(tracing::field::display),
    );
}
