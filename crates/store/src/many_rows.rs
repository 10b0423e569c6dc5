//! Any number of rows as parameters of a statement: on PostgreSQL as one array for each column, on SQLite as one JSON list.
//! Upkeep of deliveries writes hundreds of rows at a time: on PostgreSQL with a few statements. On SQLite the most frequent rows,
//! deliveries and results, have a statement each, since it is prepared once, and runs in this process.

use crate::rows::{Dialect, Type, Value};
use crate::sql::Sql;
use serde_json::Value as Json;

/// Column of the rows.
pub type Named = (&'static str, Type);

/// Binds rows and returns the item of a FROM clause that reads them, named `u`.
pub fn bind_rows(sql: &mut Sql, columns: &[Named], rows: Vec<Vec<Value>>) -> String {
    match sql.dialect() {
        Dialect::Sqlite if rows.len() == 1 => {
            let values = columns.iter().zip(rows.into_iter().flatten());
            let bound: Vec<_> =
                values.map(|((name, ty), value)| format!("{} AS {name}", sql.bind(*ty, value))).collect();
            format!("(SELECT {}) AS u", bound.join(", "))
        }
        Dialect::Sqlite => {
            let lists: Vec<Json> = rows.iter().map(|row| row.iter().map(json).collect()).collect();
            let parameter = sql.bind(Type::Json, Value::Text(Json::Array(lists).to_string()));
            let read = |(place, (name, _)): (usize, &Named)| format!("value ->> {place} AS {name}");
            let read: Vec<_> = columns.iter().enumerate().map(read).collect();
            format!("(SELECT {} FROM json_each({parameter})) AS u", read.join(", "))
        }
        Dialect::Postgres => {
            let mut values: Vec<_> = columns.iter().map(|_| Vec::with_capacity(rows.len())).collect();
            for row in rows {
                values.iter_mut().zip(row).for_each(|(column, value)| column.push(value));
            }
            let bound: Vec<_> =
                columns.iter().zip(values).map(|((_, ty), values)| sql.bind_column(*ty, values)).collect();
            let names: Vec<_> = columns.iter().map(|(name, _)| *name).collect();
            format!("unnest({}) AS u({})", bound.join(", "), names.join(", "))
        }
    }
}

/// Divides rows into those of one statement.
pub fn parts<T>(dialect: Dialect, rows: &[T]) -> std::slice::Chunks<'_, T> {
    let size = if dialect == Dialect::Sqlite { 1 } else { rows.len().max(1) };
    rows.chunks(size)
}

/// The form of a value in tables of SQLite: a time is a number of microseconds.
fn json(value: &Value) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Text(text) => Json::from(text.as_str()),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => Json::from(*number),
        Value::Bool(flag) => Json::from(*flag),
        Value::Time(time) => Json::from(time.as_microsecond()),
    }
}
