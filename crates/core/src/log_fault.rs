//! Faults of the audit log: what a verification finds if the log was changed after it was committed.

use crate::words::words;

words!(
    /// Kinds of faults of the log.
    LogFaultKind {
        /// An event, or the data stored beside it, was changed.
        Changed = "changed",
        /// An event, or the data stored beside it, was removed.
        Removed = "removed",
        /// An event was inserted at a position that is sealed, or that no change has committed.
        Inserted = "inserted",
        /// Several events have one position.
        Twice = "twice",
        /// No event has this position.
        Missing = "missing",
        /// A seal was changed, removed or inserted.
        Seal = "seal",
    }
);

/// The first thing in the log that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFault {
    /// Kind of the fault.
    pub kind: LogFaultKind,
    /// Log position.
    pub position: i64,
    /// Id of the event, if there is one.
    pub audit_id: Option<String>,
    /// Sentence that says what does not fit.
    pub message: String,
}
