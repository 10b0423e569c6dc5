//! The two databases, as far as their SQL differs.

use super::{Column, Type};

/// Which of the two databases a statement is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// PostgreSQL.
    Postgres,
}

impl Dialect {
    /// The parameter of this number. (In SQLite `$2` would number by first appearance.)
    pub fn parameter(self, number: usize) -> String {
        match self {
            Self::Sqlite => format!("?{number}"),
            Self::Postgres => format!("${number}"),
        }
    }

    /// A column as it is read: `jsonb` as its text.
    pub fn read(self, column: Column) -> String {
        match (self, column.ty) {
            (Self::Postgres, Type::Json) => format!("{0}::text AS {0}", column.name),
            _ => column.name.to_owned(),
        }
    }
}

/// The type of a parameter in PostgreSQL; JSON travels as text.
pub fn parameter_type(ty: Type) -> &'static str {
    match ty {
        Type::Text | Type::Json => "text",
        Type::Int => "bigint",
        Type::Float => "double precision",
        Type::Bool => "boolean",
        Type::Time => "timestamptz",
    }
}
