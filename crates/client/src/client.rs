//! The HTTP client: credentials, time limits, and which requests are repeated. `requests.rs` has the requests.

use crate::error::{Again, Attempt, Error, innermost};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tenancy_api::Problem;

/// Timeout of a connection attempt.
const CONNECT: Duration = Duration::from_secs(10);
/// Timeout of a request. Above 60 seconds, which is the maximum time that the server waits for a job.
const REQUEST: Duration = Duration::from_secs(90);
/// Maximum number of attempts of a request.
const MAX_TRIES: u32 = 5;
/// Pause before the second attempt; each further pause is twice as long, up to the maximum.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Maximum pause that the server can demand with `Retry-After`. A longer one is an error for the caller.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(60);
/// Maximum size of an answer, in bytes.
const MAX_ANSWER_BYTES: usize = 128 * 1024 * 1024;

/// A client of one server. Cheap to clone.
///
/// A GET is repeated if the connection breaks or the server is busy. So is a change, because each one has its own
/// `Idempotency-Key`, with which the server makes it once.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    url: Arc<str>,
    authorization: Option<HeaderValue>,
    first_pause: Duration,
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

/// A request under `/v1`.
#[derive(Debug)]
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: Vec<(&'static str, String)>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
    /// What is wrong with a value of the caller.
    wrong: Option<String>,
}

impl Client {
    /// Creates a client of the server at `url`, which uses the token of a key.
    ///
    /// # Errors
    /// Fails if the URL or the token is invalid, or if the HTTP client cannot start.
    pub fn new(url: &str, token: Option<String>) -> Result<Self, Error> {
        let url = url.trim_end_matches('/');
        let is_url = reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https"));
        if !is_url {
            return Err(Error::Invalid(format!("{url:?} is not an HTTP URL, such as https://tenancy.example.com")));
        }
        let authorization = token.map(|token| bearer(&token)).transpose()?;
        // Without an installed provider, reqwest panics. A program that has installed its own keeps it.
        if rustls::crypto::CryptoProvider::get_default().is_none() {
            // Fails only if another thread has just installed one.
            let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        }
        // No proxy and no redirect: the key is sent only to the named server.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(CONNECT)
            .user_agent(concat!("tenancy-client/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Error::Invalid(format!("the HTTP client cannot start: {}", innermost(&error))))?;
        Ok(Self { http, url: url.into(), authorization, first_pause: FIRST_PAUSE })
    }

    /// URL of the server.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Starts a request under `/v1`. `segments` are the parts of the path; each of them is encoded.
    pub fn request(&self, method: Method, segments: &[&str]) -> Request<'_> {
        let path = segments.iter().map(|segment| format!("/{}", encoded(segment))).collect();
        // A URL parser removes these segments, so that the request would go to another path.
        let wrong = segments.iter().find(|segment| matches!(**segment, "" | "." | ".."));
        let wrong = wrong.map(|segment| format!("{segment:?} is not a name"));
        Request { client: self, method, path, query: Vec::new(), headers: HeaderMap::new(), body: None, wrong }
    }

    /// Opens an event stream under `/v1`, once. The caller limits the time.
    ///
    /// # Errors
    /// Fails if the server does not answer, or answers with an error.
    pub(crate) async fn stream(&self, segments: &[&str], last_event_id: Option<&str>) -> Result<Response, Error> {
        let mut request = self.request(Method::GET, segments);
        if let Some(cursor) = last_event_id {
            request = request.header(HeaderName::from_static("last-event-id"), cursor);
        }
        request.headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        let response = request.once(None).await.map_err(|attempt| attempt.error)?;
        match response.status() {
            StatusCode::OK => Ok(response),
            _ => Err(self.failure(response).await.error),
        }
    }

    /// Reads the error in a response.
    async fn failure(&self, response: Response) -> Attempt {
        let status = response.status();
        let pause = retry_after(response.headers());
        let bytes = match self.bytes(response).await {
            Ok(bytes) => bytes,
            Err(error) => return Attempt { error, again: Again::Soon },
        };
        let again = match (status, pause) {
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, Some(pause)) => Again::After(pause),
            (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, None)
            | (StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT, _) => Again::Soon,
            _ => Again::No,
        };
        let error = match serde_json::from_slice::<Problem>(&bytes) {
            Ok(problem) => Error::Refused(Box::new(problem)),
            Err(error) => self.no_tenancy(status, error.to_string()),
        };
        Attempt { error, again }
    }

    fn no_tenancy(&self, status: StatusCode, cause: String) -> Error {
        Error::NotTenancy { url: self.url.to_string(), status: status.as_u16(), cause }
    }

    fn broken(&self, error: &reqwest::Error) -> Error {
        let (url, cause) = (self.url.to_string(), innermost(error));
        match error.is_connect() {
            true => Error::Unreachable { url, cause },
            false => Error::Broken { url, cause },
        }
    }

    /// Reads a body up to the maximum size.
    async fn bytes(&self, mut response: Response) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while let Some(piece) = response.chunk().await.map_err(|error| self.broken(&error))? {
            if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
                let cause = format!("its answer has more than {MAX_ANSWER_BYTES} bytes");
                return Err(self.no_tenancy(response.status(), cause));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }
}

