//! Descriptions of tables and of the kinds of write, and the statements that are made from them.

use super::value::{Corrupt, Type, Value};

/// A column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// Its name in both databases.
    pub name: &'static str,
    /// Its type.
    pub ty: Type,
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

/// What repeats the guard in the `WHERE` of an update: the judge has seen it hold under the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// None beyond the key.
    None,
    /// The column is one less than it will be.
    OneLess(&'static str),
    /// The column is as the row says.
    Same(&'static str),
}

/// A kind of write: one statement a batch, or a part of one, however many rows it carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteShape {
    /// Inserts whole rows.
    Insert(&'static Table),
    /// Inserts the next row of a list, whose key ends with a number that goes up by one from 1, and of which the newest row
    /// counts. On PostgreSQL the older ones stay until upkeep removes them: a row that is updated leaves its old versions under
    /// anybody's snapshot. On SQLite nothing would be left, and the next takes the place of the one before.
    Append(&'static Table),
    /// Writes some columns of rows that are found by key and owner.
    Update {
        /// Of which table.
        table: &'static Table,
        /// Which columns.
        set: &'static [&'static str],
        /// What must hold besides.
        check: Check,
    },
    /// Deletes rows that are found by key and owner.
    Delete(&'static Table),
    /// Writes some columns of every row that has a value in one column, however many these are.
    UpdateAll {
        /// Of which table.
        table: &'static Table,
        /// Found by which column.
        by: &'static str,
        /// Which columns.
        set: &'static [&'static str],
    },
    /// Deletes every row that has a value in one column, however many these are.
    DeleteAll {
        /// Of which table.
        table: &'static Table,
        /// Found by which column.
        by: &'static str,
    },
}

const OWNER: &str = "tenant_id";

impl Table {
    fn column(&self, name: &str) -> Column {
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

impl WriteShape {
    /// Its table.
    pub fn table(self) -> &'static Table {
        match self {
            Self::Insert(table) | Self::Append(table) | Self::Delete(table) => table,
            Self::Update { table, .. } | Self::UpdateAll { table, .. } | Self::DeleteAll { table, .. } => table,
        }
    }

    /// Whether it carries whole rows, which are new.
    pub fn inserts(self) -> bool {
        matches!(self, Self::Insert(_) | Self::Append(_))
    }

    /// Whether each of its rows changes exactly one row, and a statement that changes fewer or more must fail.
    pub fn asserts(self) -> bool {
        !matches!(self, Self::UpdateAll { .. } | Self::DeleteAll { .. })
    }

    /// The columns that a row is found by; text comes first.
    fn found_by(self) -> Vec<&'static str> {
        match self {
            Self::UpdateAll { by, .. } | Self::DeleteAll { by, .. } => vec![by],
            other => other.table().key.iter().copied().chain(other.owner()).collect(),
        }
    }

    /// The owner of a row that is found by its key.
    fn owner(self) -> Option<&'static str> {
        match self {
            Self::Update { table, .. } | Self::Delete(table) => table.owner(),
            Self::Insert(_) | Self::Append(_) | Self::UpdateAll { .. } | Self::DeleteAll { .. } => None,
        }
    }

    /// The condition that finds rows: each column is what `value` makes of its name.
    fn where_found(self, dialect: Dialect, value: impl Fn(&str) -> String) -> String {
        let compared = |name| {
            // The owner may be nobody.
            let same = self.owner() == Some(name);
            match dialect {
                Dialect::Sqlite => format!("{name} {} {}", if same { "IS" } else { "=" }, value(name)),
                Dialect::Postgres => {
                    format!("t.{name} {} {}", if same { "IS NOT DISTINCT FROM" } else { "=" }, value(name))
                }
            }
        };
        self.found_by().into_iter().map(compared).collect::<Vec<_>>().join(" AND ")
    }

    /// The columns whose values a row of this kind carries, in order: what rows are found by first, then what is set, then
    /// the check.
    pub fn columns(self) -> Vec<Column> {
        let table = self.table();
        match self {
            Self::Insert(table) | Self::Append(table) => table.columns.to_vec(),
            Self::Delete(_) | Self::DeleteAll { .. } => self.found_by().iter().map(|name| table.column(name)).collect(),
            Self::UpdateAll { set, .. } => self.found_by().iter().chain(set).map(|name| table.column(name)).collect(),
            Self::Update { set, check, .. } => {
                let extra = match check {
                    Check::Same(name) if !set.contains(&name) => Some(name),
                    _ => None,
                };
                self.found_by().iter().chain(set).copied().chain(extra).map(|name| table.column(name)).collect()
            }
        }
    }

    fn check(self) -> Check {
        match self {
            Self::Update { check, .. } => check,
            _ => Check::None,
        }
    }

    /// The values of [`WriteShape::columns`] out of the values of all columns.
    pub fn pick(self, all: Vec<Value>) -> Vec<Value> {
        if self.inserts() {
            return all;
        }
        let table = self.table();
        let index = |name: &str| table.columns.iter().position(|column| column.name == name);
        self.columns()
            .iter()
            .map(|column| index(column.name).and_then(|at| all.get(at)).cloned().unwrap_or(Value::Null))
            .collect()
    }

    /// The statement for SQLite: one row, its values as parameters. If it [asserts](WriteShape::asserts), it must change exactly
    /// one row.
    pub fn sqlite(self) -> String {
        let columns = self.columns();
        let number = |name: &str| columns.iter().position(|column| column.name == name).map_or(0, |at| at + 1);
        let table = self.table().name;
        let by_key = self.where_found(Dialect::Sqlite, |name| format!("?{}", number(name)));
        let names = || columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        match self {
            Self::Insert(_) => {
                let values: Vec<_> = (1..=columns.len()).map(|number| format!("?{number}")).collect();
                format!("INSERT INTO {table} ({}) VALUES ({})", names(), values.join(", "))
            }
            Self::Append(table) => {
                // It is inserted as the row before it, and meets that one; the first meets none.
                let number_in_list = table.key.last().copied();
                let before = |name| {
                    let value = format!("?{}", number(name));
                    if number_in_list == Some(name) { format!("max({value} - 1, 1)") } else { value }
                };
                let values: Vec<_> = columns.iter().map(|column| before(column.name)).collect();
                let set: Vec<_> =
                    columns.iter().map(|column| format!("{} = ?{}", column.name, number(column.name))).collect();
                let (values, key, set) = (values.join(", "), table.key.join(", "), set.join(", "));
                format!(
                    "INSERT INTO {0} ({1}) VALUES ({values}) ON CONFLICT ({key}) DO UPDATE SET {set}",
                    table.name,
                    names()
                )
            }
            Self::Delete(_) | Self::DeleteAll { .. } => format!("DELETE FROM {table} WHERE {by_key}"),
            Self::Update { set, .. } | Self::UpdateAll { set, .. } => {
                let set: Vec<_> = set.iter().map(|name| format!("{name} = ?{}", number(name))).collect();
                let check = match self.check() {
                    Check::None => String::new(),
                    Check::OneLess(name) => format!(" AND {name} = ?{} - 1", number(name)),
                    Check::Same(name) => format!(" AND {name} = ?{}", number(name)),
                };
                format!("UPDATE {table} SET {} WHERE {by_key}{check}", set.join(", "))
            }
        }
    }

    /// The statement for PostgreSQL: any number of rows, as one array of the table's own row type; what is not inserted
    /// also takes the rows' first key column, as an array. An update or delete that [asserts](WriteShape::asserts) and does not
    /// meet every one of its rows fails (a division by zero), since its `COMMIT` is on the way already.
    pub fn postgres(self) -> String {
        let columns = self.columns();
        let table = self.table().name;
        let rows = unnest(self.table());
        let by_key = self.where_found(Dialect::Postgres, |name| format!("u.{name}"));
        // The first column of a key is text. That it is one of these says nothing new, but by it every plan begins at the
        // key: a join alone reads the table whole while it is small, and from then on.
        let by_key = format!("{by_key} AND t.{} = any($2::text[])", columns[0].name);
        let all = |change: String| {
            if !self.asserts() {
                return change;
            }
            format!(
                "WITH done AS ({change} RETURNING 1) \
                 SELECT 1 / (count(*) = cardinality($1::{table}[]))::integer FROM done"
            )
        };
        match self {
            Self::Insert(_) | Self::Append(_) => {
                let names: Vec<_> = columns.iter().map(|column| column.name).collect();
                format!("INSERT INTO {table} ({}) SELECT u.{} FROM {rows}", names.join(", "), names.join(", u."))
            }
            Self::Delete(_) | Self::DeleteAll { .. } => {
                all(format!("DELETE FROM {table} t USING {rows} WHERE {by_key}"))
            }
            Self::Update { set, .. } | Self::UpdateAll { set, .. } => {
                let set: Vec<_> = set.iter().map(|name| format!("{name} = u.{name}")).collect();
                let check = match self.check() {
                    Check::None => String::new(),
                    Check::OneLess(name) => format!(" AND t.{name} = u.{name} - 1"),
                    Check::Same(name) => format!(" AND t.{name} = u.{name}"),
                };
                all(format!("UPDATE {table} t SET {} FROM {rows} WHERE {by_key}{check}", set.join(", ")))
            }
        }
    }
}

/// The rows that a statement is given, as `u`: one array of the table's row type. An array for each column would cost the
/// server about as much as inserting the rows does.
pub fn unnest(table: &Table) -> String {
    format!("unnest($1::{}[]) u", table.name)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::WRITES;

    #[test]
    fn a_change_of_a_tenants_row_must_name_the_tenant() {
        let changes = WRITES.iter().filter(|kind| !kind.inserts());
        let of_tenants = changes.filter(|kind| kind.table().columns.iter().any(|column| column.name == OWNER));
        let mut seen = 0;
        for kind in of_tenants {
            for text in [kind.sqlite(), kind.postgres()] {
                let condition = text.split_once(" WHERE ").map(|(_, condition)| condition);
                assert!(condition.is_some_and(|condition| condition.contains(OWNER)), "{text}");
            }
            seen += 1;
        }
        assert!(seen > 10, "{seen}");
    }
}
