//! Sends requests: retries, and errors if no response arrives.

use crate::client::{Client, REQUEST_SECONDS, Request};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::program::command;
use crate::terminal::remark;
use crate::wire::Received;
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, RETRY_AFTER};
use reqwest::{Method, Response, StatusCode};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tenancy_api::Problem;
use tenancy_core::json::hex;

/// Maximum number of attempts if the server answers 503.
const MAX_TRIES: usize = 5;
/// Pauses between the attempts after a broken connection: about ten seconds in total, enough for a restart of the
/// server.
pub const PAUSES_MILLIS: &[u64] = &[200, 400, 800, 1_600, 2_300, 2_300, 2_400];
/// Maximum size of an answer, in bytes. The largest of the server's own is the answer to an `apply` of 32 MiB.
const MAX_ANSWER_BYTES: usize = 128 * 1024 * 1024;
/// Maximum pause before the next attempt after 503, also if `Retry-After` is longer.
const MAX_PAUSE_SECONDS: u64 = 5;
/// Maximum total time that a request waits because the server limits its key: as long as for an answer. An earlier
/// attempt than `Retry-After` would be refused, so a longer `Retry-After` is a failure.
const MAX_LIMITED: Duration = Duration::from_secs(REQUEST_SECONDS);
/// Pause from which the command says why it waits.
const LONG_PAUSE: Duration = Duration::from_secs(3);

impl Client {
    /// Says where to set the key if it is missing or refused. The server's sentence is for HTTP clients.
    pub(crate) fn without_key(&self, failure: Failure) -> Failure {
        if failure.code.as_deref() != Some("unauthenticated") {
            return failure;
        }
        let url = self.url();
        if self.server.context.key.is_some() {
            let message = format!("{url} refuses this key ({}): it is unknown, revoked or expired", self.found_by());
            return Failure { message, ..failure };
        }
        let keep = command("context add --help");
        let next =
            format!("run the command with --url {url} and a token in TENANCY_TOKEN; {keep} shows how to store both");
        Failure { message: format!("{url} requires a key, and none is configured"), ..failure }.and(next)
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        let why = innermost(error);
        let message = format!("no server answers at {} ({}): {why}", self.url(), self.found_by());
        let failure = Failure::new(Exit::NoServer, message);
        if why.contains("UnknownIssuer") {
            let next = "set SSL_CERT_FILE to a file with the certificate of the authority that issued the server's certificate";
            return failure.and(next);
        }
        failure.and_type(&self.server.helps)
    }
}

