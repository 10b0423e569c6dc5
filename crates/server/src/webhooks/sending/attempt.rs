//! One attempt: request, answer, verdict.

use super::connector::Connection;
use super::fault::{self, Fault, seconds};
use super::pool::Receiver;
use super::{Attempt, Exchange, Message, Outcome, Sender, Target, address, answer, cloudevents, standard};
use axum::body::Body;
use bytes::Bytes;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HOST, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::webhook::Format;
use tokio::time::{Instant, timeout_at};
use url::Url;

const AGENT: &str = concat!("tenancy/", env!("CARGO_PKG_VERSION"));

/// What an attempt has seen so far. It stays if the attempt runs out of time.
#[derive(Default)]
struct Seen {
    request: Exchange,
    connect: Option<Duration>,
    status: Option<u16>,
    retry_after: Option<Duration>,
    answer: Vec<u8>,
}

/// A request that can be sent again.
struct Prepared {
    url: Url,
    receiver: Receiver,
    is_platform: bool,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    deadline: Instant,
}

impl Sender {
    /// Sends a message once. `now` is the time that the receiver sees as `webhook-timestamp`.
    ///
    /// An answer with 2xx delivers the message, also if its body never ends or the connection breaks in it: sending the
    /// message again would only make the receiver work twice.
    pub async fn send(&self, target: &Target<'_>, message: &Message, now: Timestamp) -> Attempt {
        let begun = Instant::now();
        let mut seen = Seen::default();
        let done = self.attempt(target, message, now, begun, &mut seen).await;
        let (outcome, fault) = match done {
            Ok(()) => (Outcome::Delivered, None),
            Err(fault) if fault.code == fault::GONE => (Outcome::Gone, Some(fault)),
            Err(fault) => (Outcome::Failed, Some(fault)),
        };
        Attempt {
            outcome,
            status: seen.status,
            connect_ms: seen.connect.map(milliseconds),
            total_ms: milliseconds(begun.elapsed()),
            answer_start: answer::visible(&seen.answer),
            retry_after: seen.retry_after,
            error: fault.as_ref().map(|fault| fault.code),
            detail: fault.map(|fault| fault.detail),
            request: seen.request,
        }
    }

    async fn attempt(
        &self,
        target: &Target<'_>,
        message: &Message,
        now: Timestamp,
        begun: Instant,
        seen: &mut Seen,
    ) -> Result<(), Fault> {
        let prepared = self.prepare(target, message, now, begun)?;
        seen.request = Exchange { headers: prepared.headers.clone(), body_bytes: prepared.body.len() };
        let late = || {
            let detail = format!("the receiver did not answer within {}", seconds(target.timeout));
            Err(Fault::new(fault::TIMEOUT, detail))
        };
        let answering = self.exchange(&prepared, &mut seen.connect);
        let (response, connection) = timeout_at(prepared.deadline, answering).await.unwrap_or_else(|_| late())?;
        let status = response.status();
        seen.status = Some(status.as_u16());
        seen.retry_after = answer::retry_after(status, response.headers(), now);
        let mut body = response.into_body();
        let reading = answer::read(&mut body, self.limits.answer_bytes, &mut seen.answer);
        if timeout_at(prepared.deadline, reading).await.unwrap_or(false) {
            self.pool.keep(prepared.receiver, connection);
        }
        verdict(status)
    }

    /// Checks the address, renders and signs.
    fn prepare(
        &self,
        target: &Target<'_>,
        message: &Message,
        now: Timestamp,
        begun: Instant,
    ) -> Result<Prepared, Fault> {
        let url = address::parse(target.url, target.is_platform, &self.connector.policy)
            .map_err(|why| Fault::new(fault::ADDRESS_REFUSED, format!("the URL {why}")))?;
        let (content_type, body) = match target.format {
            Format::Standard => (standard::CONTENT_TYPE, standard::body(message)),
            Format::CloudEvents => (cloudevents::CONTENT_TYPE, cloudevents::body(message)),
        };
        let timestamp = now.as_second();
        let signature = standard::signature(target.secrets, &message.id, timestamp, &body)?;
        let headers = vec![
            (CONTENT_TYPE.as_str(), content_type.to_owned()),
            (USER_AGENT.as_str(), AGENT.to_owned()),
            ("webhook-id", message.id.clone()),
            ("webhook-timestamp", timestamp.to_string()),
            ("webhook-signature", signature),
        ];
        let receiver = Receiver::of(&url, target.is_platform);
        let is_platform = target.is_platform;
        Ok(Prepared { url, receiver, is_platform, headers, body: body.into(), deadline: begun + target.timeout })
    }

