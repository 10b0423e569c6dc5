//! Extractor for writes: caller, precondition, Idempotency-Key and body.

use super::body;
use super::key_traffic::Seat;
use super::problem::Problem;
use super::query::Query;
use super::respond;
use super::server::Server;
use crate::answer::Answer;
use crate::authentication::Caller;
use crate::elsewhere::elsewhere;
use crate::idempotency::IdempotencyKey;
use crate::operations::{Command, Done, Keyed};
use crate::precondition::Precondition;
use crate::tenancy::{RequestContext, Tenancy};
use axum::body::Bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;
use tenancy_core::Error;
use tenancy_core::document;
use tenancy_core::gated_change::LAST_ADMIN_KEY;
use tenancy_core::rules::gates::ALLOWED_BY_NAME;

/// Path of the route whose body is a file of manifests.
pub const APPLY: &str = "/v1/apply";

/// A write request.
pub struct WriteRequest {
    /// Caller and correlation id.
    pub request: RequestContext,
    /// Precondition of the change.
    pub precondition: Precondition,
    /// Kinds of gated changes to allow.
    pub allow: Vec<String>,
    /// Whether to report what would change, and write nothing.
    pub dry_run: bool,
    /// Whether to write the other documents if some are refused.
    pub partial: bool,
    /// Idempotency-Key, if the request has one.
    pub key: Option<IdempotencyKey>,
    headers: HeaderMap,
    body: Bytes,
    /// Seat of a request with a large body. It is kept until the request is carried out.
    _seat: Option<Seat>,
}

/// Size of a body from which its request counts as heavy, in bytes.
pub const HEAVY_BODY_BYTES: usize = 64 * 1024;
/// Maximum size of a JSON body that is parsed on the thread of the request, in bytes: that takes less time than a
/// hand-over.
const INLINE_JSON_BYTES: usize = 16 * 1024;
/// The same for several documents. YAML takes much longer.
const INLINE_YAML_BYTES: usize = 1024;

/// Returns a header that may occur only once, since two values would be ambiguous.
fn once<'a>(headers: &'a HeaderMap, name: &str) -> Result<Option<&'a HeaderValue>, Error> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (value, None) => Ok(value),
        _ => Err(Error::Malformed(format!("{name} must not occur more than once. Send it once."))),
    }
}

fn precondition(headers: &HeaderMap) -> Result<Precondition, Error> {
    let text = |name: &str| match once(headers, name)?.map(HeaderValue::to_str) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text)),
        Some(Err(_)) => Err(Error::Malformed(format!("{name} must contain visible ASCII characters only."))),
    };
    Precondition::read(text("If-Match")?, text("If-None-Match")?)
}

impl FromRequest<Arc<Server>> for WriteRequest {
    type Rejection = Problem;

    async fn from_request(request: Request, server: &Arc<Server>) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let Some(request) = parts.extensions.remove::<RequestContext>() else {
            return Err(Error::Unauthenticated.into());
        };
        let mut query = Query::from_request_parts(&mut parts, server).await?;
        let kinds: Vec<_> = ALLOWED_BY_NAME.into_iter().chain([LAST_ADMIN_KEY]).map(|name| (name, name)).collect();
        let allow = query.words("allow", &kinds)?;
        let (allow, dry_run) = (allow.into_iter().map(str::to_owned).collect(), query.flag("dry_run")?);
        let partial = query.flag("partial")?;
        query.no_others()?;
        let precondition = precondition(&parts.headers)?;
        body::as_it_is(&parts.headers)?;
        let body = match parts.uri.path() == APPLY {
            true => body::read(body, &server.limits.of_a_file()).await?,
            false => body::read(body, &server.limits).await?,
        };
        let seat = match request.caller.key() {
            Some(key) if body.len() > HEAVY_BODY_BYTES => {
                Some(server.key_traffic.heavy_seat(key, server.tenancy.now()).await?)
            }
            _ => None,
        };
        let path = parts.uri.path_and_query().map_or("", |path| path.as_str());
        let key = match (once(&parts.headers, "Idempotency-Key")?, request.caller.key()) {
            (Some(value), Some(key)) => {
                let method = parts.method.as_str();
                Some(IdempotencyKey::new(&key.key_id, value.as_bytes(), method, path, &body)?)
            }
            _ => None,
        };
        Ok(Self { request, precondition, allow, dry_run, partial, key, headers: parts.headers, body, _seat: seat })
    }
}

