//! Descriptions of tables.

use super::{Corrupt, Dialect, Field, Type, Value};

/// Column of a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Name in both databases.
    pub name: &'static str,
    /// Type of the column.
    pub ty: Type,
}

impl Column {
    /// Column of a field.
    pub const fn of<T: Field>(name: &'static str) -> Self {
        Self { name, ty: T::TYPE }
    }
}

/// Table, with its columns in the order in which they are read and written.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Name in both databases.
    pub name: &'static str,
    /// Columns of the primary key.
    pub key: &'static [&'static str],
    /// All columns, including those of the key.
    pub columns: &'static [Column],
}

/// Rust type of one row of a table.
pub trait Record: Sized {
    /// Table of the record.
    const TABLE: &'static Table;
    /// Returns the values of [`Table::columns`].
    fn values(&self) -> Vec<Value>;
    /// Creates the record from the values of [`Table::columns`].
    fn from_values(values: Vec<Value>) -> Result<Self, Corrupt>;
}

/// Rust type of some columns of a row, which one update writes together.
pub trait Part {
    /// Returns the values of its columns.
    fn values(&self) -> Vec<Value>;
}

/// Takes the next value of a row of `table`, from `column`.
pub fn take<T: Field>(values: &mut impl Iterator<Item = Value>, table: &str, column: &str) -> Result<T, Corrupt> {
    T::take(values.next().unwrap_or(Value::Null)).map_err(|error| Corrupt(format!("{table}.{column}: {}", error.0)))
}

/// Column with the tenant that a row belongs to.
const OWNER: &str = "tenant_id";

impl Table {
    /// Returns the place of a column.
    pub fn index(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| column.name == name)
    }

    /// Returns a column by its name.
    pub fn column(&self, name: &str) -> Column {
        let found = self.columns.iter().find(|column| column.name == name).copied();
        // A test compares every description with the catalogs and fails on this name.
        found.unwrap_or(Column { name: "no_such_column", ty: Type::Text })
    }

    /// Returns the column with the owner of a row, if it is not part of the key. A change of a row names its tenant,
    /// and matches no row of another tenant. The column is NULL in a row of an organization.
    pub fn owner(&self) -> Option<&'static str> {
        let owned = self.columns.iter().any(|column| column.name == OWNER);
        (owned && !self.key.contains(&OWNER)).then_some(OWNER)
    }

    /// Returns the `SELECT` of every column.
    pub fn select(&self, dialect: Dialect) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| dialect.read(*column)).collect();
        format!("SELECT {} FROM {}", columns.join(", "), self.name)
    }
}
