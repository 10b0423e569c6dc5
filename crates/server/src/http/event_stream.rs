//! Server-Sent Events (WHATWG HTML, 9.2): a snapshot if one is requested, then what is in the log, then what happens.

use super::following::{EndReason, KeyCheck, Step};
use super::key_traffic::Seat;
use super::server::Server;
use crate::authentication::Caller;
use crate::feed::{Batch, Follower, Rendered, View};
use crate::operations::events::{self, EventFilter};
use axum::body::{Body, Bytes};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, HeaderValue};
use axum::response::Response;
use futures_util::future::ready;
use futures_util::{StreamExt, stream};
use serde::Serialize;
use serde_json::json;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tenancy_api::event::AuditEvent as EventView;
use tenancy_api::tenant::TenantRow;
use tenancy_api::viewpoint::Viewpoint;
use tenancy_core::Error;
use tenancy_store::page::{LoggedEvent, Page};
use tenancy_store::{LogEnd, LogTail, UnreadableEvent};
use tokio::time::Instant;

/// Media type of Server-Sent Events.
pub const EVENT_STREAM: &str = "text/event-stream";

/// Interval of comments on a stream on which nothing happens. Proxies close connections that are silent for longer.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Interval of positions while only events that the client does not get are committed.
const POSITION_EVERY: Duration = Duration::from_secs(1);
/// Pause after a failed read.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Time after which a browser connects again, in milliseconds.
const RECONNECT_MILLISECONDS: u32 = 1000;
/// Number of events, and of tenants, that are read at once.
const PAGE_ITEMS: usize = 200;

/// Asks nginx not to buffer the answer.
const X_ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// A stream of events of one request.
pub struct EventStream {
    key: KeyCheck,
    caller: Caller,
    filter: Arc<EventFilter>,
    phase: Phase,
    /// Position up to which the client has everything, and its cursor.
    position: i64,
    cursor: String,
    /// Epoch of the log to which the position belongs.
    epoch: i64,
    /// Position that the client was last told, and when.
    told: i64,
    sent_at: Instant,
}

enum Phase {
    /// The tenants after this cursor come next.
    Snapshot(Option<String>),
    /// Events that are in the log come next.
    Log,
    /// Events that happen come next.
    Live(Follower),
    Ended,
}

impl EventStream {
    /// Creates the stream of what comes after a position.
    pub fn new(key: KeyCheck, caller: Caller, filter: Arc<EventFilter>, position: i64, end: &LogEnd) -> Self {
        let (cursor, epoch, sent_at) = (end.cursor(position), end.epoch(), Instant::now());
        Self { key, caller, filter, phase: Phase::Log, position, cursor, epoch, told: -1, sent_at }
    }

    /// Sends the current tenants first.
    #[must_use]
    pub fn with_snapshot(self) -> Self {
        Self { phase: Phase::Snapshot(None), ..self }
    }

    /// Returns the answer.
    pub fn into_response(self) -> Response {
        let first = self.opening();
        opened(first, self, |mut this| async move { this.frame().await.map(|frame| (frame, this)) })
    }

    /// Tells the client at once where the stream begins, unless a snapshot comes first: its cursor is valid only at its
    /// end.
    fn opening(&self) -> Bytes {
        if matches!(self.phase, Phase::Log) { position(&self.cursor, self.position).into() } else { Bytes::new() }
    }

