//! The HTTP client: one place for credentials and time limits. How a request is sent: `sending.rs`.

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

/// Longest wait for an answer; above the 60 seconds that a job may be waited for.
pub(crate) const REQUEST_SECONDS: u64 = 90;
/// Longest wait for a connection.
const CONNECT_SECONDS: u64 = 10;

/// A server to talk to. Cheap to clone.
#[derive(Clone)]
pub struct Client {
    pub(crate) http: reqwest::Client,
    pub(crate) server: Server,
    /// Whether a server was there since this command began: if none is any more, it may be on its way back.
    pub(crate) was_there: Arc<AtomicBool>,
    /// The pauses between the tries of a request whose connection broke.
    pub(crate) pauses: &'static [u64],
}

/// A request that is being put together.
pub struct Request<'a> {
    pub(crate) client: &'a Client,
    pub(crate) method: Method,
    pub(crate) path: String,
    pub(crate) query: Vec<(String, String)>,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Option<Vec<u8>>,
    /// A part of the path that is no name.
    pub(crate) nameless: Option<String>,
}

impl Client {
    /// A client of a server.
    ///
    /// # Errors
    /// When the URL is none.
    pub fn new(server: Server) -> Result<Self, Failure> {
        let url = server.context.url.trim_end_matches('/').to_owned();
        check_url(&url)?;
        if server.context.key.as_ref().is_some_and(|key| !key.bytes().all(|byte| byte.is_ascii_graphic())) {
            return Err(Failure::usage("the token holds a space, a line end or another character that no token has"));
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
        Ok(Self { http, server: Server { context, ..server }, was_there: Arc::default(), pauses: PAUSES_MILLIS })
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
        // Whoever builds a URL of these leaves them out, and the request would go to another place.
        let nameless =
            segments.iter().find(|segment| matches!(**segment, "" | "." | "..")).map(|&name| name.to_owned());
        Request { client: self, method, path, query: Vec::new(), headers: HeaderMap::new(), body: None, nameless }
    }

    /// A GET under `/v1`.
    ///
    /// # Errors
    /// As [`Request::receive`].
    pub async fn get<T: DeserializeOwned>(&self, segments: &[&str]) -> Result<Received<T>, Failure> {
        self.request(Method::GET, &v1(segments)).receive().await
    }

    /// A request under `/v1`.
    pub fn v1(&self, method: Method, segments: &[&str]) -> Request<'_> {
        self.request(method, &v1(segments))
    }

    /// Something answers there, and not as we would.
    pub fn no_tenancy(&self) -> Failure {
        let message = format!("this is no Tenancy server: {} ({})", self.url(), self.found_by());
        Failure::new(Exit::NoServer, message).and_type("context list")
    }
}

/// That a URL can be one of a server.
///
/// # Errors
/// A usage error with an example.
pub fn check_url(url: &str) -> Result<(), Failure> {
    match reqwest::Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host()) {
        true => Ok(()),
        false => Err(Failure::usage(format!("{url:?} is no URL of a server, such as http://127.0.0.1:7300"))),
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
    pub fn json(self, body: &impl Serialize) -> Self {
        // No body has a map with keys that are not text, which is all that could fail.
        self.text("application/json", serde_json::to_vec(body).unwrap_or_default())
    }

    /// A body of another type.
    #[must_use]
    pub fn text(mut self, content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        self.headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        self.body = Some(body.into());
        self
    }
}

/// A segment of a path. An alias may hold anything printable, a slash among it.
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
    fn must_encode_what_would_be_taken_apart() {
        assert_eq!(encoded("host:acme.example.com"), "host:acme.example.com");
        assert_eq!(encoded("url:a/b?c#d e%é"), "url:a%2Fb%3Fc%23d%20e%25%C3%A9");
    }
}
