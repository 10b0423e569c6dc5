//! Seals show that the log was changed after it was committed. A sealer in the background appends to `log_seals` one
//! row for each range of positions: a digest of each event, and a digest that is chained to the previous seal.
//! [`Store::verify_log`] computes all of them again.
//!
//! The digest of an event does not contain what is stored beside it in `audit_private`: the event itself contains the
//! salted digest of that. So the chain stays valid when a purge removes it. Each position has a digest of its own, so
//! the chain also stays valid when the tenants' events of a month expire, and an event that does not fit can be named.

mod rows;
mod sealer;
mod verification;

pub use sealer::Sealed;
pub use verification::LogVerification;

use crate::rows::{Column, Dialect, Table, Type, Value};
use crate::tables::audit::{PLATFORM_AUDIT, TENANT_AUDIT};
use crate::tables::log_seals::SealRow;
use jiff::tz::TimeZone;
use tenancy_core::Timestamp;
use tenancy_core::json::{Strict, canonical, sha256_hex};

/// Number of characters of an entry: its kind, then a digest of 128 bits in hexadecimal.
const ENTRY_LENGTH: usize = 33;

/// What a seal says about one position.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Entry {
    /// An event of a tenant, with its digest.
    Tenant(String),
    /// An event of the platform, with its digest.
    Platform(String),
    /// The event had expired when the range was sealed, because the database is older than its seals.
    Expired,
    /// No event was at this position when the range was sealed.
    Missing,
    /// Several events were at this position when the range was sealed.
    Several,
}

impl Entry {
    fn text(&self) -> String {
        let none = "0".repeat(ENTRY_LENGTH - 1);
        match self {
            Self::Tenant(digest) => format!("t{digest}"),
            Self::Platform(digest) => format!("p{digest}"),
            Self::Expired => format!("x{none}"),
            Self::Missing => format!("m{none}"),
            Self::Several => format!("d{none}"),
        }
    }

    fn parse(text: &str) -> Option<Self> {
        let (kind, digest) = text.split_at_checked(1)?;
        match kind {
            "t" => Some(Self::Tenant(digest.to_owned())),
            "p" => Some(Self::Platform(digest.to_owned())),
            "x" => Some(Self::Expired),
            "m" => Some(Self::Missing),
            "d" => Some(Self::Several),
            _ => None,
        }
    }
}

impl SealRow {
    /// Computes the digest of the seal.
    fn computed_digest(&self) -> String {
        sha256_hex(&[
            b"tenancy log seal 1",
            self.previous_digest.as_bytes(),
            &self.first_position.to_be_bytes(),
            &self.last_position.to_be_bytes(),
            self.last_audit_id.as_bytes(),
            self.entries.as_bytes(),
            &self.sealed_at.as_microsecond().to_be_bytes(),
        ])
    }

    /// Number of positions of the range.
    fn positions(&self) -> usize {
        usize::try_from(self.last_position - self.first_position + 1).unwrap_or(0)
    }

    /// Returns the entry of a position in the range.
    fn entry(&self, position: i64) -> Option<Entry> {
        let start = usize::try_from(position - self.first_position).ok()? * ENTRY_LENGTH;
        Entry::parse(self.entries.get(start..start + ENTRY_LENGTH)?)
    }
}

/// Returns the digest of an event: of all its columns in the order of their description, each with its type and length.
/// JSON is digested in its canonical text, so that both databases give the same digest.
fn event_digest(dialect: Dialect, values: &[Value]) -> String {
    let mut bytes = Vec::with_capacity(512);
    let mut put = |tag: u8, value: &[u8]| {
        bytes.push(tag);
        bytes.extend_from_slice(&(value.len() as u64).to_be_bytes());
        bytes.extend_from_slice(value);
    };
    for (column, value) in TENANT_AUDIT.columns.iter().zip(values) {
        match (value, column.ty, dialect) {
            (Value::Null, ..) => put(0, &[]),
            (Value::Text(text), Type::Json, Dialect::Postgres) => match Strict::parse_kept(text.as_bytes()) {
                Ok(json) => put(1, canonical(&json).as_bytes()),
                Err(_) => put(1, text.as_bytes()),
            },
            (Value::Text(text), ..) => put(1, text.as_bytes()),
            (Value::Int(number), ..) => put(2, &number.to_be_bytes()),
            (Value::Time(time), ..) => put(2, &time.as_microsecond().to_be_bytes()),
            (Value::Float(number), ..) => put(3, &number.to_be_bytes()),
            (Value::Bool(flag), ..) => put(4, &[u8::from(*flag)]),
        }
    }
    let mut digest = sha256_hex(&[b"tenancy log event 1", &bytes]);
    digest.truncate(ENTRY_LENGTH - 1);
    digest
}

