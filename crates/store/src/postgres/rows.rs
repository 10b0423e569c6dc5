//! Rows as one statement parameter: an array of the table's row type, in the binary format that the server reads with
//! `array_recv` and `record_recv`.

use crate::rows::{Column, Value};
use bytes::{BufMut as _, BytesMut};
use std::collections::HashMap;
use std::error::Error;
use tokio_postgres::Client;
use tokio_postgres::types::{Field, IsNull, Kind, ToSql, Type, to_sql_checked};

/// Rows of one table. The server's row type may have columns that a newer release has added. They are sent as NULL, and
/// our statements do not name them.
#[derive(Debug)]
pub struct Rows<'a> {
    /// Columns that each row contains.
    pub columns: &'a [Column],
    /// The rows.
    pub rows: &'a [&'a [Value]],
    /// Log positions, for rows that are appended to the log. They replace the last column.
    pub places: &'a [i64],
}

impl ToSql for Rows<'_> {
    fn to_sql(&self, ty: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn Error + Sync + Send>> {
        let (element, fields) = row_type(ty).ok_or("expected an array of rows")?;
        let sources: Vec<_> =
            fields.iter().map(|field| self.columns.iter().position(|column| column.name == field.name())).collect();
        out.put_i32(1); // dimensions
        out.put_i32(0); // no NULLs among the rows
        out.put_u32(element.oid());
        out.put_i32(i32::try_from(self.rows.len())?);
        out.put_i32(1); // numbered from
        for (number, row) in self.rows.iter().enumerate() {
            sized(out, |out| {
                out.put_i32(i32::try_from(fields.len())?);
                for (field, source) in fields.iter().zip(&sources) {
                    out.put_u32(field.type_().oid());
                    match (source, self.places.get(number)) {
                        (None, _) => out.put_i32(-1),
                        (Some(index), Some(place)) if index + 1 == self.columns.len() => {
                            put(&Value::Int(*place), field.type_(), out)?;
                        }
                        (Some(index), _) => put(row.get(*index).unwrap_or(&Value::Null), field.type_(), out)?,
                    }
                }
                Ok(())
            })?;
        }
        Ok(IsNull::No)
    }

    fn accepts(ty: &Type) -> bool {
        row_type(ty).is_some()
    }

    to_sql_checked!();
}

fn row_type(ty: &Type) -> Option<(&Type, &[Field])> {
    match ty.kind() {
        Kind::Array(element) => match element.kind() {
            Kind::Composite(fields) => Some((element, fields)),
            _ => None,
        },
        _ => None,
    }
}

type Done = Result<(), Box<dyn Error + Sync + Send>>;

/// Writes what `write` writes, after its length.
fn sized(out: &mut BytesMut, write: impl FnOnce(&mut BytesMut) -> Done) -> Done {
    let at = out.len();
    out.put_i32(0);
    write(out)?;
    let length = i32::try_from(out.len() - at - 4)?;
    out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    Ok(())
}

/// Writes one value in the format of its column's type.
fn put(value: &Value, ty: &Type, out: &mut BytesMut) -> Done {
    match (value, ty) {
        (Value::Null, _) => out.put_i32(-1),
        (Value::Text(text), &Type::JSONB) => sized(out, |out| {
            out.put_u8(1); // version of the format; the text follows
            out.put_slice(text.as_bytes());
            Ok(())
        })?,
        (Value::Text(text), _) => {
            out.put_i32(i32::try_from(text.len())?);
            out.put_slice(text.as_bytes());
        }
        (Value::Int(number), &Type::INT4) => {
            out.put_i32(4);
            out.put_i32(i32::try_from(*number)?);
        }
        (Value::Int(number), _) => {
            out.put_i32(8);
            out.put_i64(*number);
        }
        (Value::Float(number), _) => {
            out.put_i32(8);
            out.put_f64(*number);
        }
        (Value::Bool(flag), _) => {
            out.put_i32(1);
            out.put_u8(u8::from(*flag));
        }
        (Value::Time(time), _) => {
            out.put_i32(8);
            out.put_i64(time.as_microsecond() - EPOCH_MICROSECONDS);
        }
    }
    Ok(())
}

/// 2000-01-01T00:00:00Z, the epoch of PostgreSQL timestamps.
const EPOCH_MICROSECONDS: i64 = 946_684_800_000_000;

/// Row types of the schema's tables, by name. Behind a pooler no statement is prepared, so the server does not report
/// the types of parameters.
pub async fn row_types(client: &Client) -> Result<HashMap<String, Type>, tokio_postgres::Error> {
    let sql = "SELECT c.relname::text, c.reltype::oid, t.typarray::oid, a.attname::text, a.atttypid::oid, \
        f.typname::text, f.typnamespace::regnamespace::text \
        FROM pg_class c JOIN pg_type t ON t.oid = c.reltype JOIN pg_attribute a ON a.attrelid = c.oid \
        JOIN pg_type f ON f.oid = a.atttypid \
        WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped \
        AND pg_table_is_visible(c.oid) ORDER BY c.oid, a.attnum";
    let mut tables: HashMap<String, (u32, u32, Vec<Field>)> = HashMap::new();
    for row in client.query_typed(sql, &[]).await? {
        let (table, row_type, array): (String, u32, u32) = (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?);
        let (number, name, schema) = (row.try_get(4)?, row.try_get(5)?, row.try_get(6)?);
        // An unknown type belongs to a column that we do not write, but the server needs its OID.
        let ty = Type::from_oid(number).unwrap_or_else(|| Type::new(name, number, Kind::Simple, schema));
        let (.., fields) = tables.entry(table).or_insert((row_type, array, Vec::new()));
        fields.push(Field::new(row.try_get(3)?, ty));
    }
    let array = |(table, (row_type, array, fields)): (String, (u32, u32, Vec<Field>))| {
        let element = Type::new(table.clone(), row_type, Kind::Composite(fields), String::new());
        let name = format!("_{table}");
        (table, Type::new(name, array, Kind::Array(element), String::new()))
    };
    Ok(tables.into_iter().map(array).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use jiff::Timestamp;

    #[test]
    fn must_count_times_as_postgres_does() {
        let epoch: Timestamp = "2000-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(epoch.as_microsecond(), EPOCH_MICROSECONDS);
    }
}
