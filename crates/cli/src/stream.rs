//! Follows the event feed of the server: parses Server-Sent Events, and connects again where a stream ended.

use crate::client::{Client, Request};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::sending::{Again, Read};
use crate::terminal::{plain, remark};
use crate::wire::{AuditEvent, Received};
use reqwest::header::{ACCEPT, HeaderValue};
use reqwest::{Method, Response};
use serde::Deserialize;
use std::time::Duration;
use tenancy_api::list::Unreadable;

/// Media type of Server-Sent Events.
const EVENT_STREAM: &str = "text/event-stream";
/// Time without a byte after which the connection counts as broken. The server sends a comment every 15 seconds.
const SILENCE: Duration = Duration::from_secs(60);
/// Pauses before a new attempt to connect. The last one is repeated.
const PAUSES_MILLIS: [u64; 6] = [0, 200, 500, 1_000, 2_000, 5_000];
/// Maximum size of one event, in bytes. The server's events have at most about 200 KiB.
const MAX_EVENT_BYTES: usize = 16 * 1024 * 1024;

/// The events of a server, from a place in its log.
pub struct Stream<'c> {
    client: &'c Client,
    query: Vec<(&'static str, String)>,
    /// Cursor of the last event that was received.
    cursor: Option<String>,
    open: Option<Open>,
    /// Whether a stream was open before. Its end is then no failure.
    was_open: bool,
    failures: usize,
}

/// An open stream, and what was received of the next event.
struct Open {
    response: Response,
    buffer: Vec<u8>,
}

/// One event of a stream.
#[derive(Debug, PartialEq, Eq)]
struct Frame {
    id: Option<String>,
    name: String,
    data: String,
}

/// Why the server ends a stream.
#[derive(Deserialize)]
struct End {
    reason: String,
}

impl<'c> Stream<'c> {
    /// Creates a stream of all events. It begins with the oldest event, unless a filter says otherwise.
    pub fn of(client: &'c Client) -> Self {
        Self { client, query: Vec::new(), cursor: None, open: None, was_open: false, failures: 0 }
    }

    /// Adds a parameter if there is a value.
    #[must_use]
    pub fn filter(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        self.query.extend(value.map(|value| (name, value.into())));
        self
    }

    /// Connects, unless it is connected. Everything that is committed afterwards is received.
    ///
    /// # Errors
    /// Fails if the server refuses, or if it does not answer and never did. Otherwise it tries again.
    pub async fn connect(&mut self) -> Result<(), Failure> {
        while self.open.is_none() {
            let last = PAUSES_MILLIS.len() - 1;
            tokio::time::sleep(Duration::from_millis(PAUSES_MILLIS[self.failures.min(last)])).await;
            match self.request().open_stream().await? {
                Ok(response) => {
                    self.open = Some(Open { response, buffer: Vec::new() });
                    self.was_open = true;
                }
                Err((failure, is_final)) if is_final || !self.was_open => return Err(failure),
                Err((failure, _)) => {
                    if self.failures == 1 {
                        remark(&format!("{}: trying again", plain(&failure.message)));
                    }
                    self.failures += 1;
                }
            }
        }
        Ok(())
    }

