//! Rows that are read for the judge. Both databases' statements are generated from one description.

use crate::batch::ReadSet;
use crate::rows::{Corrupt, Type, Value};
use crate::tables::{
    aliases, api_keys, audit, environment_placements, idempotency_records, jobs, organization_usage, organizations,
    placements, platform_webhooks, tenants,
};
use std::collections::BTreeSet;
use tenancy_core::judge::CurrentRows;

/// Keys of one kind of row that a batch names.
pub type Keys = for<'a, 'b> fn(&'b ReadSet<'a>) -> &'b BTreeSet<&'a str>;

/// Read of one kind of row that guards name.
pub struct Read {
    /// Columns to read.
    pub columns: &'static str,
    /// Table to read from.
    pub table: &'static str,
    /// Column that the keys are compared with.
    pub key: &'static str,
    /// Additional condition, appended to the WHERE clause.
    pub and: &'static str,
    /// Whether the rows are locked on PostgreSQL. Rows that are only ever inserted need no lock; a unique index settles
    /// conflicts.
    pub lock: bool,
    /// Types of the columns that are read.
    pub types: &'static [Type],
    /// Selects the keys from the read set.
    pub keys: Keys,
    /// Stores a row among the current rows.
    pub put: fn(&mut CurrentRows, Vec<Value>) -> Result<(), Corrupt>,
}

impl Read {
    /// Statement for SQLite: one key per execution.
    pub fn sqlite(&self) -> String {
        if self.is_newest_only() {
            return format!(
                "SELECT {} FROM {} WHERE {} = ?1 ORDER BY serial DESC LIMIT 1",
                self.columns, self.table, self.key
            );
        }
        format!("SELECT {} FROM {} WHERE {} = ?1{}", self.columns, self.table, self.key, self.and)
    }

    /// Whether only the newest row of each key is read. On PostgreSQL the smallest number that this row can have is
    /// passed with the key.
    pub fn is_newest_only(&self) -> bool {
        self.table == "organization_usage"
    }

    /// Position of the statement within its flush on PostgreSQL. The first statement locks organizations. A statement
    /// does not see rows that are inserted while it waits for a lock, so rows that are read without a lock are read
    /// after all locks are held.
    pub fn round(&self) -> usize {
        match self {
            Self { table: "organizations", .. } => 0,
            read if read.lock || read.is_newest_only() => 1,
            _ => 2,
        }
    }

    /// Whether this reads the API keys that changes are made with. PostgreSQL asserts the expected versions together
    /// with the log. It reads them only in a batch that runs again, or if two changes expect different versions of one
    /// key.
    pub fn is_of_callers(&self) -> bool {
        self.table == "api_keys" && self.key == "key_id" && !self.lock
    }

    /// Statement for PostgreSQL: all keys in one statement. Rows are locked in order of their keys, so that processes
    /// cannot deadlock.
    pub fn postgres(&self) -> String {
        let Self { columns, table, key, and, .. } = self;
        // jsonb is read as text.
        let columns = columns.replace("caps", "caps::text");
        if self.is_newest_only() {
            return format!(
                "SELECT u.* FROM unnest($1::text[], $2::bigint[]) AS o(id, least) CROSS JOIN LATERAL (SELECT {columns} \
                 FROM {table} WHERE {key} = o.id AND serial >= o.least ORDER BY serial DESC LIMIT 1) u"
            );
        }
        let order = if self.lock { format!(" ORDER BY {key} FOR NO KEY UPDATE") } else { String::new() };
        format!("SELECT {columns} FROM {table} WHERE {key} = any($1::text[]){and}{order}")
    }
}

/// Number of [rounds](Read::round).
pub const ROUNDS: usize = 3;

/// All reads, in the order in which rows are locked. Usage comes after the locks of its organizations; receipts come
/// last.
pub const READS: &[Read] = &[
    organizations::CURRENT,
    organization_usage::CURRENT,
    tenants::CURRENT,
    jobs::CURRENT,
    api_keys::CURRENT,
    api_keys::CURRENT_CALLERS,
    api_keys::CURRENT_NAMES,
    platform_webhooks::CURRENT,
    platform_webhooks::CURRENT_NAMES,
    placements::CURRENT,
    placements::CURRENT_UNLOCKED,
    environment_placements::CURRENT_SLOTS,
    aliases::CURRENT,
    idempotency_records::CURRENT,
    audit::CURRENT_TENANT_RECEIPTS,
    audit::CURRENT_PLATFORM_RECEIPTS,
];

/// Converts a row into an array. Fails if the number of columns differs.
pub fn columns<const N: usize>(row: Vec<Value>) -> Result<[Value; N], Corrupt> {
    row.try_into().map_err(|row: Vec<Value>| Corrupt(format!("expected {N} columns, found {}", row.len())))
}