    /// Sends the request on an existing connection, or on a new one.
    async fn exchange(
        &self,
        prepared: &Prepared,
        connect: &mut Option<Duration>,
    ) -> Result<(Response<Incoming>, Connection), Fault> {
        if let Some(mut connection) = self.pool.take(&prepared.receiver).await {
            match connection.sender.send_request(request(prepared)?).await {
                Ok(response) => return Ok((response, connection)),
                // The receiver has closed the idle connection at the moment it was used. That says nothing about
                // the receiver, so it does not count as an attempt.
                Err(error) if is_closed(&error) => {}
                Err(error) => return Err(fault_of(&error)),
            }
        }
        let begun = Instant::now();
        let mut connection = self.connector.connect(&prepared.url, prepared.is_platform, prepared.deadline).await?;
        *connect = Some(begun.elapsed());
        match connection.sender.send_request(request(prepared)?).await {
            Ok(response) => Ok((response, connection)),
            Err(error) => Err(fault_of(&error)),
        }
    }
}

fn request(prepared: &Prepared) -> Result<Request<Body>, Fault> {
    let url = &prepared.url;
    let host = url.host_str().unwrap_or_default();
    let host = url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"));
    let mut request = Request::post(path(url)).header(HOST, host);
    for (name, value) in &prepared.headers {
        request = request.header(*name, value);
    }
    let unsendable =
        |error| Fault::new(fault::ADDRESS_REFUSED, format!("the URL cannot be sent in a request: {error}"));
    request.body(Body::from(prepared.body.clone())).map_err(unsendable)
}

/// Path and query of a URL, as a request contains them.
pub(super) fn path(url: &Url) -> String {
    url.query().map_or_else(|| url.path().to_owned(), |query| format!("{}?{query}", url.path()))
}

fn verdict(status: StatusCode) -> Result<(), Fault> {
    let number = status.as_u16();
    if status.is_success() {
        Ok(())
    } else if status == StatusCode::GONE {
        Err(Fault::new(fault::GONE, "the receiver answered with 410: it wants no more messages"))
    } else if status.is_redirection() {
        let detail = format!("the receiver answered with {number}; redirects are not followed: change the URL");
        Err(Fault::new(fault::REDIRECT, detail))
    } else {
        Err(Fault::new(fault::STATUS, format!("the receiver answered with {number}")))
    }
}

/// Whether the connection ended before the first byte of an answer.
fn is_closed(error: &hyper::Error) -> bool {
    error.is_canceled() || error.is_closed() || error.is_incomplete_message() || io_kind(error).is_some()
}

fn io_kind(error: &hyper::Error) -> Option<std::io::ErrorKind> {
    let source = std::error::Error::source(error)?;
    source.downcast_ref::<std::io::Error>().map(std::io::Error::kind)
}

fn fault_of(error: &hyper::Error) -> Fault {
    if io_kind(error) == Some(std::io::ErrorKind::InvalidData) {
        let why = std::error::Error::source(error).map(ToString::to_string).unwrap_or_default();
        return Fault::new(fault::TLS, format!("the TLS connection failed: {why}"));
    }
    if is_closed(error) {
        return Fault::new(fault::CLOSED, "the receiver closed the connection before its answer");
    }
    Fault::new(fault::BAD_ANSWER, format!("the answer is not HTTP/1.1, or its headers are too large: {error}"))
}

fn milliseconds(time: Duration) -> u32 {
    u32::try_from(time.as_millis()).unwrap_or(u32::MAX)
}
