//! A PostgreSQL database that receives a copy of another database, in one transaction.

use super::connection::{Connection, Param};
use super::fault::{described, failed};
use super::rows::Rows;
use super::target::Target;
use super::{migrate, partition};
use crate::rows::{Column, Dialect, Table, Type, Value, unnest};
use crate::sql::Sql;
use jiff::civil::Date;
use tenancy_core::Error;

/// Waits for the batch that a server may be committing, and keeps others from committing.
const BEGIN: &str = "SELECT only_row FROM log_head FOR UPDATE";

/// Connection to the database.
pub struct CopyTarget {
    connection: Connection,
}

impl CopyTarget {
    /// Connects to a database whose schema is up to date.
    ///
    /// # Errors
    /// [`Error::NotNow`] when its schema is behind; [`Error::Unavailable`].
    pub async fn open(target: &Target) -> Result<Self, Error> {
        migrate::check(target).await?;
        // Without limits: the copy of a large database can take any time.
        let connection = Connection::open(target, &[]).await.map_err(|error| failed(&error))?;
        Ok(Self { connection })
    }

    /// Creates the partition of the log for the month that begins on this date.
    pub async fn add_month(&self, first: Date) -> Result<(), Error> {
        partition::add(&self.connection, first).await.map(drop)
    }

    /// Begins the transaction.
    pub async fn begin(&self) -> Result<(), Error> {
        let begun = async {
            self.connection.begin(" READ WRITE").await?;
            self.connection.execute(BEGIN).await
        };
        begun.await.map_err(|error| failed(&error))
    }

    /// Inserts rows. Those that a migration has inserted as well are kept as they are.
    pub async fn insert(&self, table: &'static Table, columns: &[Column], rows: &[Vec<Value>]) -> Result<(), Error> {
        let names: Vec<_> = columns.iter().map(|column| column.name).collect();
        let sql = format!(
            "INSERT INTO {} ({}) SELECT u.{} FROM {} ON CONFLICT DO NOTHING",
            table.name,
            names.join(", "),
            names.join(", u."),
            unnest(table)
        );
        let rows: Vec<_> = rows.iter().map(Vec::as_slice).collect();
        let rows = Rows { columns, rows: &rows, places: &[] };
        let params: [Param<'_>; 1] = [(Box::new(rows), self.connection.row_array_type(table.name))];
        let inserted = async {
            self.connection.prepare([sql.as_str()]).await?;
            self.connection.query(&sql, &params).await
        };
        inserted.await.map(drop).map_err(|error| match failed(&error) {
            Error::Internal(_) => Error::NotNow(format!(
                "a row of {} does not fit into PostgreSQL ({}): nothing was copied",
                table.name,
                described(&error)
            )),
            other => other,
        })
    }

    /// Runs a statement and returns its only number.
    pub async fn number(&self, sql: &Sql) -> Result<Option<i64>, Error> {
        let rows = self.connection.run(sql, &[Type::Int]).await.map_err(|error| failed(&error))?;
        Ok(rows.into_iter().flatten().find_map(|value| match value {
            Value::Int(number) => Some(number),
            _ => None,
        }))
    }

    /// Raises the floor of the log.
    pub async fn raise_floor(&self, floor: &str) -> Result<(), Error> {
        let mut sql = Sql::new(Dialect::Postgres, "");
        let floor = sql.bind(Type::Text, Value::Text(floor.to_owned()));
        sql.text = format!("UPDATE log_floor SET audit_id = {floor} WHERE audit_id < {floor} RETURNING 1::bigint");
        self.number(&sql).await.map(drop)
    }

    /// Sets the position up to which events have become deliveries.
    pub async fn set_dispatched(&self, position: i64) -> Result<(), Error> {
        let mut sql = Sql::new(Dialect::Postgres, "");
        let position = sql.bind(Type::Int, Value::Int(position));
        sql.text = format!("UPDATE webhook_dispatch SET position = {position} RETURNING 1::bigint");
        self.number(&sql).await.map(drop)
    }

    /// Commits, and lets the planner look at the rows.
    pub async fn commit(&self) -> Result<(), Error> {
        self.connection.execute("COMMIT").await.map_err(|error| failed(&error))?;
        // Only for better plans; autovacuum does it later.
        if let Err(error) = self.connection.execute("ANALYZE").await {
            tracing::warn!(error = %described(&error), "ANALYZE failed after the copy");
        }
        Ok(())
    }
}
