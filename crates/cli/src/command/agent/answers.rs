//! Answers of the agent: the routes `/v1/access` and `/v1/access/auth` as the server has them, from memory.

use super::limiter::Limiter;
use super::metrics::Metrics;
use axum::body::{Body, Bytes, HttpBody};
use axum::http::header::{AGE, ALLOW, AUTHORIZATION, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;
use tenancy_api::Problem;
use tenancy_api::access::{Access, Asked, BAD_REQUEST, REASON_HEADER, TENANT_UNKNOWN, header_text};
use tenancy_api::health::{Health, Readiness};
use tenancy_client::{AccessCache, Known};
use tenancy_core::json::sha256_hex;
use tenancy_server::http::correlation::{self, X_CORRELATION_ID};
use tenancy_server::precondition::names;

/// Quota that limits the requests of a tenant, in requests per second.
const RATE: &str = "apiRateLimit";
/// Path of the answer for gateways, without a suffix.
const AUTH: &str = "/v1/access/auth";
/// Parameter of [`AUTH`] with the status of an answer to a tenant that sends too many requests.
const LIMITED: &str = "limited";
/// Reason of such an answer.
const RATE_LIMITED: &str = "rate_limited";
/// Reason if the agent knows nothing yet.
const UNAVAILABLE: &str = "unavailable";
/// Reason if what the agent knows is older than the maximum age.
const STALE: &str = "stale";
/// Header of an answer that is older than the maximum age.
const STALE_HEADER: HeaderName = HeaderName::from_static("x-tenant-stale");
/// Reason if the gateway sends no token, or another one.
const UNAUTHENTICATED: &str = "unauthenticated";

/// What to do if the agent knows only what is older than the maximum age.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum WhenStale {
    /// Answer with what was known last, and say so with X-Tenant-Stale
    Serve,
    /// Refuse every request
    Refuse,
}

/// What answers the requests.
pub struct Answers {
    pub cache: Arc<AccessCache>,
    pub max_age: Duration,
    pub when_stale: WhenStale,
    /// Digest of the token that gateways must send.
    pub token_digest: Option<String>,
    /// `None` if the agent does not limit requests.
    pub limiter: Option<Limiter>,
    pub metrics: Metrics,
}

