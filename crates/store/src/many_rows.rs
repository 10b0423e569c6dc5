//! Any number of rows as one parameter of a statement, as a JSON list. Upkeep of deliveries writes hundreds of rows at a
//! time with a few statements.

use crate::rows::{Dialect, Type, Value};
use crate::sql::Sql;
use serde_json::{Map, Value as Json};

/// Column of the rows.
pub type Named = (&'static str, Type);

/// Binds rows and returns the item of a FROM clause that reads them, named `u`.
pub fn bind_rows(sql: &mut Sql, columns: &[Named], rows: &[Vec<Value>]) -> String {
    let dialect = sql.dialect();
    let row = |row: &Vec<Value>| {
        let fields = columns.iter().zip(row).map(|((name, _), value)| ((*name).to_owned(), json(dialect, value)));
        Json::Object(fields.collect::<Map<_, _>>())
    };
    let text = Json::Array(rows.iter().map(row).collect()).to_string();
    let parameter = sql.bind(Type::Json, Value::Text(text));
    match dialect {
        Dialect::Sqlite => {
            let read: Vec<_> = columns.iter().map(|(name, _)| format!("value ->> '{name}' AS {name}")).collect();
            format!("(SELECT {} FROM json_each({parameter})) AS u", read.join(", "))
        }
        Dialect::Postgres => {
            let read: Vec<_> = columns.iter().map(|(name, ty)| format!("{name} {}", type_name(*ty))).collect();
            format!("jsonb_to_recordset({parameter}::jsonb) AS u({})", read.join(", "))
        }
    }
}

fn type_name(ty: Type) -> &'static str {
    match ty {
        Type::Text | Type::Json => "text",
        Type::Int => "bigint",
        Type::Float => "double precision",
        Type::Bool => "boolean",
        Type::Time => "timestamptz",
    }
}

/// A time is a number of microseconds on SQLite, as in its tables.
fn json(dialect: Dialect, value: &Value) -> Json {
    match (value, dialect) {
        (Value::Null, _) => Json::Null,
        (Value::Text(text), _) => Json::from(text.as_str()),
        (Value::Int(number), _) => Json::from(*number),
        (Value::Float(number), _) => Json::from(*number),
        (Value::Bool(flag), _) => Json::from(*flag),
        (Value::Time(time), Dialect::Sqlite) => Json::from(time.as_microsecond()),
        (Value::Time(time), Dialect::Postgres) => Json::from(time.to_string()),
    }
}