/// Returns the month of an event's id, counted from year 0. Months expire as a whole, so a range is in one month.
fn month(audit_id: &str) -> Option<i64> {
    let millisecond = i64::from_str_radix(audit_id.strip_prefix("aud_")?.get(..12)?, 16).ok()?;
    let date = Timestamp::from_millisecond(millisecond).ok()?.to_zoned(TimeZone::UTC).date();
    Some(i64::from(date.year()) * 12 + i64::from(date.month()))
}

/// Returns the columns of an event of the platform or of a tenant, in the order of [`TENANT_AUDIT`]. The table is named
/// `l`.
pub(crate) fn event_columns(dialect: Dialect, platform: bool) -> String {
    let column = |column: &Column| match (platform, column.name, dialect) {
        (true, "tenant_id", Dialect::Postgres) => "NULL::text AS tenant_id".to_owned(),
        (true, "tenant_id", Dialect::Sqlite) => "NULL AS tenant_id".to_owned(),
        (_, "payload", Dialect::Postgres) => "l.payload::text AS payload".to_owned(),
        (_, name, _) => format!("l.{name} AS {name}"),
    };
    TENANT_AUDIT.columns.iter().map(column).collect::<Vec<_>>().join(", ")
}

/// Both tables of the log, and whether the table is the platform's.
const TABLES: [(&Table, bool); 2] = [(TENANT_AUDIT, false), (PLATFORM_AUDIT, true)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_read_the_entries_that_it_writes() {
        let digest = "0123456789abcdef".repeat(2);
        let entries =
            [Entry::Tenant(digest.clone()), Entry::Platform(digest), Entry::Expired, Entry::Missing, Entry::Several];
        let seal = SealRow {
            first_position: 7,
            last_position: 11,
            previous_digest: String::new(),
            last_audit_id: String::new(),
            entries: entries.iter().map(Entry::text).collect(),
            digest: String::new(),
            sealed_at: Timestamp::UNIX_EPOCH,
        };
        assert_eq!(seal.positions(), 5);
        for (position, entry) in (7..).zip(&entries) {
            assert_eq!(seal.entry(position).as_ref(), Some(entry));
        }
        assert_eq!((seal.entry(6), seal.entry(12)), (None, None));
    }

    #[test]
    fn must_give_every_change_of_an_event_another_digest() {
        let text = |text: &str| Value::Text(text.to_owned());
        let event = vec![
            text("aud_1"),
            Value::Null,
            text("TENANCY_CREATED"),
            Value::Int(1),
            text("user:a"),
            Value::Null,
            text(r#"{"a":1}"#),
            text("c"),
            Value::Time(Timestamp::UNIX_EPOCH),
            Value::Int(1),
        ];
        let digest = event_digest(Dialect::Sqlite, &event);
        assert_eq!(digest.len(), ENTRY_LENGTH - 1);
        for at in 0..event.len() {
            let mut changed = event.clone();
            changed[at] = text("else");
            assert_ne!(event_digest(Dialect::Sqlite, &changed), digest, "{}", TENANT_AUDIT.columns[at].name);
        }
        let mut shifted = event.clone();
        (shifted[4], shifted[5]) = (Value::Null, text("user:a"));
        assert_ne!(event_digest(Dialect::Sqlite, &shifted), digest);
        let mut spaced = event.clone();
        spaced[6] = text(r#"{"a": 1}"#);
        assert_eq!(event_digest(Dialect::Postgres, &spaced), digest, "the same on both databases");
    }

    #[test]
    fn must_know_the_month_of_an_id() {
        let of = |time: &str| {
            let time: Timestamp = time.parse().expect("a time");
            month(tenancy_core::decision_context::least_audit_id(time).as_str())
        };
        assert_eq!(of("2026-11-30T23:59:59.999Z"), Some(2026 * 12 + 11));
        assert_eq!(of("2026-12-01T00:00:00Z"), Some(2026 * 12 + 12));
        assert_eq!(month("forged"), None);
    }
}
