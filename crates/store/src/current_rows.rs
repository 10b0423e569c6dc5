//! What is read for the judge: one description, from which both databases' statements are made.

use crate::batch::ReadSet;
use crate::rows::{Corrupt, Type, Value};
use crate::tables::{aliases, api_keys, audit, idempotency_records, jobs, organization_usage, organizations, tenants};
use std::collections::BTreeSet;
use tenancy_core::judge::CurrentRows;

/// The keys that a batch names of one kind of row.
pub type Keys = for<'a, 'b> fn(&'b ReadSet<'a>) -> &'b BTreeSet<&'a str>;

/// One kind of row that guards name.
pub struct Read {
    /// What is read.
    pub columns: &'static str,
    /// Out of which table.
    pub table: &'static str,
    /// Found by which column.
    pub key: &'static str,
    /// What must hold besides.
    pub and: &'static str,
    /// What it is locked by on PostgreSQL; rows that are only ever inserted need no lock, a unique index settles them.
    pub lock: bool,
    /// Types of what is read.
    pub types: &'static [Type],
    /// Which keys.
    pub keys: Keys,
    /// Where it goes.
    pub put: fn(&mut CurrentRows, Vec<Value>) -> Result<(), Corrupt>,
}

impl Read {
    /// One key a statement.
    pub fn sqlite(&self) -> String {
        if self.is_newest_only() {
            return format!(
                "SELECT {} FROM {} WHERE {} = ?1 ORDER BY serial DESC LIMIT 1",
                self.columns, self.table, self.key
            );
        }
        format!("SELECT {} FROM {} WHERE {} = ?1{}", self.columns, self.table, self.key, self.and)
    }

    /// Whether only each key's newest row is read; on PostgreSQL the least number that it can have comes with the key.
    pub fn is_newest_only(&self) -> bool {
        self.table == "organization_usage"
    }

    /// In which statement of its flush it goes on PostgreSQL: organizations are locked by the first. What is inserted while a
    /// statement waits for a lock it does not see; so what is read without a lock is read when all locks are held.
    pub fn round(&self) -> usize {
        match self {
            Self { table: "organizations", .. } => 0,
            read if read.lock || read.is_newest_only() => 1,
            _ => 2,
        }
    }

    /// Whether it reads the keys in whose name changes are made. PostgreSQL asserts with the log what they are said to be at,
    /// and reads them only in a batch that runs again, or where two changes say otherwise of one key.
    pub fn is_of_callers(&self) -> bool {
        self.table == "api_keys" && self.key == "key_id" && !self.lock
    }

    /// All keys in one statement. What is locked is locked in order of its keys, so that processes cannot wait for
    /// each other in a circle.
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

/// How many [rounds](Read::round) there are.
pub const ROUNDS: usize = 3;

/// Every read, in the order in which rows are locked; usage comes after its organizations' locks, receipts last.
pub const READS: &[Read] = &[
    organizations::CURRENT,
    organization_usage::CURRENT,
    tenants::CURRENT,
    jobs::CURRENT,
    api_keys::CURRENT,
    api_keys::CURRENT_CALLERS,
    api_keys::CURRENT_NAMES,
    aliases::CURRENT,
    idempotency_records::CURRENT,
    audit::CURRENT_TENANT_RECEIPTS,
    audit::CURRENT_PLATFORM_RECEIPTS,
];

/// The columns of a row, which must be as many as are named.
pub fn columns<const N: usize>(row: Vec<Value>) -> Result<[Value; N], Corrupt> {
    row.try_into().map_err(|row: Vec<Value>| Corrupt(format!("{N} columns expected, {} found", row.len())))
}
