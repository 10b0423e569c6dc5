//! Differences between the SQL of the two databases.

use super::{Column, Type};

/// Database that a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Dialect {
    /// Returns the parameter with this number. (In SQLite `$2` would be numbered by first appearance.)
    pub fn parameter(self, number: usize) -> String {
        match self {
            Self::Sqlite => format!("?{number}"),
            Self::Postgres => format!("${number}"),
        }
    }

    /// Returns the expression that reads a column: `jsonb` is read as text.
    pub fn read(self, column: Column) -> String {
        match (self, column.ty) {
            (Self::Postgres, Type::Json) => format!("{0}::text AS {0}", column.name),
            _ => column.name.to_owned(),
        }
    }
}

/// Returns the PostgreSQL type of a parameter. JSON is sent as text.
pub fn parameter_type(ty: Type) -> &'static str {
    match ty {
        Type::Text | Type::Json => "text",
        Type::Int => "bigint",
        Type::Float => "double precision",
        Type::Bool => "boolean",
        Type::Time => "timestamptz",
    }
}
