//! The audit log as a whole. Expiry: whole months are removed, and an audit event records the removal. Restoration: an
//! event records that the database was restored from a backup.

use super::change_builder::changes;
use crate::changes::Changes;
use crate::decision_context::DecisionContext;
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::json::Pointer;
use crate::violation::Violation;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use serde_json::json;

/// Minimum number of complete months that the log keeps, besides the current month.
pub const LEAST_MONTHS_KEPT: i8 = 1;

/// Records that the events of tenants before `first_kept` are removed. Returns the time from which events are kept.
///
/// # Errors
/// [`Error::Invalid`] if `first_kept` is not the first day of a month, or if fewer than [`LEAST_MONTHS_KEPT`] would
/// remain.
pub fn expire(first_kept: Date, context: &mut DecisionContext) -> Result<(Timestamp, Option<Changes>), Error> {
    let bad =
        |code, message: String| Error::Invalid(vec![Violation::at(&Pointer::root().key("before"), code, message)]);
    let this_month = context.now.to_zoned(TimeZone::UTC).date().first_of_month();
    let last = this_month.saturating_sub(LEAST_MONTHS_KEPT.months());
    if first_kept.day() != 1 || first_kept > last {
        let message = format!("must be the first day of a month and at most {last}, not {first_kept}");
        return Err(bad("out_of_range", message));
    }
    let start = first_kept.to_zoned(TimeZone::UTC).map_err(|error| bad("out_of_range", error.to_string()))?.timestamp();
    let event = Event::new(context, None, EventType::LogExpired, json!({"before": start}));
    Ok((start, changes(vec![event], Vec::new(), Vec::new())?))
}

/// Records that the database was restored from a backup, and that an epoch of the log began with `first_position`.
///
/// # Errors
/// [`Error::Internal`] only.
pub fn restored(epoch: i64, first_position: i64, context: &mut DecisionContext) -> Result<Option<Changes>, Error> {
    let payload = json!({"epoch": epoch, "first_position": first_position});
    let event = Event::new(context, None, EventType::LogRestored, payload);
    changes(vec![event], Vec::new(), Vec::new())
}
