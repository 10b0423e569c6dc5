//! The HTTP client: one place for credentials, time limits, retries and problems.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::command;
use crate::reach::Server;
use reqwest::header::{ACCEPT, CONTENT_TYPE, ETAG, HeaderMap, HeaderValue, IF_MATCH, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde_json::Value;
use std::time::Duration;
use tenancy_core::json::hex;

/// How often a request is sent at most.
const MAX_TRIES: u32 = 5;
/// Longest pause before the next try, whatever the server asks.
const MAX_PAUSE_SECONDS: u64 = 5;
/// Longest wait for an answer; above the 60 seconds that a job may be waited for.
const REQUEST_SECONDS: u64 = 90;
/// Longest wait for a connection.
const CONNECT_SECONDS: u64 = 10;

/// A server to talk to. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    http: reqwest::Client,
    server: Server,
}

/// What the server answered, when it was a success.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The body; `null` when there is none.
    pub body: Value,
    /// The version part of the ETag.
    pub version: Option<i64>,
}

/// A request that is being put together.
pub struct Request<'a> {
    client: &'a Client,
    method: Method,
    path: String,
    query: Vec<(String, String)>,
    headers: HeaderMap,
    body: Option<Vec<u8>>,
}

impl Client {
    /// A client of a server.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(server: Server) -> Result<Self, Failure> {
        let url = server.context.url.trim_end_matches('/').to_owned();
        let good =
            reqwest::Url::parse(&url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
        if !good {
            return Err(Failure::usage(format!("{url:?} is no URL of a server, such as http://127.0.0.1:7300")));
        }
        // No proxy and no redirect: the key goes to the server that was named, and nowhere else.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
            .timeout(Duration::from_secs(REQUEST_SECONDS))
            .user_agent(concat!("tenancy/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::refused(format!("the HTTP client cannot start: {error}")))?;
        let context = crate::contexts::Context { url, ..server.context };
        Ok(Self { http, server: Server { context, ..server } })
    }

    /// Where it talks to.
    pub fn url(&self) -> &str {
        &self.server.context.url
    }

    /// Where, and with which key.
    pub fn context(&self) -> &crate::contexts::Context {
        &self.server.context
    }

    /// How the server was found, for people.
    pub fn found_by(&self) -> &str {
        &self.server.found_by
    }

    /// A request; `segments` are the parts of its path, each of which is encoded.
    pub fn request(&self, method: Method, segments: &[&str]) -> Request<'_> {
        let path: String = segments.iter().map(|segment| format!("/{}", encoded(segment))).collect();
        Request { client: self, method, path, query: Vec::new(), headers: HeaderMap::new(), body: None }
    }

    /// A GET under `/v1`.
    ///
    /// # Errors
    /// As [`Request::send`].
    pub async fn get(&self, segments: &[&str]) -> Result<Answer, Failure> {
        self.request(Method::GET, &v1(segments)).send().await
    }

    /// A request under `/v1`.
    pub fn v1(&self, method: Method, segments: &[&str]) -> Request<'_> {
        self.request(method, &v1(segments))
    }

    /// Who sent no key, and needs one, is told where it belongs; the server's sentence is for those who speak HTTP.
    fn without_key(&self, failure: Failure) -> Failure {
        if failure.code.as_deref() != Some("unauthenticated") || self.server.context.key.is_some() {
            return failure;
        }
        let message = format!("{} wants a key, and none is known", self.url());
        let keep = command("context add --help");
        let next =
            format!("run it with --url {} and a token in TENANCY_TOKEN; {keep} says how to keep both", self.url());
        Failure { message, ..failure }.and(next)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = innermost(error);
        let message = format!("no server answers at {} ({}): {why}", self.url(), self.found_by());
        Failure::new(Exit::NoServer, message).and_type("dev")
    }
}

fn v1<'a>(segments: &[&'a str]) -> Vec<&'a str> {
    std::iter::once("v1").chain(segments.iter().copied()).collect()
}

