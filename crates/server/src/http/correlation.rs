//! The correlation id of a request: sent by the caller, or generated. An id with unusual characters is replaced, never
//! refused.

use crate::tenancy::fresh_correlation_id;
use axum::http::{HeaderMap, HeaderName};
use tenancy_core::ids::CorrelationId;

/// Header of requests and answers.
pub const X_CORRELATION_ID: HeaderName = HeaderName::from_static("x-correlation-id");

/// Returns `X-Correlation-Id`, or the trace id of `traceparent`, or a generated id.
pub fn of(headers: &HeaderMap) -> CorrelationId {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let own = text("x-correlation-id").and_then(CorrelationId::parse);
    let traced = || text("traceparent").and_then(trace_id).and_then(CorrelationId::parse);
    own.or_else(traced).unwrap_or_else(fresh_correlation_id)
}

/// Returns the trace id in `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`, if the value conforms to W3C
/// Trace Context.
fn trace_id(traceparent: &str) -> Option<&str> {
    let digits =
        |text: &str, length| text.len() == length && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let id = |text: &str, length| digits(text, length) && text.bytes().any(|b| b != b'0');
    let mut parts = traceparent.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    // Only later versions may have further fields.
    let version = digits(version, 2) && version != "ff" && (version != "00" || parts.next().is_none());
    (version && id(trace, 32) && id(parent, 16) && digits(flags, 2)).then_some(trace)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_one(name: &'static str, value: &'static str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().expect("a header"));
        of(&headers).to_string()
    }

    #[test]
    fn must_keep_a_plain_one_and_replace_an_odd_one() {
        assert_eq!(of_one("x-correlation-id", "ci/run:7"), "ci/run:7");
        assert_eq!(of_one("x-correlation-id", "a b").len(), 32);
        assert_eq!(of(&HeaderMap::new()).as_str().len(), 32);
        let traceparent = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
        assert_eq!(of_one("traceparent", traceparent), "4bf92f3577b34da6a3ce929d0e0e4736");
        let later = "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more";
        assert_eq!(of_one("traceparent", later), "4bf92f3577b34da6a3ce929d0e0e4736");
        for odd in [
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "0-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e473-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-1",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
            "00-4bf92f3577b34da6a3ce929d0e0e4736",
        ] {
            assert!(!of_one("traceparent", odd).eq_ignore_ascii_case("4bf92f3577b34da6a3ce929d0e0e4736"), "{odd}");
        }
        let nobody = "00-00000000000000000000000000000000-00f067aa0ba902b7-01";
        assert_ne!(of_one("traceparent", nobody), "00000000000000000000000000000000");
    }
}
