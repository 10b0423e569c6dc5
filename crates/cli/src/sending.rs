//! Sending requests: what is tried again, and what is said when no answer comes.

use crate::client::{Client, REQUEST_SECONDS, Request};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::command;
use crate::wire::Received;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tenancy_api::Problem;
use tenancy_core::json::hex;

/// How often a request is sent at most to a server that asks for patience.
const MAX_TRIES: usize = 5;
/// The pauses between the tries of a request whose connection broke: about ten seconds, which a restart takes.
pub const PAUSES_MILLIS: &[u64] = &[200, 400, 800, 1_600, 2_300, 2_300, 2_400];
/// Longest pause before the next try, whatever the server asks.
const MAX_PAUSE_SECONDS: u64 = 5;

impl Client {
    /// Whose key is not taken is told where one belongs; the server's sentence is for those who speak HTTP.
    fn without_key(&self, failure: Failure) -> Failure {
        if failure.code.as_deref() != Some("unauthenticated") {
            return failure;
        }
        let url = self.url();
        if self.server.context.key.is_some() {
            let message =
                format!("{url} does not take this key ({}): it is unknown, revoked or expired", self.found_by());
            return Failure { message, ..failure };
        }
        let keep = command("context add --help");
        let next = format!("run it with --url {url} and a token in TENANCY_TOKEN; {keep} says how to keep both");
        Failure { message: format!("{url} wants a key, and none is known"), ..failure }.and(next)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = innermost(error);
        let message = format!("no server answers at {} ({}): {why}", self.url(), self.found_by());
        Failure::new(Exit::NoServer, message).and_type(&self.server.helps)
    }
}

impl Request<'_> {
    /// Sends it as [`Request::send`] does, and reads the answer.
    ///
    /// # Errors
    /// As [`Request::send`], and when the answer does not have the shape of `T`.
    pub async fn receive<T: DeserializeOwned>(self) -> Result<Received<T>, Failure> {
        let client = self.client;
        let body = self.send().await?;
        Received::of(body).map_err(|error| {
            let mut failure = client.no_tenancy();
            failure.details.push(format!("its answer cannot be read: {error}"));
            failure
        })
    }

    /// Sends it, again where that is safe: a GET, and a write, since it carries an Idempotency-Key of its own. Answers the
    /// body; `null` when there is none.
    ///
    /// # Errors
    /// What the server answered when it was no success; [`Exit::NoServer`] when none answered.
    pub async fn send(mut self) -> Result<Value, Failure> {
        self.prepare()?;
        let (mut tries, mut pauses, mut broke) = (1, self.client.pauses.iter(), false);
        loop {
            match self.once().await {
                Ok(got) => match self.read(&got) {
                    Read::Answer(body) => return Ok(body),
                    Read::Failure(failure, Some(pause)) if tries < MAX_TRIES => {
                        drop(failure);
                        tokio::time::sleep(pause).await;
                    }
                    Read::Failure(failure, _) => return Err(self.client.without_key(failure)),
                },
                Err(error) => {
                    broke |= !error.is_connect() && !error.is_builder();
                    // Where nobody ever listened waiting helps nobody, nor where the time for an answer is over. But what
                    // broke may have been the server's restart, and everything we send may be sent again.
                    let again = (broke || self.client.was_there.load(Relaxed)) && !error.is_timeout();
                    match pauses.next().filter(|_| again) {
                        Some(pause) => tokio::time::sleep(Duration::from_millis(*pause)).await,
                        None => return Err(self.broken(&error, broke)),
                    }
                }
            }
            tries += 1;
        }
    }

    /// Sends it once, and answers whatever comes: the status, and the body if it is JSON.
    ///
    /// # Errors
    /// [`Exit::NoServer`] when none answered.
    pub async fn look(mut self) -> Result<(StatusCode, Value), Failure> {
        self.prepare()?;
        let got = self.once().await.map_err(|error| self.broken(&error, false))?;
        Ok((got.status, serde_json::from_slice(&got.bytes).unwrap_or_default()))
    }

    fn prepare(&mut self) -> Result<(), Failure> {
        if let Some(name) = &self.nameless {
            return Err(Failure::usage(format!("{name:?} is no name of anything")));
        }
        self.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if self.method != Method::GET
            && let Ok(value) = HeaderValue::from_str(&idempotency_key()?)
        {
            self.headers.insert("idempotency-key", value);
        }
        Ok(())
    }

    /// No answer came. Whoever wrote must not hear that nobody was there.
    fn broken(&self, error: &reqwest::Error, broke: bool) -> Failure {
        if !broke {
            return self.client.unreachable(error);
        }
        let url = self.client.url();
        let what = match error.is_timeout() {
            true => format!("{url} gave no answer within {REQUEST_SECONDS} s"),
            false => format!("the connection to {url} broke ({})", innermost(error)),
        };
        let what = if self.method == Method::GET { what } else { format!("{what}: what was sent may be done") };
        Failure::new(Exit::NoServer, what).and("run the same command again")
    }

    async fn once(&self) -> Result<Got, reqwest::Error> {
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
        let mut response = request.send().await?;
        self.client.was_there.store(true, Relaxed);
        let headers = std::mem::take(response.headers_mut());
        // An answer that breaks off is none.
        Ok(Got { status: response.status(), headers, bytes: response.bytes().await?.to_vec() })
    }

    fn read(&self, got: &Got) -> Read {
        let header = |name| got.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let pause = header(RETRY_AFTER).and_then(|value| value.trim().parse().ok()).unwrap_or(1);
        let body = serde_json::from_slice::<Value>(&got.bytes).ok();
        let status = got.status;
        if status.is_redirection() {
            let message =
                format!("the server sends us elsewhere ({status}), and a key is not taken along: give its own URL");
            return Read::Failure(Failure::refused(message), None);
        }
        let problem = body.as_ref().and_then(|body| Problem::deserialize(body).ok());
        let ours = if status.is_success() { body.is_some() } else { problem.is_some() };
        // What stands between may answer in its own words, but it does not say that nothing is there.
        let theirs = status.is_success() && !got.bytes.is_empty()
            || matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
        if theirs && !ours {
            return Read::Failure(self.client.no_tenancy(), None);
        }
        if status.is_success() {
            return Read::Answer(body.unwrap_or_default());
        }
        let again = status == StatusCode::SERVICE_UNAVAILABLE;
        let pause = again.then(|| Duration::from_secs(pause.min(MAX_PAUSE_SECONDS)));
        let failure = match &problem {
            Some(problem) => Failure::of_problem(problem),
            None => Failure::of_status(status.as_u16()),
        };
        Read::Failure(failure, pause)
    }
}

