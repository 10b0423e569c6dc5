//! The feed of access: the tenants as they are, then each tenant again when something happens to it.

use super::access_pages::{AccessPage, PAGE_TENANTS, held_organizations};
use super::event_stream::{end, in_turn, opened, write};
use super::following::{EndReason, KeyCheck, Step};
use super::server::Server;
use crate::authentication::Caller;
use crate::feed::{Batch, Follower};
use crate::operations::access;
use axum::body::Bytes;
use axum::response::Response;
use serde_json::json;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::ids::OrganizationId;
use tenancy_store::LogEnd;
use tenancy_store::page::Page;
use tokio::time::Instant;

/// Interval at which a stream says something. A client that hears nothing for longer knows that its answers age.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// Pause after a failed read.
const RETRY_AFTER: Duration = Duration::from_millis(500);

/// A stream of access of one request.
pub struct AccessStream {
    key: KeyCheck,
    caller: Caller,
    phase: Phase,
    follower: Follower,
    /// Position up to which the client has everything, and its cursor.
    position: i64,
    cursor: String,
    /// Position at which the stream has caught up with the log as it was when the stream began; `None` once it has.
    behind_until: Option<i64>,
    sent_at: Instant,
}

enum Phase {
    /// The tenants after this cursor of the list come next.
    Snapshot(Option<String>),
    /// What happens comes next.
    Live,
    /// The tenants of this batch come next: first those of organizations whose holds changed.
    Batch(Arc<Batch>, BTreeSet<OrganizationId>, Option<String>),
    Ended,
}

impl AccessStream {
    /// Creates the stream of what comes after a position, or, without one, after a snapshot.
    pub fn new(key: KeyCheck, caller: Caller, after: Option<i64>, log: &LogEnd) -> Self {
        let position = after.unwrap_or(log.newest);
        // Follows from here at once, so that the events during the snapshot are kept as long as possible.
        let follower = key.server().tenancy.feed.follow(position).within(log.epoch());
        Self {
            key,
            caller,
            phase: after.map_or(Phase::Snapshot(None), |_| Phase::Live),
            follower,
            position,
            cursor: log.cursor(position),
            behind_until: Some(log.newest),
            sent_at: Instant::now(),
        }
    }

    /// Returns the answer.
    pub fn into_response(mut self) -> Response {
        let first = if matches!(self.phase, Phase::Live) { self.caught_up() } else { Bytes::new() };
        opened(first, self, |mut this| async move { this.frame().await.map(|frame| (frame, this)) })
    }

    /// Returns what to send next; `None` at the end.
    async fn frame(&mut self) -> Option<Bytes> {
        loop {
            let sent = match &self.phase {
                Phase::Ended => return None,
                Phase::Live => self.live().await,
                Phase::Snapshot(_) | Phase::Batch(..) => match self.key.ended().await {
                    Some(reason) => Err(reason),
                    None => Ok(self.page().await),
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

    /// Reads a page of tenants. After a failed read, waits and tries again.
    async fn page(&mut self) -> Bytes {
        let read = match &self.phase {
            Phase::Batch(batch, organizations, after) => {
                let (batch, organizations, after) = (Arc::clone(batch), organizations.clone(), after.clone());
                self.of_batch(batch, organizations, after).await
            }
            Phase::Snapshot(after) => {
                let after = after.clone();
                self.of_snapshot(after).await
            }
            Phase::Live | Phase::Ended => Ok(Bytes::new()),
        };
        match read {
            Ok(frame) => frame,
            Err(error) => {
                tracing::debug!(%error, "a stream of access cannot read; it tries again");
                let stop = self.key.server().stop.clone();
                stop.run_until_cancelled(tokio::time::sleep(RETRY_AFTER)).await;
                Bytes::new()
            }
        }
    }

    async fn of_snapshot(&mut self, after: Option<String>) -> Result<Bytes, Error> {
        let server = self.key.server();
        let position = self.position;
        let read = async move |server: Arc<Server>, caller: Caller| {
            let page = Page { after, limit: PAGE_TENANTS };
            access::page(&server.tenancy, caller.scope(), None, &page, position).await
        };
        let (many, next) = in_turn(server, &self.caller, read).await?;
        let frame = AccessPage::of(&many, |_| None, None).chosen(&self.caller);
        if next.is_some() {
            self.phase = Phase::Snapshot(next);
            return Ok(frame);
        }
        self.phase = Phase::Live;
        Ok([frame, self.caught_up()].concat().into())
    }

    async fn of_batch(
        &mut self,
        batch: Arc<Batch>,
        mut organizations: BTreeSet<OrganizationId>,
        after: Option<String>,
    ) -> Result<Bytes, Error> {
        let server = self.key.server();
        let (tenancy, pages) = (&server.tenancy, server.response_cache.access_pages());
        if let Some(organization) = organizations.first().cloned() {
            // Without ids: a client that is cut off here gets the whole batch again.
            let page = pages.of_organization(tenancy, &batch, &organization, after).await?;
            let frame = page.chosen(&self.caller);
            if page.next.is_none() {
                organizations.pop_first();
            }
            self.phase = Phase::Batch(batch, organizations, page.next.clone());
            return Ok(frame);
        }
        let frame = pages.of_batch(tenancy, &batch).await?.chosen(&self.caller);
        (self.position, self.cursor) = (batch.last, batch.cursor(batch.last));
        self.phase = Phase::Live;
        let more = if frame.is_empty() { self.caught_up_or_position() } else { self.caught_up() };
        Ok(if more.is_empty() { frame } else { [frame, more].concat().into() })
    }

    async fn live(&mut self) -> Result<Bytes, EndReason> {
        match self.key.next(&mut self.follower, self.sent_at + KEEP_ALIVE).await {
            Step::Ended(reason) => Err(reason),
            Step::Batch(batch) => {
                let mut organizations = held_organizations(&batch);
                if !self.caller.scope().is_all() {
                    organizations.retain(|organization| self.caller.concerns(organization));
                }
                self.phase = Phase::Batch(batch, organizations, None);
                Ok(Bytes::new())
            }
            // A comment keeps the connection open. It says nothing about the log, which perhaps cannot be read now.
            Step::Quiet if self.key.server().tenancy.feed.was_read_within(KEEP_ALIVE) => {
                Ok(self.caught_up_or_position())
            }
            Step::Quiet => Ok(Bytes::from_static(b":\n\n")),
        }
    }

    /// Tells the client once that it knows everything that had happened when it connected.
    fn caught_up(&mut self) -> Bytes {
        match self.behind_until {
            Some(until) if self.position >= until => {
                self.behind_until = None;
                self.said("caught-up")
            }
            _ => Bytes::new(),
        }
    }

    fn caught_up_or_position(&mut self) -> Bytes {
        let frame = self.caught_up();
        if frame.is_empty() { self.said("position") } else { frame }
    }

    fn said(&self, name: &str) -> Bytes {
        let mut frame = Vec::new();
        write(&mut frame, Some(&self.cursor), name, &json!({"position": self.position}));
        frame.into()
    }
}
