//! Times as people write and read them.

use crate::failure::Failure;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use std::time::Duration;

/// How long ago, in one unit: `12s`, `3m`, `5h`, `8d`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    // Something in the future: the end of a grace period, of a hold, of a key. What was set to 14 days a moment ago
    // shall not read as 13.
    if seconds < 0 { format!("in {}", span_text(seconds.abs() + 60)) } else { span_text(seconds) }
}

fn span_text(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// A time without its fraction, for a line of a log.
pub fn short(time: Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

/// A time in the past: `2h`, `3d`, or as RFC 3339 writes it.
///
/// # Errors
/// When it is neither.
pub fn ago(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    relative(text, now, |now, by| now.checked_sub(by))
}

/// A time to come: `2h`, `3d`, or as RFC 3339 writes it.
///
/// # Errors
/// When it is neither.
pub fn ahead(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    relative(text, now, |now, by| now.checked_add(by))
}

/// A length of time: `30m`, `2h`, `3d`.
///
/// # Errors
/// A sentence for the command line when it is not one.
pub fn duration(text: &str) -> Result<Duration, String> {
    let days = SpanRelativeTo::days_are_24_hours();
    let read = text.parse::<Span>().and_then(|span| span.to_duration(days)).ok();
    let read = read.and_then(|duration| Duration::try_from(duration).ok());
    read.ok_or_else(|| "must be a length of time, such as 30m, 2h or 3d".to_owned())
}

fn relative(
    text: &str,
    now: Timestamp,
    apply: impl Fn(Timestamp, SignedDuration) -> Result<Timestamp, jiff::Error>,
) -> Result<Timestamp, Failure> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let days = SpanRelativeTo::days_are_24_hours();
    text.parse::<Span>()
        .and_then(|span| span.to_duration(days))
        .and_then(|by| apply(now, by))
        .map_err(|_| Failure::usage(format!("{text:?} is no time: write 30m, 2h, 3d, or 2026-11-23T08:00:00Z")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_read_a_length_of_time() {
        assert_eq!(duration("1d"), Ok(Duration::from_secs(86_400)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        for bad in ["", "1", "-1h", "soon"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }

    fn time(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn must_say_an_age_in_one_unit() {
        let now = time("2026-11-23T12:00:00Z");
        for (then, shown) in [
            ("2026-11-23T11:59:48.5Z", "11s"),
            ("2026-11-23T11:58:30Z", "90s"),
            ("2026-11-23T11:57:00Z", "3m"),
            ("2026-11-23T07:00:00Z", "5h"),
            ("2026-11-15T12:00:00Z", "8d"),
            ("2026-11-23T12:29:59Z", "in 30m"),
            ("2026-12-07T11:59:58Z", "in 14d"),
        ] {
            assert_eq!(age(time(then), now), shown, "{then}");
        }
        assert_eq!(short(time("2026-11-23T12:00:00.123456Z")), "2026-11-23T12:00:00Z");
    }

    #[test]
    fn must_read_times_as_people_write_them() {
        let now = time("2026-11-23T12:00:00Z");
        assert_eq!(ago("2h", now).expect("good"), time("2026-11-23T10:00:00Z"));
        assert_eq!(ago("3d", now).expect("good"), time("2026-11-20T12:00:00Z"));
        assert_eq!(ahead("30m", now).expect("good"), time("2026-11-23T12:30:00Z"));
        assert_eq!(ago("2026-01-01T00:00:00Z", now).expect("good"), time("2026-01-01T00:00:00Z"));
        assert!(ago("yesterday", now).is_err());
    }
}