/// What came back.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    bytes: Vec<u8>,
}

enum Read {
    Answer(Value),
    /// With the pause after which it may be sent again.
    Failure(Failure, Option<Duration>),
}

/// A fresh key, so that this request, and no other, may be sent twice.
fn idempotency_key() -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Failure::refused(format!("no randomness: {error}")))?;
    Ok(hex(&random))
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
    use crate::contexts::Context;
    use crate::reach::Server;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A server that breaks so many connections once a request came, and answers the next one.
    async fn breaking(connections: usize) -> Client {
        // As `main` does; somebody else's test may have been first.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            for connection in 0..=connections {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                let _ = stream.read(&mut [0; 1024]).await;
                if connection == connections {
                    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\n{\"good\": 1}";
                    stream.write_all(answer.as_bytes()).await.expect("written");
                }
            }
        });
        let context = Context { url, key: None };
        let server = Server { context, found_by: "context dev".to_owned(), helps: "dev".to_owned() };
        Client { pauses: &[1, 1, 1], ..Client::new(server).expect("a client") }
    }

    #[tokio::test]
    async fn must_survive_that_the_server_starts_again() {
        let client = breaking(2).await;
        let answer = client.v1(Method::POST, &["tenants"]).json(&Value::Null).send().await.expect("an answer");
        assert_eq!(answer["good"], 1);
        // From now on nobody listens; but somebody did, and may be on the way back.
        let failure = client.get::<Value>(&["tenants"]).await.expect_err("none");
        assert!(
            failure.message.contains("no server answers") && failure.next.is_some_and(|next| next.ends_with("dev"))
        );
    }

    #[tokio::test]
    async fn must_not_say_that_nobody_was_there_to_who_wrote() {
        let client = breaking(9).await;
        let failure = client.v1(Method::POST, &["tenants"]).json(&Value::Null).send().await.expect_err("broken");
        assert_eq!(failure.exit, Exit::NoServer);
        assert!(failure.message.contains("broke") && failure.message.ends_with("what was sent may be done"));
        assert_eq!(failure.next.as_deref(), Some("run the same command again"));
    }

    #[tokio::test]
    async fn must_not_build_a_path_of_what_is_no_name() {
        let client = breaking(0).await;
        for name in ["", ".", ".."] {
            assert_eq!(client.get::<Value>(&["tenants", name]).await.expect_err(name).exit, Exit::Usage);
        }
    }
}
