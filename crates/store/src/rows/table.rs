//! Descriptions of tables.

use super::{Corrupt, Dialect, Field, Type, Value};

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name in both databases.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
}

impl Column {
    /// The column of a field.
    pub const fn of<T: Field>(name: &'static str) -> Self {
        Self { name, ty: T::TYPE }
    }
}

/// A table: its columns in the order in which they are read and written.
#[derive(Debug, PartialEq, Eq)]
pub struct Table {
    /// Its name in both databases.
    pub name: &'static str,
    /// What a row is found by.
    pub key: &'static [&'static str],
    /// Every column, the key's among them.
    pub columns: &'static [Column],
}

/// A type of Rust that is one row of a table.
pub trait Record: Sized {
    /// Its table.
    const TABLE: &'static Table;
    /// The values of [`Table::columns`].
    fn values(&self) -> Vec<Value>;
    /// From the values of [`Table::columns`].
    fn from_values(values: Vec<Value>) -> Result<Self, Corrupt>;
}

/// A type of Rust that is some columns of a row, which an update writes together.
pub trait Part {
    /// The values of its columns.
    fn values(&self) -> Vec<Value>;
}

/// The next value of a row of `table`, which stands in `column`.
pub fn take<T: Field>(values: &mut impl Iterator<Item = Value>, table: &str, column: &str) -> Result<T, Corrupt> {
    T::take(values.next().unwrap_or(Value::Null)).map_err(|error| Corrupt(format!("{table}.{column}: {}", error.0)))
}

/// The column that says to which tenant a row belongs.
const OWNER: &str = "tenant_id";

impl Table {
    /// A column by its name.
    pub fn column(&self, name: &str) -> Column {
        let found = self.columns.iter().find(|column| column.name == name).copied();
        // A test holds every description against the catalogs; a name that is in none would fail there.
        found.unwrap_or(Column { name: "no_such_column", ty: Type::Text })
    }

    /// The column that says whose a row is, where the key does not: a change of a row names its tenant, and none of another
    /// tenant is met. It is null in what is an organization's.
    pub fn owner(&self) -> Option<&'static str> {
        let owned = self.columns.iter().any(|column| column.name == OWNER);
        (owned && !self.key.contains(&OWNER)).then_some(OWNER)
    }

    /// `SELECT` of every column.
    pub fn select(&self, dialect: Dialect) -> String {
        let columns: Vec<_> = self.columns.iter().map(|column| dialect.read(*column)).collect();
        format!("SELECT {} FROM {}", columns.join(", "), self.name)
    }
}
