//! The gate before each route: authentication, authorization, correlation id, metrics and one log line.

use super::auth;
use super::correlation::{self, X_CORRELATION_ID};
use super::key_traffic::{Seat, Weight};
use super::peer::Peer;
use super::problem::Problem;
use super::rate::Rate;
use super::representation::Wanted;
use super::server::Server;
use crate::authentication::{Caller, Denied, Requirement};
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
use tenancy_core::ids::{CorrelationId, KeyId};
use tenancy_core::rules::refusals::RefusedCalls;
use tenancy_core::{Error, Timestamp};

/// Query parameter with which a request waits.
pub const WAITS: &str = "wait_seconds";
/// Query parameter with which a request waits for events.
pub const FOLLOWS: &str = "wait";

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
    /// What its requests demand of the server.
    pub weight: Weight,
    /// Metrics of the route.
    pub metrics: RouteMetrics,
}

/// What the gate learns of the caller of a request.
#[derive(Default)]
struct Visit {
    key_id: Option<KeyId>,
    rate: Option<Rate>,
}

/// Passes a request on to the handler, or answers it.
pub async fn gate(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let correlation_id = correlation::of(request.headers());
    let peer = request.extensions().get::<Peer>().copied();
    let connection = request.extensions().get::<Arc<Connection>>().cloned();
    let wanted = Wanted::of(&request);
    let mut visit = Visit::default();
    let answered = gate.answer(request, next, &correlation_id, &mut visit).await;
    let answered = answered.unwrap_or_else(|denied| {
        visit.key_id = denied.key_id.or(visit.key_id.take());
        Problem::from(denied.error).into_response()
    });
    gate.note_refusal(&answered, &visit, peer);
    let mut response = wanted.form(finished(answered, &correlation_id)).await;
    if gate.method == "PATCH" && response.status() == StatusCode::UNSUPPORTED_MEDIA_TYPE {
        response.headers_mut().insert(ACCEPT_PATCH, HeaderValue::from_static(PATCHES));
    }
    if let Some(connection) = connection {
        let charged = ResponseBudget::charge(&connection, response, gate.method != "GET");
        response = charged.unwrap_or_else(|| finished(too_much_unread().into_response(), &correlation_id));
    }
    visit.rate.inspect(|rate| rate.tell(response.headers_mut()));
    gate.record(&response, begun, &correlation_id, visit.key_id.as_ref(), peer);
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

/// Runs the handler of a request that has a seat.
async fn run_seated(next: Next, request: Request, seat: Seat) -> Response {
    if !seat.is_heavy() {
        let answer = run(next, request).await;
        drop(seat);
        return answer;
    }
    // A heavy request runs to its end, even if its client disconnects. Its seat would otherwise be free while the
    // database still works for it.
    let running = tokio::spawn(async move {
        let answer = run(next, request).await;
        drop(seat);
        answer
    });
    running.await.unwrap_or_else(|error| {
        Problem::from(Error::Internal(format!("a request was aborted: {error}"))).into_response()
    })
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
    check: impl Future<Output = Result<Caller, Denied>>,
    read: impl Future<Output = Response>,
) -> Result<Response, Denied> {
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
        visit: &mut Visit,
    ) -> Result<Response, Denied> {
        if self.requirement == Requirement::Nothing {
            return Ok(run(next, request).await);
        }
        let (tenancy, authentication) = (&self.server.tenancy, &self.server.authentication);
        let digest = auth::shown(request.headers())?;
        let connection = request.extensions().get::<Arc<Connection>>().cloned();
        let (now, weight) = (tenancy.now(), self.weight(&request));
        let known = authentication.known(&digest, now, self.requirement);
        let check = authentication.look_up(tenancy, &digest, self.requirement);
        if known.is_some() {
            // Before the handler runs: a request may wait for a job for a minute.
            show_key(connection.as_ref());
        }
        match known {
            Some(caller) if self.only_reads() => {
                let seat = self.seat(&caller, weight, now, visit).await?;
                let read = run_seated(next, of_caller(request, &caller, correlation_id), seat);
                beside(check, read).await
            }
            Some(caller) => {
                let seat = self.seat(&caller, weight, now, visit).await?;
                let answer = run_seated(next, of_caller(request, &caller, correlation_id), seat).await;
                // A commit proves that the key was valid. Without a commit, the answer waits for the lookup. A server
                // error is returned at once: it is not confidential, and may mean that the outcome of a change is
                // unknown.
                if caller.committed() {
                    caller.key().inspect(|key| tenancy.key_usage.used(key, now));
                } else if !answer.status().is_server_error() {
                    let unknown = |denied: Denied| match caller.is_outcome_unknown() {
                        true => Denied { error: Error::OutcomeUnknown, ..denied },
                        false => denied,
                    };
                    check.await.map_err(unknown)?;
                }
                Ok(answer)
            }
            None => {
                let caller = check.await?;
                show_key(connection.as_ref());
                let seat = self.seat(&caller, weight, now, visit).await?;
                Ok(run_seated(next, of_caller(request, &caller, correlation_id), seat).await)
            }
        }
    }

    /// Returns what a request demands. A route where requests can wait is light for those that do not.
    fn weight(&self, request: &Request) -> Weight {
        // Both parameters begin with the same word.
        let waits = || request.uri().query().is_some_and(|query| query.contains(FOLLOWS));
        if self.weight == Weight::Waiting && !waits() { Weight::Light } else { self.weight }
    }

    /// Counts the request against the limits of its key, and waits until it can be served.
    async fn seat(&self, caller: &Caller, weight: Weight, now: Timestamp, visit: &mut Visit) -> Result<Seat, Error> {
        let Some(key) = caller.key() else { return Ok(Seat::default()) };
        visit.key_id = Some(key.key_id.clone());
        self.server.key_traffic.seat(key, weight, now, &mut visit.rate).await
    }

    /// Collects a refused call for the audit log.
    fn note_refusal(&self, answer: &Response, visit: &Visit, peer: Option<Peer>) {
        if !matches!(answer.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return;
        }
        let tenancy = &self.server.tenancy;
        let now = tenancy.now();
        tenancy.refusals.add(RefusedCalls {
            method: self.method,
            route: self.path.clone(),
            code: answer.extensions().get::<Problem>().map_or("refused", Problem::code),
            key_id: visit.key_id.clone(),
            peer: peer.map(|peer| peer.to_string()),
            count: 1,
            first_at: now,
            last_at: now,
        });
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
