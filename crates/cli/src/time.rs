//! Parses and formats times for people.

use crate::failure::Failure;
use jiff::{SignedDuration, Span, SpanRelativeTo, Timestamp};
use std::time::Duration;

/// Formats the time since `then` in one unit: `12s`, `3m`, `5h`, `8d`. A future time is formatted as `in 5h`.
pub fn age(then: Timestamp, now: Timestamp) -> String {
    let seconds = now.duration_since(then).as_secs();
    if seconds >= 0 {
        return span_text(seconds);
    }
    // A future time is the end of a grace period, a hold or a key. A second or, from an hour on, a minute is added, so that 14 days,
    // set a moment ago, are not shown as 13.
    let left = seconds.abs();
    format!("in {}", span_text(left + if left < 3_540 { 1 } else { 60 }))
}

fn span_text(seconds: i64) -> String {
    match seconds {
        ..120 => format!("{seconds}s"),
        120..7_200 => format!("{}m", seconds / 60),
        7_200..172_800 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Formats a time without fractional seconds.
pub fn short(time: Timestamp) -> String {
    time.round(jiff::Unit::Second).unwrap_or(time).to_string()
}

/// Parses a time in the past: a duration such as `2h` or `3d` before `now`, or an RFC 3339 time.
///
/// # Errors
/// Fails if the text is neither.
pub fn ago(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    relative(text, now, |now, by| now.checked_sub(by))
}

/// Parses a future time: a duration such as `2h` or `3d` after `now`, or an RFC 3339 time.
///
/// # Errors
/// Fails if the text is neither.
pub fn ahead(text: &str, now: Timestamp) -> Result<Timestamp, Failure> {
    relative(text, now, |now, by| now.checked_add(by))
}

/// Parses a duration, such as `30m`, `2h` or `3d`.
///
/// # Errors
/// Fails with a message for the command line.
pub fn duration(text: &str) -> Result<Duration, String> {
    let days = SpanRelativeTo::days_are_24_hours();
    let read = text.parse::<Span>().and_then(|span| span.to_duration(days)).ok();
    let read = read.and_then(|duration| Duration::try_from(duration).ok());
    read.ok_or_else(|| "must be a duration, such as 30m, 2h or 3d".to_owned())
}

fn relative(
    text: &str,
    now: Timestamp,
    apply: impl Fn(Timestamp, SignedDuration) -> Result<Timestamp, jiff::Error>,
) -> Result<Timestamp, Failure> {
    match tenancy_core::time::parse(text) {
        Ok(time) => return Ok(time),
        Err(what) if what.starts_with("must not") => return Err(Failure::usage(format!("{text:?} {what}"))),
        Err(_) => {}
    }
    let days = SpanRelativeTo::days_are_24_hours();
    text.parse::<Span>().and_then(|span| span.to_duration(days)).and_then(|by| apply(now, by)).map_err(|_| {
        Failure::usage(format!(
            "{text:?} is not a time: use a duration such as 30m, 2h or 3d, or a time such as 2026-11-23T08:00:00Z"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_parse_a_duration() {
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
    fn must_format_an_age_in_one_unit() {
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
    fn must_parse_durations_and_times() {
        let now = time("2026-11-23T12:00:00Z");
        assert_eq!(ago("2h", now).expect("good"), time("2026-11-23T10:00:00Z"));
        assert_eq!(ago("3d", now).expect("good"), time("2026-11-20T12:00:00Z"));
        assert_eq!(ahead("30m", now).expect("good"), time("2026-11-23T12:30:00Z"));
        assert_eq!(ago("2026-01-01T00:00:00Z", now).expect("good"), time("2026-01-01T00:00:00Z"));
        assert!(ago("yesterday", now).is_err());
    }
}
