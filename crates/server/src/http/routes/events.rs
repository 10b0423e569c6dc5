//! `/v1/events`: the event feed, as Server-Sent Events or as pages.

use crate::authentication::{Caller, Requirement};
use crate::http::auth;
use crate::http::caller::By;
use crate::http::event_stream::{EVENT_STREAM, EventStream, log_page};
use crate::http::following::{EndReason, KeyCheck, Step};
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::respond;
use crate::http::server::Server;
use crate::operations::events::{self, EventFilter};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use axum::response::Response;
use std::sync::Arc;
use std::time::Duration;
use tenancy_api::event::AuditEvent as EventView;
use tenancy_api::list::List;
use tenancy_core::Error;
use tenancy_core::event::{EventType, is_pattern, matches};
use tenancy_core::ids::{CorrelationId, OrganizationId};
use tenancy_core::nearest::nearest;
use tenancy_core::permission::Operation;
use tenancy_store::page::{DEFAULT_PAGE_ITEMS, Listed, MAX_PAGE_ITEMS};
use tokio::time::Instant;

/// Maximum time that a request waits for events, in seconds.
pub const MAX_WAIT_SECONDS: u64 = 60;

/// Cursor of the last event that a browser has received.
const LAST_EVENT_ID: &str = "last-event-id";

/// Follows what happens: each committed event once, in the order of the log.
///
/// With `Accept: text/event-stream`, the answer is a stream of Server-Sent Events that does not end by itself. Each
/// audit event has its type as `event` and its cursor as `id`. Further events: `position`, with the position that
/// everything was read to; `tenant` and `snapshot-end`, of a snapshot; `unreadable`, for a row that cannot be read; and
/// `end`, with the reason why the server ends the stream. Otherwise the answer is a page of events, and `next` is always
/// set.
#[utoipa::path(
    get, path = "/v1/events", tag = "events", operation_id = "follow_events",
    params(
        ("after" = Option<String>, Query,
            description = "Cursor: `id` of the last event that was received, or `next` of the last page. `end` starts \
                after the newest event. Defaults to the oldest event that is kept. A cursor whose next event is no \
                longer kept is answered with 410 and the oldest cursor."),
        ("event_type" = Option<Vec<String>>, Query,
            description = "Only events of these types. An entry that ends in `*` matches all types that begin with the \
                text before it. Repeat the parameter, or separate types with commas."),
        ("tenant_id" = Option<String>, Query, description = "Only events of this tenant: its id, or an alias as `kind:value`."),
        ("organization_id" = Option<String>, Query, description = "Only events of tenants of this organization."),
        ("correlation_id" = Option<String>, Query, description = "Only events with this correlation id."),
        ("actor" = Option<String>, Query,
            description = "Only events that this actor caused, such as `user:key_…` or `system:jobs`."),
        ("since" = Option<String>, Query, description = "Only events at this time or later."),
        ("snapshot" = Option<bool>, Query,
            description = "With `true`, the stream begins with the current tenants, as events `tenant` without an id, \
                and the event `snapshot-end`. Every later change of a tenant follows as an event. Only for streams. \
                Ignored if the header Last-Event-ID is sent."),
        ("wait" = Option<u64>, Query,
            description = "Maximum time to wait for an event if there is none yet, in seconds, 0 to 60. Defaults to 0. \
                Only for pages."),
        ("limit" = Option<u64>, Query,
            description = "Maximum number of items in a page, 1 to 500. Defaults to 50. Only for pages."),
        ("Last-Event-ID" = Option<String>, Header,
            description = "Cursor of the last event that was received. A browser sends it when it connects again. It \
                takes the place of `after`."),
    ),
    responses((status = 200, description = "A stream of events, or a page of them.", content(
        (List<EventView> = "application/json"),
        (String = "text/event-stream"),
    ))),
)]
pub async fn follow(
    State(server): State<Arc<Server>>,
    By(caller): By,
    headers: HeaderMap,
    mut query: Query,
) -> Result<Response, Problem> {
    let wanted = Wanted::read(&headers, &mut query)?;
    let filter = Arc::new(filter(&server, &caller, &mut query).await?);
    query.no_others()?;
    let (position, end) = events::resume(&server.tenancy, &caller, wanted.after.as_deref()).await?;
    let seat = server.event_seats.take(caller.key().map(|key| &key.key_id))?;
    let requirement = Requirement::Permission(Operation::ReadAudit);
    let key = KeyCheck::new(Arc::clone(&server), auth::shown(&headers)?, requirement, seat);
    if !wanted.is_stream {
        return page(key, caller, filter, position, &wanted).await;
    }
    let (position, is_snapshot) = if wanted.has_snapshot { (end.newest, true) } else { (position, false) };
    let stream = EventStream::new(key, caller, filter, position, &end);
    Ok(if is_snapshot { stream.with_snapshot() } else { stream }.into_response())
}

/// What a request asks for, besides the filter.
struct Wanted {
    after: Option<String>,
    is_stream: bool,
    has_snapshot: bool,
    wait: Duration,
    limit: usize,
}