impl Request<'_> {
    /// Adds a query parameter.
    #[must_use]
    pub fn query(mut self, name: &str, value: impl Into<String>) -> Self {
        self.query.push((name.to_owned(), value.into()));
        self
    }

    /// Adds a query parameter, if there is a value.
    #[must_use]
    pub fn query_if(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Names the gated changes that are wanted.
    #[must_use]
    pub fn allow(self, kinds: &[String]) -> Self {
        if kinds.is_empty() { self } else { self.query("allow", kinds.join(",")) }
    }

    /// Names the version that the write was decided on.
    #[must_use]
    pub fn on_version(mut self, version: i64) -> Self {
        if let Ok(value) = HeaderValue::from_str(&format!("\"{version}\"")) {
            self.headers.insert(IF_MATCH, value);
        }
        self
    }

    /// A JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.text("application/json", body.to_string())
    }

    /// A body of another type.
    #[must_use]
    pub fn text(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Some(body.into());
        self
    }

    /// Sends it, again where that is safe: a GET, and a write, since it carries an Idempotency-Key of its own.
    ///
    /// # Errors
    /// What the server answered when it was no success; [`Exit::NoServer`] when none answered.
    pub async fn send(mut self) -> Result<Answer, Failure> {
        self.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if self.method != Method::GET
            && let Ok(value) = HeaderValue::from_str(&idempotency_key()?)
        {
            self.headers.insert("idempotency-key", value);
        }
        let mut tries = 1;
        loop {
            let last = tries >= MAX_TRIES;
            match self.once().await {
                Ok(answer) => match read(answer).await? {
                    Read::Answer(answer) => return Ok(answer),
                    Read::Failure(failure, Some(pause)) if !last => {
                        drop(failure);
                        tokio::time::sleep(pause).await;
                    }
                    Read::Failure(failure, _) => return Err(self.client.without_key(failure)),
                },
                // Nobody listens: waiting helps nobody. A connection that broke later may have been the server's
                // restart, and everything we send may be sent again.
                Err(error) if error.is_connect() || error.is_builder() || error.is_timeout() || last => {
                    return Err(self.client.unreachable(&error));
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(200) * tries).await,
            }
            tries += 1;
        }
    }

    async fn once(&self) -> Result<reqwest::Response, reqwest::Error> {
        let url = format!("{}{}", self.client.url(), self.path);
        let mut request = self.client.http.request(self.method.clone(), url).headers(self.headers.clone());
        if !self.query.is_empty() {
            request = request.query(&self.query);
        }
        if let Some(key) = &self.client.server.context.key {
            request = request.bearer_auth(key);
        }
        if let Some(body) = &self.body {
            request = request.body(body.clone());
        }
        request.send().await
    }
}

enum Read {
    Answer(Answer),
    /// With the pause after which it may be sent again.
    Failure(Failure, Option<Duration>),
}

async fn read(response: reqwest::Response) -> Result<Read, Failure> {
    let status = response.status();
    let header = |name| response.headers().get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let pause = header(RETRY_AFTER).and_then(|value| value.trim().parse().ok()).unwrap_or(1);
    let version = header(ETAG).and_then(version_of);
    let bytes = response.bytes().await;
    let bytes =
        bytes.map_err(|error| Failure::new(Exit::NoServer, format!("the answer broke off: {}", innermost(&error))))?;
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    if status.is_success() {
        return Ok(Read::Answer(Answer { body, version }));
    }
    if status.is_redirection() {
        let message =
            format!("the server sends us elsewhere ({status}), and a key is not taken along: give its own URL");
        return Ok(Read::Failure(Failure::refused(message), None));
    }
    let again = status == StatusCode::SERVICE_UNAVAILABLE;
    let pause = again.then(|| Duration::from_secs(pause.min(MAX_PAUSE_SECONDS)));
    Ok(Read::Failure(Failure::of_answer(status.as_u16(), &body), pause))
}

/// `"7.42"` is version 7; weak or not.
fn version_of(etag: &str) -> Option<i64> {
    let text = etag.trim().trim_start_matches("W/").trim_matches('"');
    text.split('.').next()?.parse().ok()
}

/// A fresh key, so that this request, and no other, may be sent twice.
fn idempotency_key() -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Failure::refused(format!("no randomness: {error}")))?;
    Ok(hex(&random))
}

/// A segment of a path. An alias may hold anything printable, a slash among it.
fn encoded(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte);
    segment
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// The cause that says most: the outer ones only repeat the URL.
fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_encode_what_would_be_taken_apart() {
        assert_eq!(encoded("host:acme.example.com"), "host:acme.example.com");
        assert_eq!(encoded("url:a/b?c#d e%é"), "url:a%2Fb%3Fc%23d%20e%25%C3%A9");
    }

    #[test]
    fn must_read_the_version_of_an_etag() {
        for (etag, version) in [("\"7.42\"", Some(7)), ("W/\"7.42\"", Some(7)), ("\"3\"", Some(3)), ("\"x\"", None)] {
            assert_eq!(version_of(etag), version, "{etag}");
        }
    }
}
