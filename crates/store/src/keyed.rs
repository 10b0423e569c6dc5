//! Reads by key, described once. PostgreSQL fetches waiting reads together; SQLite reads immediately on the calling
//! thread.

use crate::rows::{Dialect, Table, Type, Value};
use crate::tables::{aliases, api_keys, data_keys, idempotency_records, tenants};

/// Rows of a table that are found by a key.
#[derive(Debug)]
pub struct ByKey {
    /// Table to read.
    pub table: &'static Table,
    /// Condition in which `{}` stands for the key, or for all keys.
    pub condition: &'static str,
}

/// Statement of a [`ByKey`], generated once.
#[derive(Debug)]
pub struct Statement {
    /// Text of the statement.
    pub sql: String,
    /// Types of the columns that are read.
    pub types: Vec<Type>,
}

/// Generates the statements of several reads.
pub fn statements<'a>(reads: impl IntoIterator<Item = &'a ByKey>, dialect: Dialect) -> Vec<Statement> {
    reads.into_iter().map(|read| Statement { sql: read.sql(dialect), types: read.types() }).collect()
}

impl ByKey {
    /// Generates the statement: one key on SQLite, any number of keys on PostgreSQL.
    pub fn sql(&self, dialect: Dialect) -> String {
        let key = match dialect {
            Dialect::Sqlite => "(?1)",
            Dialect::Postgres => "any($1::text[])",
        };
        let mut condition = self.condition.replace("{}", key);
        if let (Dialect::Postgres, Some((column, inner))) = (dialect, condition.split_once(" IN (SELECT ")) {
            // With a join, the planner would scan both tables while they are small, and keep that plan when they grow.
            condition = format!("{column} = any(ARRAY(SELECT {inner})");
        }
        format!("{} WHERE {condition}", self.table.select(dialect))
    }

    /// Returns the key of a row that was found: the value of the column that the condition begins with.
    pub fn key_of<'a>(&self, row: &'a [Value]) -> Option<&'a str> {
        let name = self.condition.split(' ').next()?;
        let index = self.table.columns.iter().position(|column| column.name == name)?;
        match row.get(index)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Types of the columns that are read.
    pub fn types(&self) -> Vec<Type> {
        self.table.columns.iter().map(|column| column.ty).collect()
    }
}

/// Defines the enum and its list of reads together, so that the number of a read is its index in [`ROWS`].
macro_rules! keyed_reads {
    ($($(#[$doc:meta])* $read:ident: $by:expr),+ $(,)?) => {
        /// Read of a single row by a key in a unique column.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum KeyedRead {
            $($(#[$doc])* $read),+
        }

        /// How each [`KeyedRead`] finds its row.
        pub const ROWS: &[ByKey] = &[$($by),+];
    };
}

keyed_reads! {
    /// An API key by the digest of its token.
    ApiKey: api_keys::BY_TOKEN,
    /// An API key by the digest of its token before the last rotation.
    PreviousApiKey: api_keys::BY_PREVIOUS_TOKEN,
    /// Stored response of an idempotency record, by its digest.
    Answer: idempotency_records::BY_DIGEST,
    /// An alias.
    Alias: aliases::BY_ALIAS,
    /// A tenant's stamp.
    Stamp: tenants::STAMP,
    /// The wrapped data key of a tenant.
    DataKey: data_keys::OF_TENANT,
}

impl KeyedRead {
    /// Index in [`ROWS`].
    pub fn index(self) -> usize {
        self as usize
    }
}