impl Wanted {
    fn read(headers: &HeaderMap, query: &mut Query) -> Result<Self, Error> {
        let is_stream = accepts_stream(headers);
        let last_event_id = match headers.get(LAST_EVENT_ID) {
            None => None,
            Some(id) => Some(id.to_str().map_err(|_| bad("header Last-Event-ID is not a cursor"))?.to_owned()),
        };
        let after = query.text("after")?;
        let has_snapshot = query.flag("snapshot")?;
        let (wait, limit) =
            (query.number("wait", 0..=MAX_WAIT_SECONDS)?, query.number("limit", 1..=MAX_PAGE_ITEMS as u64)?);
        if has_snapshot && !is_stream {
            return Err(bad("snapshot=true needs a stream: send Accept: text/event-stream"));
        }
        if has_snapshot && after.is_some() {
            return Err(bad(
                "snapshot=true and after exclude each other: a snapshot says after which event it continues",
            ));
        }
        if is_stream && (wait.is_some() || limit.is_some()) {
            return Err(bad("wait and limit are for pages only: leave them out, or send Accept: application/json"));
        }
        let limit = limit.and_then(|limit| usize::try_from(limit).ok()).unwrap_or(DEFAULT_PAGE_ITEMS);
        Ok(Self {
            // A browser repeats the whole request, with its `after`, when it connects again.
            has_snapshot: has_snapshot && last_event_id.is_none(),
            after: last_event_id.or(after),
            is_stream,
            wait: Duration::from_secs(wait.unwrap_or_default()),
            limit,
        })
    }
}

fn bad(what: &str) -> Error {
    Error::Malformed(what.to_owned())
}

/// Whether the client asks for Server-Sent Events by name.
fn accepts_stream(headers: &HeaderMap) -> bool {
    let words = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    words.flat_map(|value| value.split(',')).any(|word| {
        let media = word.split(';').next().unwrap_or_default().trim();
        media.eq_ignore_ascii_case(EVENT_STREAM)
    })
}

async fn filter(server: &Server, caller: &Caller, query: &mut Query) -> Result<EventFilter, Error> {
    let tenant_id = match query.text("tenant_id")? {
        Some(name) => Some(events::tenant_id(&server.tenancy, caller, &name).await?),
        None => None,
    };
    Ok(EventFilter {
        tenant_id,
        organization_id: query.text("organization_id")?.map(OrganizationId::known),
        event_types: types(&query.list("event_type")?)?,
        correlation_id: query.text("correlation_id")?.map(CorrelationId::known),
        actor: query.text("actor")?,
        since: query.time("since")?,
    })
}

/// Returns the event types that match any of the patterns.
fn types(patterns: &[String]) -> Result<Vec<EventType>, Error> {
    if let Some(unknown) = patterns.iter().find(|pattern| !is_pattern(pattern)) {
        let near = nearest(unknown, EventType::WORDS.iter().map(|(word, _)| *word));
        let hint = near.map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
        let message = format!(
            "query parameter event_type must be an event type, or the beginning of event types and *, not {unknown:?}{hint}"
        );
        return Err(Error::Malformed(message));
    }
    let is_chosen = |word: &str| patterns.iter().any(|pattern| matches(pattern, word));
    Ok(EventType::WORDS.iter().filter(|(word, _)| is_chosen(word)).map(|(_, event_type)| *event_type).collect())
}

/// Answers with a page of events. Waits if there is none yet.
async fn page(
    mut key: KeyCheck,
    caller: Caller,
    filter: Arc<EventFilter>,
    after: i64,
    wanted: &Wanted,
) -> Result<Response, Problem> {
    let until = Instant::now() + wanted.wait;
    let server = Arc::clone(key.server());
    let mut position = after;
    let tail = loop {
        let tail = log_page(&server, &caller, &filter, position, wanted.limit).await?;
        position = tail.last;
        let is_answer = !tail.events.is_empty() || !tail.unreadable.is_empty();
        if is_answer || !arrives(&mut key, &caller, &filter, &mut position, until).await? {
            break tail;
        }
    };
    if Instant::now() >= until && !wanted.wait.is_zero() {
        key.check().await?;
    }
    server.tenancy.load_key_names(tail.events.iter().map(|logged| logged.event.actor.as_str())).await?;
    let next = Some(tail.end.cursor(position));
    let unreadable = tail.unreadable.into_iter().map(|unread| unread.row).collect();
    let listed = Listed { items: tail.events, unreadable, next };
    let count = listed.items.len();
    let render = move || {
        let viewpoint = caller.viewpoint(&server.tenancy);
        respond::page(&listed, |logged| EventView::of(viewpoint, logged.position, &logged.event, logged.tampered))
    };
    respond::listed(count, render).await
}

/// Waits until there is an event that the caller gets; returns `false` if there is none in time. Moves the position
/// over the events before it.
async fn arrives(
    key: &mut KeyCheck,
    caller: &Caller,
    filter: &EventFilter,
    position: &mut i64,
    until: Instant,
) -> Result<bool, Error> {
    if Instant::now() >= until {
        return Ok(false);
    }
    let mut follower = key.server().tenancy.feed.follow(*position);
    loop {
        match key.next(&mut follower, until).await {
            Step::Batch(batch) if batch.events.iter().any(|event| filter.takes(caller, event)) => return Ok(true),
            Step::Batch(batch) if batch.unreadable.iter().any(|one| filter.takes_unreadable(caller, one)) => {
                return Ok(true);
            }
            Step::Batch(batch) => *position = batch.last,
            Step::Quiet | Step::Ended(EndReason::Stopping) => return Ok(false),
            Step::Ended(EndReason::KeyRevoked) => return Err(Error::InvalidToken),
            // The next read says what is the matter.
            Step::Ended(EndReason::TooSlow | EndReason::CursorExpired) => return Ok(true),
        }
    }
}