    /// Returns what to send next; `None` at the end.
    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            let sent = match &mut self.phase {
                Phase::Ended => return None,
                Phase::Live(_) => self.live().await,
                Phase::Log | Phase::Snapshot(_) => match self.key.ended().await {
                    Some(reason) => Err(reason),
                    None => self.page().await,
                },
            };
            let frame = sent.unwrap_or_else(|reason| {
                self.phase = Phase::Ended;
                end(reason, &self.cursor).into()
            });
            if !frame.is_empty() {
                self.sent_at = Instant::now();
                return Some(frame);
            }
        }
    }

    /// Reads a page of the snapshot or of the log.
    async fn page(&mut self) -> Result<Bytes, EndReason> {
        let read = match &self.phase {
            Phase::Snapshot(after) => self.tenants(after.clone()).await,
            _ => self.logged().await,
        };
        match read {
            Ok(frame) => Ok(frame),
            Err(Error::CursorExpired { .. }) => Err(EndReason::CursorExpired),
            Err(error) => {
                tracing::debug!(%error, "a stream of events cannot read; it tries again");
                let stop = self.key.server().stop.clone();
                stop.run_until_cancelled(tokio::time::sleep(RETRY_AFTER)).await;
                Ok(Bytes::new())
            }
        }
    }

    async fn tenants(&mut self, after: Option<String>) -> Result<Bytes, Error> {
        let (server, filter) = (self.key.server(), Arc::clone(&self.filter));
        let page = Page { after, limit: PAGE_ITEMS };
        let read = async move |server: Arc<Server>, caller: Caller| {
            events::tenants(&server.tenancy, &caller, &filter, &page).await
        };
        let listed = in_turn(server, &self.caller, read).await?;
        let viewpoint = self.caller.viewpoint(&server.tenancy);
        let mut frame = Vec::new();
        for tenant in &listed.items {
            write(&mut frame, None, "tenant", &TenantRow::of(viewpoint, tenant));
        }
        for row in &listed.unreadable {
            write(&mut frame, None, "unreadable", &json!({"id": row.id, "place": row.place}));
        }
        self.phase = match listed.next {
            Some(next) => Phase::Snapshot(Some(next)),
            None => {
                write(&mut frame, Some(&self.cursor), "snapshot-end", &json!({"position": self.position}));
                self.told = self.position;
                Phase::Log
            }
        };
        Ok(frame.into())
    }

    async fn logged(&mut self) -> Result<Bytes, Error> {
        let server = self.key.server();
        let tail = log_page(server, &self.caller, &self.filter, self.position, PAGE_ITEMS).await?;
        if tail.end.epoch() != self.epoch {
            // The database was restored meanwhile: the position is that of another event.
            return Err(Error::CursorExpired { oldest: tail.end.cursor(0), is_lost: true });
        }
        server.tenancy.load_key_names(tail.events.iter().map(|logged| logged.event.actor.as_str())).await?;
        let mut frame = unreadable(tail.unreadable.iter());
        for logged in &tail.events {
            let cursor = tail.end.cursor(logged.position);
            frame.extend(event(&self.caller.viewpoint(&server.tenancy), &cursor, logged));
        }
        if let Some(last) = tail.events.last() {
            self.told = last.position;
        }
        self.move_to(tail.last, tail.end.cursor(tail.last));
        if tail.is_end {
            self.phase = Phase::Live(self.key.server().tenancy.feed.follow(self.position).within(self.epoch));
        }
        Ok(self.or_position(frame.into()))
    }

    async fn live(&mut self) -> Result<Bytes, EndReason> {
        let pause = if self.position > self.told { POSITION_EVERY } else { KEEP_ALIVE };
        let Phase::Live(follower) = &mut self.phase else { return Ok(Bytes::new()) };
        match self.key.next(follower, self.sent_at + pause).await {
            Step::Ended(reason) => Err(reason),
            Step::Batch(batch) => {
                let frame = self.rendered(&batch).await;
                self.move_to(batch.last, batch.cursor(batch.last));
                Ok(self.or_position(frame))
            }
            Step::Quiet => {
                let frame = self.or_position(Bytes::new());
                Ok(if frame.is_empty() { Bytes::from_static(b":\n\n") } else { frame })
            }
        }
    }

    /// Returns the events of a batch that the client gets.
    async fn rendered(&mut self, batch: &Batch) -> Bytes {
        let takes: Vec<_> = batch.events.iter().map(|event| self.filter.takes(&self.caller, event)).collect();
        let mut frame = Bytes::new();
        if takes.contains(&true) {
            let (server, view) = (self.key.server(), View::of(&self.caller));
            if !batch.is_rendered(view) {
                let actors = || batch.events.iter().map(|event| event.logged.event.actor.as_str());
                while server.tenancy.load_key_names(actors()).await.is_err() && !server.stop.is_cancelled() {
                    tokio::time::sleep(RETRY_AFTER).await;
                }
            }
            let viewpoint = self.caller.viewpoint(&server.tenancy);
            let render = |batch: &Batch| {
                let each = batch.events.iter();
                Rendered::of(each.map(|one| event(&viewpoint, &batch.cursor(one.logged.position), &one.logged)))
            };
            frame = batch.rendered(view, render).chosen(|index| takes.get(index).copied().unwrap_or_default());
            let told = batch.events.iter().zip(&takes).rev().find(|(_, is_taken)| **is_taken);
            self.told = told.map_or(self.told, |(event, _)| event.logged.position);
        }
        let unread = batch.unreadable.iter().filter(|one| self.filter.takes_unreadable(&self.caller, one));
        let first = unreadable(unread.map(|one| &one.event));
        if first.is_empty() { frame } else { [first.as_slice(), &frame].concat().into() }
    }

    fn move_to(&mut self, position: i64, cursor: String) {
        (self.position, self.cursor) = (position, cursor);
    }

    /// Returns the events, or the position if there are none and the client was not told one for a while.
    fn or_position(&mut self, frame: Bytes) -> Bytes {
        if !frame.is_empty() || self.position <= self.told || self.sent_at.elapsed() < POSITION_EVERY {
            return frame;
        }
        self.told = self.position;
        position(&self.cursor, self.position).into()
    }
}

