//! Reads of single rows. `tables/` defines the reads of each table.

use crate::keyed::KeyedRead;
#[cfg(feature = "model")]
use crate::keyed::ROWS;
use crate::list::{corrupt, readable};
#[cfg(feature = "model")]
use crate::rows::Dialect;
use crate::rows::{Field, Record};
use crate::sql::Sql;
pub use crate::tables::organizations::OrganizationRecord;
pub use crate::tables::tenants::Stamp;
use crate::{Engine, Store};
use tenancy_core::Error;

impl Store {
    /// Returns the row with this key, if it exists.
    pub(crate) async fn by_key<R: Record>(&self, read: KeyedRead, key: &str) -> Result<Option<R>, Error> {
        self.count_read();
        let row = match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.row(read, key.to_owned().put())?,
            Engine::Postgres(postgres) => postgres.lookups.row(read, key).await?,
            #[cfg(feature = "model")]
            Engine::Model(model) => {
                model.query(&ROWS[read.index()].sql(Dialect::Sqlite), &[key.to_owned().put()])?.pop()
            }
        };
        row.map(R::from_values).transpose().map_err(corrupt)
    }

    /// Returns all records that a query finds.
    pub(crate) async fn all<R: Record>(&self, sql: Sql) -> Result<Vec<R>, Error> {
        let types = R::TABLE.columns.iter().map(|column| column.ty).collect();
        let rows = self.rows(sql, types).await?;
        rows.into_iter().map(R::from_values).collect::<Result<_, _>>().map_err(corrupt)
    }

    /// Returns the records that a query finds and that can be read.
    pub(crate) async fn all_readable<R: Record>(&self, sql: Sql) -> Result<Vec<R>, Error> {
        let types = R::TABLE.columns.iter().map(|column| column.ty).collect();
        Ok(readable(self.rows(sql, types).await?).0)
    }

    /// Returns the record that a query finds, if any.
    pub(crate) async fn one<R: Record>(&self, sql: Sql) -> Result<Option<R>, Error> {
        Ok(self.all(sql).await?.pop())
    }
}
