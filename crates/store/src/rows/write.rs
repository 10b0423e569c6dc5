//! Writes of rows: the shapes of writing statements, and the statements that are generated from them.

use super::{Column, Dialect, Table, Value};

/// Condition in the `WHERE` of an update that repeats the guard. The judge has already checked the guard under the
/// lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// No condition beyond the key.
    None,
    /// The column is one less than its new value.
    OneLess(&'static str),
    /// The column equals the value in the row.
    Same(&'static str),
}

/// Shape of a write: one statement per batch, or a part of one, for any number of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WriteShape {
    /// Inserts whole rows.
    Insert(&'static Table),
    /// Inserts the next row of a list. The last column of the key is a number that increases by one from 1, and the
    /// newest row is the valid one. On PostgreSQL older rows remain until upkeep removes them, because an updated row
    /// would leave dead versions as long as any old snapshot exists. On SQLite the next row replaces the previous one.
    Append(&'static Table),
    /// Updates some columns of rows that are found by key and owner.
    Update {
        /// Table to update.
        table: &'static Table,
        /// Columns to set.
        set: &'static [&'static str],
        /// Additional condition.
        check: Check,
    },
    /// Deletes rows that are found by key and owner.
    Delete(&'static Table),
    /// Updates some columns of all rows that have a value in one column, any number of them.
    UpdateAll {
        /// Table to update.
        table: &'static Table,
        /// Column to search by.
        by: &'static str,
        /// Columns to set.
        set: &'static [&'static str],
    },
    /// Deletes all rows that have a value in one column, any number of them.
    DeleteAll {
        /// Table to delete from.
        table: &'static Table,
        /// Column to search by.
        by: &'static str,
    },
}

impl WriteShape {
    /// Returns the table.
    pub fn table(self) -> &'static Table {
        match self {
            Self::Insert(table) | Self::Append(table) | Self::Delete(table) => table,
            Self::Update { table, .. } | Self::UpdateAll { table, .. } | Self::DeleteAll { table, .. } => table,
        }
    }

    /// Whether it inserts whole new rows.
    pub fn inserts(self) -> bool {
        matches!(self, Self::Insert(_) | Self::Append(_))
    }

    /// Whether each of its rows must change exactly one row. A statement that changes fewer or more rows fails.
    pub fn asserts(self) -> bool {
        !matches!(self, Self::UpdateAll { .. } | Self::DeleteAll { .. })
    }

    /// Columns that identify a row; the first one is text.
    fn found_by(self) -> Vec<&'static str> {
        match self {
            Self::UpdateAll { by, .. } | Self::DeleteAll { by, .. } => vec![by],
            other => other.table().key.iter().copied().chain(other.owner()).collect(),
        }
    }

    /// Owner column of a row that is found by its key.
    fn owner(self) -> Option<&'static str> {
        match self {
            Self::Update { table, .. } | Self::Delete(table) => table.owner(),
            Self::Insert(_) | Self::Append(_) | Self::UpdateAll { .. } | Self::DeleteAll { .. } => None,
        }
    }

    /// Condition that finds rows; `value` returns the expression for a column name.
    fn where_found(self, dialect: Dialect, value: impl Fn(&str) -> String) -> String {
        let compared = |name| {
            // The owner may be NULL.
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

    /// Columns whose values a row of this shape contains, in order: the columns that identify it, the columns to set,
    /// then the check.
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

    /// Selects the values of [`WriteShape::columns`] from the values of all columns.
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

    /// Returns the statement for SQLite: one row, its values as parameters. If it [asserts](WriteShape::asserts), it
    /// must change exactly one row.
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
                // Inserted with the number of the previous row, which it conflicts with and replaces. The first row has
                // no previous row.
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

    /// Returns the statement for PostgreSQL: any number of rows, as one array of the table's row type. All shapes but
    /// inserts also take the first key column of the rows, as an array. An update or delete that
    /// [asserts](WriteShape::asserts) and does not match each of its rows fails with SQLSTATE `TN002`, because its
    /// `COMMIT` has already been sent.
    pub fn postgres(self) -> String {
        let columns = self.columns();
        let table = self.table().name;
        let rows = unnest(self.table());
        let by_key = self.where_found(Dialect::Postgres, |name| format!("u.{name}"));
        // The first column of a key is text. This condition is redundant, but it makes every plan start at the key.
        // With a join alone, the planner scans the table while it is small, and keeps that plan when it grows.
        let key = columns[0].name;
        let by_key = format!("{by_key} AND t.{key} = any($2::text[])");
        let all = |change: String| {
            if !self.asserts() {
                return change;
            }
            format!(
                "WITH done AS ({change} RETURNING t.{key}::text AS row_key) \
                 SELECT CASE WHEN cardinality(array_agg(row_key)) = cardinality($1::{table}[]) THEN 1 \
                 ELSE assertion_failed('TN002', '{table}: a write did not meet the row ' \
                 || first_difference($2::text[], array_agg(row_key), NULL, NULL)) END FROM done"
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

/// Returns the rows that a statement gets, as `u`: one array of the table's row type. An array for each column would
/// cost the server about as much as inserting the rows.
pub fn unnest(table: &Table) -> String {
    format!("unnest($1::{}[]) u", table.name)
}
