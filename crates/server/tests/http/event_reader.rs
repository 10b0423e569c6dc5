//! A client of `/v1/events` for tests.

use crate::house::House;
use axum::body::{Body, BodyDataStream, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::StreamExt as _;
use serde_json::Value;
use std::time::Duration;
use tenancy_core::apikey::Role;
use tower::ServiceExt as _;

/// Longer than anything takes that a test waits for.
pub const SOON: Duration = Duration::from_secs(20);

/// One event of a stream.
#[derive(Debug, Clone, PartialEq)]
pub struct Frame {
    pub id: Option<String>,
    pub event: String,
    pub data: Value,
}

impl Frame {
    /// Whether it is an audit event.
    pub fn is_audit(&self) -> bool {
        self.data.get("audit_id").is_some()
    }

    pub fn position(&self) -> i64 {
        self.data["position"].as_i64().expect("a position")
    }
}

/// A stream that is read event by event.
pub struct Reader {
    body: BodyDataStream,
    buffer: String,
    pub headers: HeaderMap,
}

impl Reader {
    /// Opens a stream as the admin.
    pub async fn open(house: &House, query: &str, last: Option<&str>) -> Self {
        Self::open_with(house, house.token(Role::Admin), query, last).await
    }

    /// Opens a stream with a token.
    pub async fn open_with(house: &House, token: &str, query: &str, last: Option<&str>) -> Self {
        let mut request = Request::get(format!("/v1/events?{query}"))
            .header("authorization", format!("Bearer {token}"))
            .header("accept", "text/event-stream")
            .header("accept-encoding", "gzip");
        if let Some(last) = last {
            request = request.header("last-event-id", last);
        }
        let request = request.body(Body::empty()).expect("a request");
        let (parts, body) = house.router.clone().oneshot(request).await.expect("an answer").into_parts();
        if parts.status != StatusCode::OK {
            let body = to_bytes(body, usize::MAX).await.expect("a body");
            panic!("{}: {}", parts.status, String::from_utf8_lossy(&body));
        }
        Self { body: body.into_data_stream(), buffer: String::new(), headers: parts.headers }
    }

    /// Returns the next event; `None` at the end of the stream. Comments are skipped.
    pub async fn next(&mut self) -> Option<Frame> {
        loop {
            if let Some((text, rest)) = self.buffer.split_once("\n\n") {
                let frame = parse(text);
                self.buffer = rest.to_owned();
                match frame {
                    Some(frame) => return Some(frame),
                    None => continue,
                }
            }
            let chunk = tokio::time::timeout(SOON, self.body.next()).await.expect("in time")?;
            self.buffer.push_str(std::str::from_utf8(&chunk.expect("a chunk")).expect("text"));
        }
    }

    /// Returns the next event that is not a position.
    pub async fn next_of_interest(&mut self) -> Option<Frame> {
        loop {
            match self.next().await {
                Some(frame) if frame.event == "position" => {}
                other => return other,
            }
        }
    }

    /// Returns the audit events up to the one at a position or behind it.
    pub async fn through(&mut self, position: i64) -> Vec<Frame> {
        let mut found = Vec::new();
        while let Some(frame) = self.next().await {
            let at = frame.data.get("position").map_or(0, |_| frame.position());
            if frame.is_audit() {
                found.push(frame);
            }
            if at >= position {
                break;
            }
        }
        found
    }
}

fn parse(text: &str) -> Option<Frame> {
    let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned);
    let data = serde_json::from_str(&field("data: ")?).expect("JSON");
    Some(Frame { id: field("id: "), event: field("event: ").expect("a name"), data })
}
