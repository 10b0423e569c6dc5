//! Seals of the log: digests of ranges of events, each chained to the seal before it. Only the sealer appends rows.

use crate::rows::described;
use jiff::Timestamp;

/// Row of `log_seals`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealRow {
    /// First position of the range: one more than the last position of the previous seal.
    pub first_position: i64,
    /// Last position of the range.
    pub last_position: i64,
    /// Digest of the previous seal; empty in the first seal.
    pub previous_digest: String,
    /// Greatest id of a tenant's event in the range; empty if the range has none. If this id has expired, all of them
    /// have.
    pub last_audit_id: String,
    /// One entry for each position, see `seals::Entry`.
    pub entries: String,
    /// Digest of all columns above.
    pub digest: String,
    /// Time at which the range was sealed.
    pub sealed_at: Timestamp,
}

described!(
    /// Seals of the log.
    SealRow as TABLE "log_seals" [first_position] {
        first_position: i64,
        last_position: i64,
        previous_digest: String,
        last_audit_id: String,
        entries: String,
        digest: String,
        sealed_at: Timestamp,
    }
);