impl Request<'_> {
    /// Sends the request as [`Request::send`] does, and parses the response.
    ///
    /// # Errors
    /// Fails as [`Request::send`] does, and if the response does not have the shape of `T`.
    pub async fn receive<T: DeserializeOwned>(self) -> Result<Received<T>, Failure> {
        let client = self.client;
        let body = self.send().await?;
        Received::of(body).map_err(|error| {
            let mut failure = client.no_tenancy();
            failure.details.push(format!("cannot read its response: {error}"));
            failure
        })
    }

    /// Sends the request and repeats it if necessary. Repeating is safe for a GET, and for a write because it has its
    /// own Idempotency-Key. Returns the body, or `null` if the response has none.
    ///
    /// # Errors
    /// Fails with the problem of the server, or with [`Exit::NoServer`] if no server answers.
    pub async fn send(mut self) -> Result<Value, Failure> {
        self.prepare()?;
        let (mut tries, mut pauses, mut broke) = (1, self.client.pauses.iter(), false);
        let mut limited = Duration::ZERO;
        loop {
            match self.once().await {
                Ok(got) => match self.read(&got) {
                    Read::Answer(body) => return Ok(body),
                    Read::Failure(_, Again::Busy(pause)) if tries < MAX_TRIES => tokio::time::sleep(pause).await,
                    Read::Failure(_, Again::Limited(pause)) if limited + pause <= MAX_LIMITED => {
                        limited += pause;
                        if pause >= LONG_PAUSE {
                            let seconds = pause.as_secs();
                            remark(&format!("the server limits the requests of this key: waiting {seconds} s"));
                        }
                        tokio::time::sleep(pause).await;
                        // It is not an attempt that failed.
                        continue;
                    }
                    Read::Failure(failure, _) => return Err(self.client.without_key(failure)),
                },
                Err(error) => {
                    broke |= !error.is_connect() && !error.is_builder();
                    // Retry only if a server has answered before or the connection broke during the request, because
                    // that can be a restart. Do not retry after a timeout. Every request is safe to repeat.
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

    /// Sends the request once and returns the status, and the body if it is JSON.
    ///
    /// # Errors
    /// Fails with [`Exit::NoServer`] if no server answers.
    pub async fn look(mut self) -> Result<(StatusCode, Value), Failure> {
        self.prepare()?;
        let got = self.once().await.map_err(|error| self.broken(&error, false))?;
        Ok((got.status, serde_json::from_slice(&got.bytes.unwrap_or_default()).unwrap_or_default()))
    }

    pub(crate) fn prepare(&mut self) -> Result<(), Failure> {
        if let Some(name) = &self.nameless {
            return Err(Failure::usage(format!("{name:?} is not a valid name")));
        }
        self.headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if self.method != Method::GET
            && let Ok(value) = HeaderValue::from_str(&idempotency_key()?)
        {
            self.headers.insert("idempotency-key", value);
        }
        Ok(())
    }

    /// Returns the failure for a missing response. After a write, it must not say that no server was reached, because
    /// the write can have been executed.
    pub(crate) fn broken(&self, error: &reqwest::Error, broke: bool) -> Failure {
        if !broke {
            return self.client.unreachable(error);
        }
        let url = self.client.url();
        let what = match error.is_timeout() {
            true => {
                let seconds = self.timeout.map_or(REQUEST_SECONDS, |timeout| timeout.as_secs());
                format!("{url} did not respond within {seconds} s")
            }
            false => format!("the connection to {url} broke ({})", innermost(error)),
        };
        let what = if self.method == Method::GET { what } else { format!("{what}: the change may have been made") };
        Failure::new(Exit::NoServer, what).and("run the same command again")
    }

    async fn once(&self) -> Result<Got, reqwest::Error> {
        Self::whole(self.respond().await?).await
    }

    /// Sends the request once and returns the response before its body has arrived.
    pub(crate) async fn respond(&self) -> Result<Response, reqwest::Error> {
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
        if let Some(timeout) = self.timeout {
            request = request.timeout(timeout);
        }
        let response = request.send().await?;
        self.client.was_there.store(true, Relaxed);
        Ok(response)
    }

    /// Reads the body of a response.
    pub(crate) async fn whole(mut response: Response) -> Result<Got, reqwest::Error> {
        let headers = std::mem::take(response.headers_mut());
        // An incomplete body is an error.
        let (status, mut bytes) = (response.status(), Vec::new());
        while let Some(piece) = response.chunk().await? {
            if bytes.len() + piece.len() > MAX_ANSWER_BYTES {
                return Ok(Got { status, headers, bytes: None });
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(Got { status, headers, bytes: Some(bytes) })
    }

    /// Reads what a response means.
    pub(crate) fn read(&self, got: &Got) -> Read {
        let header = |name| got.headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
        let pause = header(RETRY_AFTER).and_then(|value| value.trim().parse().ok()).unwrap_or(1);
        let Some(bytes) = &got.bytes else {
            let message = format!("the answer of {} has more than {MAX_ANSWER_BYTES} bytes", self.client.url());
            return Read::Failure(Failure::refused(message), Again::No);
        };
        let body = serde_json::from_slice::<Value>(bytes).ok();
        let status = got.status;
        if status.is_redirection() {
            let message =
                format!("the server redirects ({status}); the key is not sent to another server: use the target URL");
            return Read::Failure(Failure::refused(message), Again::No);
        }
        let problem = body.as_ref().and_then(|body| Problem::deserialize(body).ok());
        let ours = if status.is_success() { body.is_some() } else { problem.is_some() };
        // A proxy in between can answer errors in its own format, but not with these statuses.
        let theirs = status.is_success() && !bytes.is_empty()
            || matches!(status, StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED);
        if theirs && !ours {
            return Read::Failure(self.client.no_tenancy(), Again::No);
        }
        if status.is_success() {
            return Read::Answer(body.unwrap_or_default());
        }
        let again = match status {
            StatusCode::SERVICE_UNAVAILABLE => Again::Busy(Duration::from_secs(pause.min(MAX_PAUSE_SECONDS))),
            StatusCode::TOO_MANY_REQUESTS => Again::Limited(Duration::from_secs(pause.max(1))),
            _ => Again::No,
        };
        let failure = match &problem {
            Some(problem) => Failure::of_problem(problem),
            None => Failure::of_status(status.as_u16()),
        };
        Read::Failure(failure, again)
    }
}

/// A response.
pub(crate) struct Got {
    status: StatusCode,
    headers: HeaderMap,
    /// `None` if there are more than [`MAX_ANSWER_BYTES`].
    bytes: Option<Vec<u8>>,
}

/// What a response means.
pub(crate) enum Read {
    /// The body of a success.
    Answer(Value),
    /// A refusal, and whether to repeat the request.
    Failure(Failure, Again),
}

/// Whether and when to repeat a request that was refused.
pub(crate) enum Again {
    /// It would be refused again.
    No,
    /// The server or its database is busy or not there: a few attempts, each after this pause.
    Busy(Duration),
    /// The server limits the requests of this key: wait this long.
    Limited(Duration),
}

/// Returns a random Idempotency-Key, which makes this request safe to repeat.
fn idempotency_key() -> Result<String, Failure> {
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|error| Failure::refused(format!("cannot read random bytes: {error}")))?;
    Ok(hex(&random))
}

/// Returns the innermost cause; the outer ones only repeat the URL.
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

    /// Starts a server that breaks a number of connections after it received a request, and answers the next one.
    async fn breaking(connections: usize) -> Client {
        answering(connections, None).await
    }

    /// Starts a server that refuses a number of requests with this answer, or breaks their connections, and answers the
    /// next one.
    async fn answering(connections: usize, refusal: Option<&'static str>) -> Client {
        // As in `main`. Another test may have installed it already.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        tokio::spawn(async move {
            for connection in 0..=connections {
                let (mut stream, _) = listener.accept().await.expect("accepted");
                let _ = stream.read(&mut [0; 1024]).await;
                if connection < connections {
                    stream.write_all(refusal.unwrap_or_default().as_bytes()).await.expect("written");
                } else {
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
    async fn must_survive_a_restart_of_the_server() {
        let client = breaking(2).await;
        let answer = client.v1(Method::POST, &["tenants"]).json(&Value::Null).send().await.expect("an answer");
        assert_eq!(answer["good"], 1);
        // Now the server is gone. It has answered before, so the client retries until the pauses are used up.
        let failure = client.get::<Value>(&["tenants"]).await.expect_err("none");
        assert!(
            failure.message.contains("no server answers") && failure.next.is_some_and(|next| next.ends_with("dev"))
        );
    }

    #[tokio::test]
    async fn must_wait_as_long_as_the_server_says_when_it_limits_the_key() {
        let soon = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 1\r\nConnection: close\r\n\r\n";
        // More often than it would try after other refusals.
        let client = answering(MAX_TRIES, Some(soon)).await;
        let answer = client.v1(Method::POST, &["tenants"]).json(&Value::Null).send().await.expect("an answer");
        assert_eq!(answer["good"], 1);
        let late = "HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3600\r\nConnection: close\r\n\r\n";
        let client = answering(1, Some(late)).await;
        let begun = std::time::Instant::now();
        client.get::<Value>(&["tenants"]).await.expect_err("not within an hour");
        assert!(begun.elapsed() < Duration::from_secs(5));
    }

    #[tokio::test]
    async fn must_say_that_a_write_may_have_been_executed() {
        let client = breaking(9).await;
        let failure = client.v1(Method::POST, &["tenants"]).json(&Value::Null).send().await.expect_err("broken");
        assert_eq!(failure.exit, Exit::NoServer);
        assert!(failure.message.contains("broke") && failure.message.ends_with("the change may have been made"));
        assert_eq!(failure.next.as_deref(), Some("run the same command again"));
    }

    #[tokio::test]
    async fn must_refuse_a_path_segment_that_is_not_a_name() {
        let client = breaking(0).await;
        for name in ["", ".", ".."] {
            assert_eq!(client.get::<Value>(&["tenants", name]).await.expect_err(name).exit, Exit::Usage);
        }
    }
}
