//! The only place with SQL: SQLite and PostgreSQL behind one closed set of operations.
//!
//! One way to write, [`Store::commit`]; typed reads; and a closed list of upkeep, which carries no audit event and can
//! name no column that a manifest, a hold or a state lives in.

pub mod database;
pub mod page;
pub mod read;
pub mod upkeep;

use tenancy_core::changes::Changes;
use tenancy_core::{Error, Timestamp};

/// A database, open. Cheap to clone.
#[derive(Clone)]
pub struct Store {}

/// A committed change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Receipt {
    /// Log position of its first event.
    pub position: i64,
}

impl Store {
    /// The database's time, as this process knows its offset to it.
    pub fn now(&self) -> Timestamp {
        todo!()
    }

    /// Commits the changes whole, or not at all.
    ///
    /// # Errors
    /// [`Error::Conflict`] when a guard fails; [`Error::Busy`], [`Error::Unavailable`] and [`Error::TooLarge`] when
    /// nothing can have changed; [`Error::OutcomeUnknown`] when it can have.
    pub async fn commit(&self, changes: Changes) -> Result<Receipt, Error> {
        let _ = changes;
        todo!()
    }
}
