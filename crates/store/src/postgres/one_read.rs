//! Several reads as one statement: each row is returned as a record with the index of its read.
//!
//! Each statement is answered separately, which wakes this process up once, and takes its own snapshot. Reads that may
//! share a snapshot are sent together.

use super::connection::{Param, out_of_range};
use super::one_statement::renumbered;
use crate::rows::Value;
use std::error::Error;
use tenancy_core::Timestamp;
use tokio_postgres::Row;
use tokio_postgres::types::{FromSql, Type, WrongType};

/// Reads that are sent together.
#[derive(Default)]
pub struct OneRead<'a> {
    /// Text of the statement so far.
    pub sql: String,
    /// Parameters of the statement.
    pub params: Vec<Param<'a>>,
}

impl<'a> OneRead<'a> {
    /// Appends a read whose parameters are numbered from 1. Reads run in this order, and take their locks in it.
    pub fn and(&mut self, place: usize, sql: &str, params: Vec<Param<'a>>) {
        if !self.sql.is_empty() {
            self.sql.push_str(" UNION ALL ");
        }
        let sql = renumbered(sql, self.params.len());
        self.sql.push_str(&format!("SELECT {place}, ROW(r.*) FROM ({sql}) r"));
        self.params.extend(params);
    }
}

/// Splits a row of [`OneRead`] into the index of its read and its values.
pub fn placed(row: &Row) -> Result<(usize, Vec<Value>), tokio_postgres::Error> {
    let Record(values) = row.try_get(1)?;
    Ok((usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or(usize::MAX), values))
}

/// Row of any columns. The binary format contains the type and length of each column; a length of -1 is NULL
/// (`record_send` in PostgreSQL's `rowtypes.c`).
struct Record(Vec<Value>);

impl<'a> FromSql<'a> for Record {
    fn from_sql(_: &Type, raw: &'a [u8]) -> Result<Self, Box<dyn Error + Sync + Send>> {
        let mut rest = raw;
        let fields = number(&mut rest)?;
        let mut values = Vec::with_capacity(usize::try_from(fields)?);
        for _ in 0..fields {
            let ty = Type::from_oid(number(&mut rest)?.cast_unsigned()).unwrap_or(Type::UNKNOWN);
            values.push(match usize::try_from(number(&mut rest)?) {
                Ok(length) => value(&ty, rest.split_off(..length).ok_or("a value is truncated")?)?,
                Err(_) => Value::Null,
            });
        }
        Ok(Self(values))
    }

    fn accepts(ty: &Type) -> bool {
        *ty == Type::RECORD
    }
}

fn number(rest: &mut &[u8]) -> Result<i32, Box<dyn Error + Sync + Send>> {
    let (number, behind) = rest.split_first_chunk().ok_or("a record is truncated")?;
    *rest = behind;
    Ok(i32::from_be_bytes(*number))
}

fn value(ty: &Type, raw: &[u8]) -> Result<Value, Box<dyn Error + Sync + Send>> {
    Ok(match *ty {
        Type::TEXT | Type::VARCHAR => Value::Text(String::from_sql(ty, raw)?),
        Type::INT4 => Value::Int(i32::from_sql(ty, raw)?.into()),
        Type::INT8 => Value::Int(i64::from_sql(ty, raw)?),
        Type::FLOAT8 => Value::Float(f64::from_sql(ty, raw)?),
        Type::BOOL => Value::Bool(bool::from_sql(ty, raw)?),
        Type::TIMESTAMPTZ => Timestamp::from_sql(ty, raw).map_or_else(|_| out_of_range(), Value::Time),
        _ => return Err(Box::new(WrongType::new::<Value>(ty.clone()))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::connection::{Connection, texts};
    use crate::postgres::target::Target;

    #[tokio::test]
    async fn must_bring_every_type_of_value_beside_the_place_of_its_read() {
        let database = tenancy_testkit::Postgres::shared().database("placed");
        let connection = Connection::open(&Target::parse(&database.url()).unwrap(), &[]).await.unwrap();
        let mut one = OneRead::default();
        one.and(7, "SELECT unnest($1::text[]), NULL::text, 1::int, 2::bigint", vec![texts(["ä", ""])]);
        one.and(
            3,
            "SELECT 1.5::float8, true, '2026-11-01T00:00:00.000001Z'::timestamptz, $1::text[] = '{z}'",
            vec![texts(["z"])],
        );
        let rows = connection.query(&one.sql, &one.params).await.unwrap();
        let rows: Vec<_> = rows.iter().map(|row| placed(row).unwrap()).collect();
        let text = |text: &str| Value::Text(text.to_owned());
        let time = "2026-11-01T00:00:00.000001Z".parse().unwrap();
        assert_eq!(
            rows,
            [
                (7, vec![text("ä"), Value::Null, Value::Int(1), Value::Int(2)]),
                (7, vec![text(""), Value::Null, Value::Int(1), Value::Int(2)]),
                (3, vec![Value::Float(1.5), Value::Bool(true), Value::Time(time), Value::Bool(true)]),
            ]
        );
    }

    #[test]
    fn must_refuse_a_record_that_is_cut_off_or_of_an_unknown_type() {
        let record = |raw: &[u8]| Record::from_sql(&Type::RECORD, raw).map(|Record(values)| values);
        let whole = [0, 0, 0, 1, 0, 0, 0, 25, 0, 0, 0, 1, b'a'];
        assert_eq!(record(&whole).unwrap(), [Value::Text("a".to_owned())]);
        for cut in 0..whole.len() {
            assert!(record(&whole[..cut]).is_err(), "{cut}");
        }
        assert!(record(&[0, 0, 0, 1, 0, 0, 0, 18, 0, 0, 0, 1, b'a']).is_err(), "char is no type of ours");
    }
}