impl Request<'_> {
    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.query.push((name, value.into()));
        self
    }

    /// Adds a query parameter if there is a value.
    #[must_use]
    pub fn query_if(self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Sends the version that the change is based on as `If-Match`.
    #[must_use]
    pub fn on_version(self, version: i64) -> Self {
        self.header(IF_MATCH, &format!("\"{version}\""))
    }

    /// Uses this `Idempotency-Key`, and not a random one: a program that starts again can send the same request.
    #[must_use]
    pub fn idempotency_key(self, key: &str) -> Self {
        self.header(IDEMPOTENCY_KEY, key)
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(mut self, body: &impl Serialize) -> Self {
        match serde_json::to_vec(body) {
            Ok(bytes) => self.text("application/json", bytes),
            Err(error) => {
                self.wrong = Some(format!("the body is not JSON: {error}"));
                self
            }
        }
    }

    /// Sets a body with a content type.
    #[must_use]
    pub fn text(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Some(body.into());
        self
    }

    fn header(mut self, name: HeaderName, value: &str) -> Self {
        match HeaderValue::from_str(value) {
            Ok(value) => drop(self.headers.insert(name, value)),
            Err(_) => self.wrong = Some(format!("{value:?} is not a valid value of {name}")),
        }
        self
    }

    /// Sends the request, repeats it if necessary, and reads the answer.
    ///
    /// # Errors
    /// Fails with the problem of the server, or if no answer of a Tenancy server arrives after the last attempt.
    pub async fn send<T: DeserializeOwned>(mut self) -> Result<T, Error> {
        if self.method != Method::GET && !self.headers.contains_key(IDEMPOTENCY_KEY) {
            let key = format!("{:032x}", u128::from_ne_bytes(random()?));
            self = self.header(IDEMPOTENCY_KEY, &key);
        }
        let mut pause = self.client.first_pause;
        for attempt in 1.. {
            let Attempt { error, again } = match self.attempt().await {
                Ok(answer) => return Ok(answer),
                Err(attempt) => attempt,
            };
            let wait = match again {
                Again::Soon => jittered(pause)?,
                Again::After(demanded) if demanded <= MAX_RETRY_AFTER => demanded + jittered(self.client.first_pause)?,
                Again::After(_) | Again::No => return Err(error),
            };
            if attempt >= MAX_TRIES {
                return Err(error);
            }
            tokio::time::sleep(wait).await;
            pause = (pause * 2).min(MAX_PAUSE);
        }
        Err(Error::Invalid("the request was not sent".to_owned()))
    }

    async fn attempt<T: DeserializeOwned>(&self) -> Result<T, Attempt> {
        let response = self.once(Some(REQUEST)).await?;
        let status = response.status();
        if !status.is_success() {
            return Err(self.client.failure(response).await);
        }
        let bytes = self.client.bytes(response).await.map_err(|error| Attempt { error, again: Again::Soon })?;
        let read = serde_json::from_slice(if bytes.is_empty() { b"null" } else { bytes.as_slice() });
        read.map_err(|error| Attempt { error: self.client.no_tenancy(status, error.to_string()), again: Again::No })
    }

    /// Sends the request once.
    async fn once(&self, timeout: Option<Duration>) -> Result<Response, Attempt> {
        if let Some(wrong) = &self.wrong {
            return Err(Attempt { error: Error::Invalid(wrong.clone()), again: Again::No });
        }
        let url = format!("{}/v1{}", self.client.url, self.path);
        let mut request = self.client.http.request(self.method.clone(), url).headers(self.headers.clone());
        if !self.headers.contains_key(ACCEPT) {
            request = request.header(ACCEPT, "application/json");
        }
        if let Some(authorization) = &self.client.authorization {
            request = request.header(reqwest::header::AUTHORIZATION, authorization.clone());
        }
        if !self.query.is_empty() {
            request = request.query(&self.query);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        if let Some(timeout) = timeout {
            request = request.timeout(timeout);
        }
        request.send().await.map_err(|error| {
            // After a timeout, the server has had its time. A request that cannot be built never can.
            let again = if error.is_timeout() || error.is_builder() { Again::No } else { Again::Soon };
            Attempt { error: self.client.broken(&error), again }
        })
    }
}

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

fn bearer(token: &str) -> Result<HeaderValue, Error> {
    let invalid = || Error::Invalid("the token contains a space, a line end or another invalid character".to_owned());
    if token.is_empty() || !token.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(invalid());
    }
    let mut value = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|_| invalid())?;
    value.set_sensitive(true);
    Ok(value)
}

fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse().ok().map(Duration::from_secs)
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| Error::Invalid(format!("cannot read random bytes: {error}")))?;
    Ok(bytes)
}

/// Returns a random duration from half of `pause` to `pause`, so that clients that failed together do not return
/// together.
pub(crate) fn jittered(pause: Duration) -> Result<Duration, Error> {
    let part = f64::from(u16::from_ne_bytes(random()?)) / f64::from(u16::MAX);
    Ok(pause.mul_f64(0.5 + part / 2.0))
}

/// Percent-encodes a path segment. An alias can contain any printable character, including a slash.
fn encoded(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte);
    segment
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

impl Client {
    /// Shortens the pauses between attempts, for tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_first_pause(self, first_pause: Duration) -> Self {
        Self { first_pause, ..self }
    }
}
