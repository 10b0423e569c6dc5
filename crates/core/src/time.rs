//! Times as clients write them.

use jiff::Timestamp;
use jiff::fmt::temporal::Pieces;

/// The latest second that can be represented. It leaves room for the local time of every offset before the year 10000.
const LATEST: &str = "9999-12-30T22:00:00Z";

/// Number of characters of a wrong time that the message shows.
const MAX_SHOWN_CHARS: usize = 64;

/// Parses a time in RFC 3339 format. Every time that it returns can be stored and read back.
///
/// # Errors
/// The rest of a sentence that begins with the name of the field: what it must be, and the limit if the time is too late.
pub fn parse(text: &str) -> Result<Timestamp, String> {
    text.parse().map_err(|_| match Pieces::parse(text) {
        Ok(pieces) if pieces.date().year() == 9999 && pieces.time().is_some() && pieces.offset().is_some() => {
            format!("must not be later than {LATEST}: leave it out for never")
        }
        _ => {
            let shown: String = text.chars().take(MAX_SHOWN_CHARS).collect();
            format!("must be a time such as 2026-11-23T08:00:00Z, not {shown:?}")
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_name_the_limit_for_a_time_that_is_too_late() {
        for late in
            ["9999-12-31T23:59:59Z", "9999-12-30T22:00:01Z", "9999-12-31T23:59:59.999999Z", "9999-12-31T00:00:00+01:00"]
        {
            assert_eq!(parse(late), Err(format!("must not be later than {LATEST}: leave it out for never")), "{late}");
        }
        for good in [LATEST, "9999-12-30T22:00:00.999999Z", "9999-12-31T00:00:00+02:00", "1970-01-01T00:00:00Z"] {
            assert!(parse(good).is_ok(), "{good}");
        }
        for bad in ["", "never", "9999-12-31", "10000-01-01T00:00:00Z", "9999-13-01T00:00:00Z"] {
            assert!(parse(bad).expect_err(bad).starts_with("must be a time such as"), "{bad}");
        }
    }
}
