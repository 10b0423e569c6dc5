//! Reads by key, described once. Those that wait together are fetched together on PostgreSQL, and in place on SQLite.

use crate::rows::{Dialect, Table, Type, Value};
use crate::tables::{aliases, api_keys, idempotency_records, tenants};

/// Rows of a table that are found by a key.
#[derive(Debug)]
pub struct ByKey {
    /// The table.
    pub table: &'static Table,
    /// The condition; `{}` stands for the key, or for all the keys.
    pub condition: &'static str,
}

/// A [`ByKey`] as its statement, made once.
#[derive(Debug)]
pub struct Statement {
    /// Its text.
    pub sql: String,
    /// Types of what is read.
    pub types: Vec<Type>,
}

/// The statements of all of them.
pub fn statements<'a>(reads: impl IntoIterator<Item = &'a ByKey>, dialect: Dialect) -> Vec<Statement> {
    reads.into_iter().map(|read| Statement { sql: read.sql(dialect), types: read.types() }).collect()
}

impl ByKey {
    /// The statement: one key on SQLite, any number on PostgreSQL.
    pub fn sql(&self, dialect: Dialect) -> String {
        let key = match dialect {
            Dialect::Sqlite => "(?1)",
            Dialect::Postgres => "any($1::text[])",
        };
        let mut condition = self.condition.replace("{}", key);
        if let (Dialect::Postgres, Some((column, inner))) = (dialect, condition.split_once(" IN (SELECT ")) {
            // A join would read both tables whole while they are small, and from then on.
            condition = format!("{column} = any(ARRAY(SELECT {inner})");
        }
        format!("{} WHERE {condition}", self.table.select(dialect))
    }

    /// The key of a row that was found: the column that the condition begins with.
    pub fn key_of<'a>(&self, row: &'a [Value]) -> Option<&'a str> {
        let name = self.condition.split(' ').next()?;
        let index = self.table.columns.iter().position(|column| column.name == name)?;
        match row.get(index)? {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Types of what is read.
    pub fn types(&self) -> Vec<Type> {
        self.table.columns.iter().map(|column| column.ty).collect()
    }
}

/// Makes the enum and the list of its reads from one list, so that a read's number is its place in [`ROWS`].
macro_rules! keyed_reads {
    ($($(#[$doc:meta])* $read:ident: $by:expr),+ $(,)?) => {
        /// A read of a single row by a key; the key's column is unique.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum KeyedRead {
            $($(#[$doc])* $read),+
        }

        /// How every [`KeyedRead`] finds its row.
        pub const ROWS: &[ByKey] = &[$($by),+];
    };
}

keyed_reads! {
    /// An API key by the digest of its token.
    ApiKey: api_keys::BY_TOKEN,
    /// An API key by the digest of its token before the last rotation.
    PreviousApiKey: api_keys::BY_PREVIOUS_TOKEN,
    /// A stored answer by its digest.
    Answer: idempotency_records::BY_DIGEST,
    /// An alias.
    Alias: aliases::BY_ALIAS,
    /// A tenant's stamp.
    Stamp: tenants::STAMP,
}

impl KeyedRead {
    /// Its place in [`ROWS`].
    pub fn index(self) -> usize {
        self as usize
    }
}