/// A refusal: status, code, sentence.
type Refusal = (StatusCode, &'static str, String);

impl Answers {
    /// Answers a request.
    pub fn answer(&self, request: &Request<impl HttpBody>) -> Response<Body> {
        let path = request.uri().path();
        let mut response = match path {
            "/v1/access" => self.access(request).unwrap_or_else(|refusal| problem(request.headers(), refusal)),
            "/healthz" => open(request, || json(&Health { status: Health::OK.to_owned() })),
            "/readyz" => open(request, || self.readiness()),
            "/metrics" => open(request, || self.metrics.response(&self.cache)),
            _ if path.strip_prefix(AUTH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) => {
                self.verdict(request)
            }
            _ => {
                let detail = format!("There is no route {path}. The agent has /v1/access and /v1/access/auth.");
                problem(request.headers(), (StatusCode::NOT_FOUND, "not_found", detail))
            }
        };
        if !request.body().is_end_stream() {
            // The body is not read, so that the connection cannot be used again.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// `/v1/access`.
    fn access(&self, request: &Request<impl HttpBody>) -> Result<Response<Body>, Refusal> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return Err(bad_method(request.method()));
        }
        if !self.is_authorized(request.headers()) {
            let detail = "The token is missing or wrong. Send it as Authorization: Bearer.".to_owned();
            return Err((StatusCode::UNAUTHORIZED, UNAUTHENTICATED, detail));
        }
        let query = Query::of(request)?;
        let (tenant, alias) = (query.one("tenant")?, query.one("alias")?);
        let environment = query.one("environment")?;
        query.no_others(&["tenant", "alias", "environment"])?;
        let named = match (tenant, alias) {
            (Some(named), None) => named,
            (None, Some(alias)) if alias.contains(':') => alias,
            (None, Some(_)) => return Err(malformed("query parameter alias must have the form kind:value")),
            (Some(_), Some(_)) | (None, None) => {
                let message =
                    "Name the tenant with query parameter tenant (an id) or alias (kind:value), but not with both.";
                return Err(malformed(message));
            }
        };
        let is_stale = self.check_age().map_err(|reason| {
            let detail = match reason {
                STALE => "The agent has not heard of the server for longer than its --max-age.",
                _ => "The agent has not read the tenants from the server yet. Try again.",
            };
            (StatusCode::SERVICE_UNAVAILABLE, UNAVAILABLE, detail.to_owned())
        })?;
        let known = self
            .cache
            .get(named)
            .ok_or_else(|| (StatusCode::NOT_FOUND, "not_found", format!("there is no tenant {named:?}")))?;
        let access = &known.access;
        let body = match environment {
            None => serde_json::to_vec(&**access),
            Some(name) => serde_json::to_vec(&access.in_environment(name)),
        };
        // Only maps with keys that are not texts cannot be serialized.
        let body = body.unwrap_or_default();
        let digest = sha256_hex(&[&body]);
        // Weak: the server has other ETags for the same answer.
        let etag = format!("W/\"{}\"", &digest[..32]);
        let is_known = request.headers().get(IF_NONE_MATCH).and_then(|known| known.to_str().ok());
        let is_known = is_known.is_some_and(|known| names(known, &etag));
        let mut response = match is_known {
            true => status(StatusCode::NOT_MODIFIED, Body::empty()),
            false => typed(StatusCode::OK, "application/json", body),
        };
        let headers = response.headers_mut();
        put(headers, ETAG, &etag);
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        put_age(headers, &known, is_stale);
        self.metrics.count(&response);
        Ok(response)
    }

    /// `/v1/access/auth`: 200, 403, or the status that the gateway wants for a tenant that sends too many requests.
    fn verdict(&self, request: &Request<impl HttpBody>) -> Response<Body> {
        let mut response = self.judge(request).unwrap_or_else(refused);
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.metrics.count(&response);
        response
    }

    fn judge(&self, request: &Request<impl HttpBody>) -> Result<Response<Body>, &'static str> {
        if !self.is_authorized(request.headers()) {
            return Err(UNAUTHENTICATED);
        }
        let (asked, limited) = asked(request)?;
        let is_stale = self.check_age()?;
        let known = self.cache.get(&asked.tenant).ok_or(TENANT_UNKNOWN)?;
        let mut response = match asked.environment.as_deref() {
            None => self.on(&known.access, None, limited),
            Some(name) => self.on(&known.access.in_environment(name), Some(&known.access), limited),
        };
        put_age(response.headers_mut(), &known, is_stale);
        Ok(response)
    }

    /// Answers for a tenant, or for an environment of `tenant`, and counts the request against its limits.
    fn on(&self, access: &Access, tenant: Option<&Access>, limited: StatusCode) -> Response<Body> {
        let mut response = match &access.reason {
            Some(reason) => refused(&reason.to_string()),
            None => match self.take(access, tenant) {
                Ok(()) => status(StatusCode::OK, Body::empty()),
                Err(wait) => {
                    let mut response = refused(RATE_LIMITED);
                    *response.status_mut() = limited;
                    put(response.headers_mut(), RETRY_AFTER, &wait.as_secs_f64().ceil().max(1.0).to_string());
                    response
                }
            },
        };
        let headers = response.headers_mut();
        for (name, value) in access.headers() {
            if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                headers.insert(name, value);
            }
        }
        response
    }

    fn take(&self, access: &Access, tenant: Option<&Access>) -> Result<(), Duration> {
        // An environment without the quota belongs to a tenant without it: the tenant would pass its own on.
        let (Some(limiter), Some(own)) = (&self.limiter, rate(access)) else { return Ok(()) };
        let environment = access.environment.as_deref().map(|name| (name, own));
        limiter.take(&access.tenant_id, tenant.and_then(rate).unwrap_or(own), environment)
    }

    /// Returns whether what the agent knows is older than the maximum age.
    fn check_age(&self) -> Result<bool, &'static str> {
        let age = self.cache.age().ok_or(UNAVAILABLE)?;
        match age > self.max_age {
            true if self.when_stale == WhenStale::Refuse => Err(STALE),
            is_stale => Ok(is_stale),
        }
    }

    fn is_authorized(&self, headers: &HeaderMap) -> bool {
        let Some(digest) = &self.token_digest else { return true };
        let token = headers.get(AUTHORIZATION).and_then(|value| value.as_bytes().strip_prefix(b"Bearer "));
        // Digests are compared, so that the time does not tell how much of a token is right.
        token.is_some_and(|token| sha256_hex(&[token]) == *digest)
    }

    fn readiness(&self) -> Response<Body> {
        let (mut wrong, mut warnings) = (Vec::new(), Vec::new());
        match self.check_age() {
            Err(STALE) => wrong.push("what is known is older than --max-age".to_owned()),
            Err(_) => wrong.push("the tenants were not read yet".to_owned()),
            Ok(true) => warnings.push("what is known is older than --max-age".to_owned()),
            Ok(false) if !self.cache.is_current() => warnings.push("the server is away".to_owned()),
            Ok(false) => {}
        }
        let readiness = Readiness::of(wrong, warnings);
        let mut response = json(&readiness);
        if !readiness.is_ready() {
            *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
        }
        response
    }
}

/// Returns the quota [`RATE`], if there is one.
fn rate(access: &Access) -> Option<u64> {
    let limit = access.quotas.get(RATE).and_then(tenancy_core::quotas::counted)?;
    Some(u64::try_from(limit).unwrap_or(0))
}