impl WriteRequest {
    /// Returns the body as one JSON document.
    ///
    /// # Errors
    /// The same as [`body::json`].
    pub async fn document(&self) -> Result<Value, Problem> {
        self.parsed(INLINE_JSON_BYTES, body::json).await
    }

    /// Parses the body, on another thread if it is large.
    async fn parsed<T: Send + 'static>(
        &self,
        inline_bytes: usize,
        parse: fn(&HeaderMap, &[u8]) -> Result<T, Problem>,
    ) -> Result<T, Problem> {
        if self.body.len() <= inline_bytes {
            return parse(&self.headers, &self.body);
        }
        let (headers, body) = (self.headers.clone(), self.body.clone());
        elsewhere(move || parse(&headers, &body)).await?
    }

    /// Returns the body of a request for which it is optional.
    ///
    /// # Errors
    /// The same as [`body::json`].
    pub async fn document_if_any(&self) -> Result<Value, Problem> {
        if self.body.is_empty() { Ok(Value::Object(Default::default())) } else { self.document().await }
    }

    /// Returns the `version` in the body of a DELETE. The body may contain nothing else.
    ///
    /// # Errors
    /// The same as [`body::json`], and [`Error::Invalid`].
    pub async fn version_said(&self) -> Result<Option<i64>, Problem> {
        let document = self.document_if_any().await?;
        Ok(document::read(&document, |fields, findings| Some(fields.integer("version", 1..=i64::MAX, findings)))?)
    }

    /// Checks that the body is empty.
    ///
    /// # Errors
    /// The same as [`body::json`], and [`Error::Invalid`].
    pub async fn nothing_said(&self) -> Result<(), Problem> {
        Ok(document::read(&self.document_if_any().await?, |_, _| Some(()))?)
    }

    /// Returns the body as several documents, YAML or JSON. A large body is parsed on a thread that serves no requests.
    ///
    /// # Errors
    /// The same as [`body::documents`].
    pub async fn documents(&self) -> Result<Vec<Value>, Problem> {
        self.parsed(INLINE_YAML_BYTES, body::documents).await
    }

    /// Carries out the command and answers.
    ///
    /// # Errors
    /// The error of the operation.
    pub async fn carry_out<C: Command>(
        self,
        server: &Server,
        command: C,
        answer: fn(&Tenancy, &Caller, &C::Outcome) -> Answer,
    ) -> Result<Response, Problem> {
        self.carry_out_kept(server, command, answer, answer).await
    }

    /// Like [`WriteRequest::carry_out`], with a stored answer that differs from the first answer.
    ///
    /// # Errors
    /// The error of the operation.
    pub async fn carry_out_kept<C: Command>(
        self,
        server: &Server,
        command: C,
        answer: fn(&Tenancy, &Caller, &C::Outcome) -> Answer,
        kept: fn(&Tenancy, &Caller, &C::Outcome) -> Answer,
    ) -> Result<Response, Problem> {
        if let Some((name, _)) =
            [("dry_run", self.dry_run), ("partial", self.partial)].into_iter().find(|(_, said)| *said)
        {
            let message = format!("Only {APPLY} supports {name}. Remove the parameter. Nothing was changed.");
            return Err(Error::Malformed(message).into());
        }
        let keyed = self.key.map(|key| Keyed { key, answer: kept, keeps_unchanged: true });
        let (tenancy, caller) = (&server.tenancy, self.request.caller.clone());
        Ok(match tenancy.carry_out(command, self.request, keyed).await? {
            Done::Now(outcome) => respond::answer(answer(tenancy, &caller, &outcome), false),
            Done::Before(first) => respond::answer(first, true),
        })
    }
}