/// Returns the answer that sends `first`, and then what `next` returns until its end.
pub fn opened<S, F>(first: Bytes, stream: S, next: impl Fn(S) -> F + Send + 'static) -> Response
where
    S: Send + 'static,
    F: Future<Output = Option<(Bytes, S)>> + Send + 'static,
{
    let retry = Bytes::from(format!("retry: {RECONNECT_MILLISECONDS}\n\n"));
    let rest = stream::unfold(stream, next);
    let frames = stream::iter([retry, first]).filter(|frame| ready(!frame.is_empty())).chain(rest);
    let mut response = Response::new(Body::from_stream(frames.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(X_ACCEL_BUFFERING, HeaderValue::from_static("no"));
    response
}

/// Waits for a turn to read a list, then reads. The read goes on and keeps its turn if the client disconnects: a client
/// that disconnects again and again could otherwise start any number of reads.
///
/// # Errors
/// [`Error::TooManyAtOnce`] if the turn does not come in time; the error of the read.
pub async fn in_turn<T, R>(
    server: &Arc<Server>,
    caller: &Caller,
    read: impl FnOnce(Arc<Server>, Caller) -> R,
) -> Result<T, Error>
where
    T: Send + 'static,
    R: Future<Output = Result<T, Error>> + Send + 'static,
{
    let seat = match caller.key() {
        Some(key) => server.key_traffic.heavy_seat(key, server.tenancy.now()).await?,
        None => Seat::default(),
    };
    let read = read(Arc::clone(server), caller.clone());
    let reading = tokio::spawn(async move {
        let read = read.await;
        drop(seat);
        read
    });
    reading.await.unwrap_or_else(|error| Err(Error::Internal(format!("a read was aborted: {error}"))))
}

/// Reads a page of the log in turn.
///
/// # Errors
/// The same as [`in_turn`] and [`events::page`].
pub async fn log_page(
    server: &Arc<Server>,
    caller: &Caller,
    filter: &Arc<EventFilter>,
    after: i64,
    limit: usize,
) -> Result<LogTail, Error> {
    let filter = Arc::clone(filter);
    let read = async move |server: Arc<Server>, caller: Caller| {
        events::page(&server.tenancy, &caller, &filter, after, limit).await
    };
    in_turn(server, caller, read).await
}

fn event(viewpoint: &Viewpoint<'_>, cursor: &str, logged: &LoggedEvent) -> Vec<u8> {
    let mut frame = Vec::with_capacity(1024);
    let view = EventView::of(*viewpoint, logged.position, &logged.event, logged.tampered);
    write(&mut frame, Some(cursor), logged.event.event_type.as_str(), &view);
    frame
}

/// Returns the frames of events that cannot be read. They come before the other events of a page: a client that is cut off
/// between them gets them again, because the ids come after them.
fn unreadable<'e>(events: impl Iterator<Item = &'e UnreadableEvent>) -> Vec<u8> {
    let mut frames = Vec::new();
    for event in events {
        write(&mut frames, None, "unreadable", &json!({"id": event.row.id, "place": event.row.place}));
    }
    frames
}

fn position(cursor: &str, position: i64) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame, Some(cursor), "position", &json!({"position": position}));
    frame
}

/// Returns the last event of a stream.
pub fn end(reason: EndReason, cursor: &str) -> Vec<u8> {
    let mut frame = Vec::new();
    write(&mut frame, None, "end", &json!({"reason": reason.as_str(), "next": cursor}));
    frame
}

/// Writes one event of a stream. JSON without white space has no line ends.
pub fn write(frame: &mut Vec<u8>, id: Option<&str>, name: &str, data: &impl Serialize) {
    if let Some(id) = id {
        frame.extend_from_slice(format!("id: {id}\n").as_bytes());
    }
    frame.extend_from_slice(format!("event: {name}\ndata: ").as_bytes());
    // Serialization can fail only for maps whose keys are not text, which no view has.
    frame.extend_from_slice(&serde_json::to_vec(data).unwrap_or_default());
    frame.extend_from_slice(b"\n\n");
}