/// Reads what the gateway asks about, and the status for a tenant that sends too many requests.
fn asked(request: &Request<impl HttpBody>) -> Result<(Asked, StatusCode), &'static str> {
    let mut pairs = Vec::new();
    // The query of a path with a suffix is that of the gateway's client.
    if request.uri().path() == AUTH {
        let query = Query::of(request).map_err(|_| BAD_REQUEST)?;
        query.no_others(&["tenant", "alias", "environment", LIMITED]).map_err(|_| BAD_REQUEST)?;
        pairs = query.0;
    }
    let limited = match pairs.iter().find(|(name, _)| name == LIMITED).map(|(_, value)| value.as_str()) {
        None | Some("429") => StatusCode::TOO_MANY_REQUESTS,
        Some("403") => StatusCode::FORBIDDEN,
        Some(_) => return Err(BAD_REQUEST),
    };
    // No name contains U+FFFD, so that a value that cannot be read finds nothing.
    let headers = request.headers().iter();
    let headers: Vec<_> = headers.map(|(name, value)| (name.as_str(), value.to_str().unwrap_or("\u{fffd}"))).collect();
    Ok((Asked::of(headers.into_iter(), &pairs)?, limited))
}

/// Query parameters.
struct Query(Vec<(String, String)>);

impl Query {
    fn of(request: &Request<impl HttpBody>) -> Result<Self, Refusal> {
        let query = request.uri().query().unwrap_or_default();
        let pairs = url::form_urlencoded::parse(query.as_bytes());
        let pairs: Vec<_> = pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect();
        // The decoder replaces what is not UTF-8.
        match pairs.iter().any(|(_, value)| value.contains('\u{fffd}')) {
            true => Err(malformed("The query must be percent-encoded UTF-8 (RFC 3986).")),
            false => Ok(Self(pairs)),
        }
    }

    fn one(&self, name: &str) -> Result<Option<&str>, Refusal> {
        let mut values = self.0.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str());
        match (values.next(), values.next()) {
            (_, Some(_)) => Err(malformed(&format!("query parameter {name} must not occur more than once"))),
            (Some(""), None) => Err(malformed(&format!("query parameter {name} must have a value"))),
            (value, None) => Ok(value),
        }
    }

    fn no_others(&self, known: &[&str]) -> Result<(), Refusal> {
        match self.0.iter().find(|(name, _)| !known.contains(&name.as_str())) {
            Some((name, _)) => Err(malformed(&format!("there is no query parameter {name:?}"))),
            None => Ok(()),
        }
    }
}

fn malformed(detail: &str) -> Refusal {
    (StatusCode::BAD_REQUEST, "malformed", detail.to_owned())
}

fn bad_method(method: &Method) -> Refusal {
    let detail = format!("This route does not support {method}. The Allow header lists the supported methods.");
    (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Answers on a route without access data.
fn open(request: &Request<impl HttpBody>, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    match *request.method() {
        Method::GET | Method::HEAD => answer(),
        ref other => problem(request.headers(), bad_method(other)),
    }
}

/// Returns a refusal as RFC 9457 says.
fn problem(headers: &HeaderMap, (code_status, code, detail): Refusal) -> Response<Body> {
    let id = correlation::of(headers);
    let title = code_status.canonical_reason().unwrap_or("Refused");
    let problem = Problem::plain(code_status.as_u16(), title, code, detail, id.as_str());
    let mut response = json(&problem);
    *response.status_mut() = code_status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    put(headers, X_CORRELATION_ID, id.as_str());
    match code_status {
        StatusCode::METHOD_NOT_ALLOWED => put(headers, ALLOW, "GET, HEAD"),
        StatusCode::SERVICE_UNAVAILABLE => put(headers, RETRY_AFTER, "1"),
        StatusCode::UNAUTHORIZED => put(headers, WWW_AUTHENTICATE, "Bearer"),
        _ => {}
    }
    response
}

/// Returns the refusal of a request for a gateway.
fn refused(reason: &str) -> Response<Body> {
    #[derive(Serialize)]
    struct Refused<'a> {
        reason: &'a str,
    }
    let mut response = json(&Refused { reason });
    *response.status_mut() = StatusCode::FORBIDDEN;
    put(response.headers_mut(), HeaderName::from_static(REASON_HEADER), &header_text(reason));
    response
}

fn put_age(headers: &mut HeaderMap, known: &Known, is_stale: bool) {
    headers.insert(AGE, HeaderValue::from(known.age().as_secs()));
    if is_stale {
        headers.insert(STALE_HEADER, HeaderValue::from_static("true"));
    }
}

fn put(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

fn json(body: &impl Serialize) -> Response<Body> {
    // Only maps with keys that are not texts cannot be serialized.
    typed(StatusCode::OK, "application/json", serde_json::to_vec(body).unwrap_or_default())
}

/// Returns a response with a content type.
pub fn typed(code: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Response<Body> {
    let mut response = status(code, Body::from(body.into()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

fn status(code: StatusCode, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    response
}
