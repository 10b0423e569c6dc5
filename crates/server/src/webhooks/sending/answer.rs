//! What is kept of an answer.

use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use hyper::header::{HeaderMap, RETRY_AFTER};
use std::future::poll_fn;
use std::pin::Pin;
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::visible::is_hidden;

/// Maximum number of characters of an answer that are kept.
const MAX_CHARS: usize = 1_000;
/// Longest `Retry-After` that is reported.
const MAX_RETRY_AFTER: Duration = Duration::from_hours(24);

/// Reads a body up to a size. Returns whether that was all of it, so that the connection can be used again. What was
/// read stays in `read` if this future is dropped.
pub(super) async fn read(body: &mut Incoming, max_bytes: usize, read: &mut Vec<u8>) -> bool {
    while let Some(frame) = poll_fn(|context| Pin::new(&mut *body).poll_frame(context)).await {
        let Ok(frame) = frame else { return false };
        let Some(piece) = frame.data_ref() else { continue };
        let room = max_bytes - read.len();
        read.extend_from_slice(piece.get(..room).unwrap_or(piece));
        if piece.len() > room {
            return false;
        }
    }
    true
}

/// Returns the start of a body as one line that a terminal can show.
pub fn visible(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let shown = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c }).filter(|c| !is_hidden(*c));
    shown.take(MAX_CHARS).collect::<String>().trim().to_owned()
}

/// Returns the pause that a receiver asks for: seconds, or a date.
pub fn retry_after(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let asks = [
        StatusCode::TOO_MANY_REQUESTS,
        StatusCode::BAD_GATEWAY,
        StatusCode::SERVICE_UNAVAILABLE,
        StatusCode::GATEWAY_TIMEOUT,
    ];
    if !asks.contains(&status) {
        return None;
    }
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number with more digits than fit is also longer than the longest pause.
        return Some(text.parse().map_or(MAX_RETRY_AFTER, Duration::from_secs).min(MAX_RETRY_AFTER));
    }
    let until = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
    let pause = Duration::try_from(until.duration_since(now)).unwrap_or_default();
    Some(pause.min(MAX_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_show_only_characters_that_a_reader_can_see() {
        assert_eq!(visible(b"\n no\tsuch \x1b[31mhook\x00\r\n"), "no such [31mhook");
        assert_eq!(visible("a\u{202e}b\u{200b}c".as_bytes()), "abc");
        assert_eq!(visible(&[b'a', 0xff, b'b']), "a\u{fffd}b");
        assert_eq!(visible("ä".repeat(5_000).as_bytes()).chars().count(), MAX_CHARS);
    }

    #[test]
    fn must_read_retry_after_within_bounds() {
        let now: Timestamp = "2026-11-30T10:00:00Z".parse().expect("a time");
        let of = |status: u16, text: &str| {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, text.parse().expect("a value"))]);
            retry_after(StatusCode::from_u16(status).expect("a status"), &headers, now).map(|pause| pause.as_secs())
        };
        assert_eq!(of(429, "120"), Some(120));
        assert_eq!(of(503, " 0 "), Some(0));
        assert_eq!(of(502, "Mon, 30 Nov 2026 10:02:00 GMT"), Some(120));
        assert_eq!(of(504, "Mon, 30 Nov 2026 09:00:00 GMT"), Some(0), "in the past");
        assert_eq!(of(429, "999999999999999999999999"), Some(86_400));
        assert_eq!(of(429, "Mon, 30 Nov 2099 10:02:00 GMT"), Some(86_400));
        assert_eq!(of(500, "120"), None, "not for this status");
        for bad in ["", "-1", "soon", "1.5", "1e9"] {
            assert_eq!(of(429, bad), None, "{bad}");
        }
    }
}
