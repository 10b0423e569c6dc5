//! The HTTP client with credentials and time limits. `sending.rs` sends the requests.

use crate::exit::Exit;
use crate::failure::Failure;
use crate::reach::Server;
use crate::sending::PAUSES_MILLIS;
use crate::wire::Received;
use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue, IF_MATCH};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

/// Timeout of a request. Above 60 seconds, which is the maximum time that the server waits for a job.
pub(crate) const REQUEST_SECONDS: u64 = 90;
/// Timeout of a connection attempt.
const CONNECT_SECONDS: u64 = 10;

/// A client of one server. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) server: Server,
    /// Whether a server has answered during this command. If so, a refused connection can mean a restart.
    pub(crate) was_there: Arc<AtomicBool>,
    /// Pauses between the attempts of a request whose connection broke.
    pub(crate) pauses: &'static [u64],
}

/// Builder of a request.
pub struct Request<'a> {
    pub(crate) client: &'a Client,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// Timeout, if it is not that of all requests.
    pub(crate) timeout: Option<Duration>,
    /// Path segment that cannot be sent: empty, `.` or `..`.
    pub(crate) nameless: Option<String>,
}

impl Client {
    /// Creates a client.
    ///
    /// # Errors
    /// Fails if the URL or the token is invalid.
    pub fn new(server: Server) -> Result<Self, Failure> {
        let url = server.context.url.trim_end_matches('/').to_owned();
        check_url(&url)?;
        if server.context.key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Failure::usage("the token contains a space, a line end or another invalid character"));
        }
        // No proxy and no redirect: the key is sent only to the named server.
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(Duration::from_secs(CONNECT_SECONDS))
            .timeout(Duration::from_secs(REQUEST_SECONDS))
            .user_agent(concat!("tenancy/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| Failure::refused(format!("the HTTP client cannot start: {error}")))?;
        let context = crate::contexts::Context { url, ..server.context };
        Ok(Self { http, server: Server { context, ..server }, was_there: Arc::default(), pauses: PAUSES_MILLIS })
    }

    /// URL of the server.
    pub fn url(&self) -> &str {
        &self.server.context.url
    }

    /// URL and key.
    pub fn context(&self) -> &crate::contexts::Context {
        &self.server.context
    }

    /// How the server was selected, such as `context dev`.
    pub fn found_by(&self) -> &str {
        &self.server.found_by
    }

    /// Starts a request. `segments` are the parts of the path; each of them is encoded.
    pub fn request(&self, method: Method, segments: &[&str]) -> Request<'_> {
        let path: String = segments.iter().map(|segment| format!("/{}", encoded(segment))).collect();
        // The URL parser removes these segments, so the request would go to another path.
        let nameless =
            segments.iter().find(|segment| matches!(**segment, "" | "." | "..")).map(|&name| name.to_owned());
        Request {
            client: self,
            method,
            path,
            query: Vec::new(),
            headers: HeaderMap::new(),
            body: None,
            timeout: None,
            nameless,
        }
    }

    /// Sends a GET request under `/v1`.
    ///
    /// # Errors
    /// Fails as [`Request::receive`] does.
    pub async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<Received<T>, Failure> {
        self.request(Method::GET, &v1(segments)).receive().await
    }

    /// Starts a request under `/v1`.
    pub fn v1(&self, method: Method, segments: &[&str]) -> Request<'_> {
        self.request(method, &v1(segments))
    }

    /// Returns the failure for a response that does not come from a Tenancy server.
    pub fn no_tenancy(&self) -> Failure {
        let message = format!("not a Tenancy server: {} ({})", self.url(), self.found_by());
        Failure::new(Exit::NoServer, message).and_type("context list")
    }
}

/// Checks that a URL can be the URL of a server.
///
/// # Errors
/// Fails with a usage error and an example.
pub fn check_url(url: &str) -> Result<(), Failure> {
    match reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        true => Ok(()),
        false => Err(Failure::usage(format!("{url:?} is not an HTTP URL, such as http://127.0.0.1:7300"))),
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

    /// Adds a query parameter if there is a value.
    #[must_use]
    pub fn query_if(self, name: &str, value: Option<impl Into<String>>) -> Self {
        match value {
            Some(value) => self.query(name, value),
            None => self,
        }
    }

    /// Confirms kinds of gated changes.
    #[must_use]
    pub fn allow(self, kinds: &[String]) -> Self {
        if kinds.is_empty() { self } else { self.query("allow", kinds.join(",")) }
    }

    /// Sets a longer timeout.
    #[must_use]
    pub fn within(mut self, seconds: u64) -> Self {
        self.timeout = Some(Duration::from_secs(seconds));
        self
    }

    /// Sends the version that the change is based on as `If-Match`.
    #[must_use]
    pub fn on_version(mut self, version: i64) -> Self {
        if let Ok(value) = HeaderValue::from_str(&format!("\"{version}\"")) {
            self.headers.insert(IF_MATCH, value);
        }
        self
    }

    /// Sets a JSON body.
    #[must_use]
    pub fn json(self, body: &impl Serialize) -> Self {
        // Serialization fails only for maps with keys that are not strings, and no body has those.
        self.text("application/json", serde_json::to_vec(body).unwrap_or_default())
    }

    /// Sets a body with a content type.
    #[must_use]
    pub fn text(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Some(body.into());
        self
    }
}

/// Percent-encodes a path segment. An alias can contain any printable character, including a slash.
fn encoded(segment: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~:".contains(&byte);
    segment
        .bytes()
        .map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_encode_characters_that_separate_parts_of_a_url() {
        assert_eq!(encoded("host:acme.example.com"), "host:acme.example.com");
        assert_eq!(encoded("url:a/b?c#d e%é"), "url:a%2Fb%3Fc%23d%20e%25%C3%A9");
    }
}