    fn request(&self) -> Request<'c> {
        let mut request = self.client.v1(Method::GET, &["events"]);
        for (name, value) in &self.query {
            // The cursor takes the place of where the first stream began.
            if *name != "after" || self.cursor.is_none() {
                request = request.query(name, value.clone());
            }
        }
        request.query_if("after", self.cursor.clone())
    }

    /// Returns the next event. Each event is returned once, in the order of the log.
    ///
    /// # Errors
    /// Fails if the server refuses to continue: the key was revoked, or events have expired.
    pub async fn next(&mut self) -> Result<Received<AuditEvent>, Failure> {
        loop {
            self.connect().await?;
            let Some(frame) = self.frame().await? else {
                self.open = None;
                continue;
            };
            self.failures = 0;
            match frame.name.as_str() {
                "position" | "tenant" | "snapshot-end" => {}
                "end" => {
                    self.open = None;
                    if serde_json::from_str::<End>(&frame.data).is_ok_and(|end| end.reason == "stopping") {
                        // The process that stops still accepts no new request.
                        self.failures = 1;
                    }
                }
                "unreadable" => {
                    if let Ok(row) = serde_json::from_str::<Unreadable>(&frame.data) {
                        let (id, place) = (plain(&row.id), plain(&row.place));
                        remark(&format!("{id} is left out: the server cannot read {place}"));
                    }
                }
                _ => {
                    let event = serde_json::from_str(&frame.data).map_err(|_| self.client.no_tenancy())?;
                    self.cursor = frame.id.or(self.cursor.take());
                    return Ok(event);
                }
            }
            self.cursor = frame.id.or(self.cursor.take());
        }
    }

    /// Reads the next frame; `None` if the stream has ended or its connection broke.
    async fn frame(&mut self) -> Result<Option<Frame>, Failure> {
        let Some(open) = &mut self.open else { return Ok(None) };
        loop {
            while let Some(end) = open.buffer.windows(2).position(|two| two == b"\n\n") {
                let text: Vec<u8> = open.buffer.drain(..end + 2).collect();
                if let Some(frame) = parse(&String::from_utf8_lossy(&text)) {
                    return Ok(Some(frame));
                }
            }
            if open.buffer.len() > MAX_EVENT_BYTES {
                let message = format!("an event of {} has more than {MAX_EVENT_BYTES} bytes", self.client.url());
                return Err(Failure::refused(message));
            }
            match tokio::time::timeout(SILENCE, open.response.chunk()).await {
                Ok(Ok(Some(piece))) => open.buffer.extend_from_slice(&piece),
                _ => return Ok(None),
            }
        }
    }
}

/// Parses one event (WHATWG HTML, 9.2.6); `None` if it is only a comment.
fn parse(text: &str) -> Option<Frame> {
    let (mut id, mut name, mut data) = (None, None, Vec::new());
    for line in text.lines() {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => id = Some(value.to_owned()),
            "event" => name = Some(value.to_owned()),
            "data" => data.push(value),
            _ => {}
        }
    }
    (!data.is_empty()).then(|| Frame { id, name: name.unwrap_or_default(), data: data.join("\n") })
}

/// An open stream, or why there is none and whether another attempt is useless.
type Opened = Result<Response, (Failure, bool)>;

impl Request<'_> {
    /// Opens a stream of events.
    ///
    /// # Errors
    /// Fails if the request cannot be sent as it is.
    async fn open_stream(mut self) -> Result<Opened, Failure> {
        self.prepare()?;
        self.headers.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        // A stream does not end by itself.
        self.timeout = Some(Duration::MAX);
        let response = match self.respond().await {
            Ok(response) => response,
            Err(error) => return Ok(Err((self.broken(&error, false), false))),
        };
        if response.status().is_success() {
            let media = response.headers().get(reqwest::header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
            if media.is_some_and(|media| media.starts_with(EVENT_STREAM)) {
                return Ok(Ok(response));
            }
            let failure = Failure::refused("the server does not support following events: upgrade it");
            return Ok(Err((failure, true)));
        }
        let refused = match Self::whole(response).await {
            Ok(got) => self.read(&got),
            Err(error) => return Ok(Err((self.broken(&error, false), false))),
        };
        Ok(Err(match refused {
            Read::Failure(failure, again) => {
                let is_final = matches!(again, Again::No) && failure.exit != Exit::NoServer;
                (self.client.without_key(failure), is_final)
            }
            Read::Answer(_) => (self.client.no_tenancy(), true),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_parse_events_and_skip_comments() {
        let frame = parse("id: 6c\nevent: position\ndata: {\"position\":7}\n\n").expect("an event");
        assert_eq!((frame.id.as_deref(), frame.name.as_str()), (Some("6c"), "position"));
        assert_eq!(frame.data, "{\"position\":7}");
        assert_eq!(parse(":\n\n"), None);
        assert_eq!(parse("retry: 1000\n\n"), None);
        assert_eq!(parse("data: a\ndata:b\r\n\n").expect("an event").data, "a\nb");
    }
}
