//! Seals rows that were stored before there were data keys, a bounded number at a time. Only how a value is stored
//! changes, not the value.

use crate::Store;
use crate::list::corrupt;
use crate::rows::{Field as _, Table, Type, Value};
use crate::sealing::Held;
use crate::sealing::columns::{JSON, Place};
use crate::sql::Sql;
use std::collections::HashMap;
use tenancy_core::Error;

/// Maximum number of rows that one statement seals.
const PORTION_ROWS: usize = 100;
/// Maximum size of the rows that one statement seals, in bytes.
const PORTION_BYTES: usize = 1024 * 1024;

impl Store {
    /// Seals rows that are not sealed yet, up to about `limit` of them. Returns their number, 0 if there are none.
    ///
    /// # Errors
    /// Same as [`Store::claim`]; [`Error::KeysUnavailable`].
    pub async fn seal_plain_rows(&self, limit: usize) -> Result<usize, Error> {
        let mut sealed = 0;
        for (table, column) in JSON {
            let mut after: Option<Vec<Value>> = None;
            while sealed < limit {
                let rows = self.plain_rows(table, column, after.as_deref()).await?;
                let Some(last) = rows.last() else { break };
                after = Some(key_of(table, last));
                sealed += self.seal_portion(table, column, rows).await?;
                // Lets waiting writes run first.
                tokio::task::yield_now().await;
            }
        }
        Ok(sealed)
    }

    /// Returns the next rows that are not sealed. Both conditions are those of the table's index.
    async fn plain_rows(
        &self,
        table: &'static Table,
        column: &str,
        after: Option<&[Value]>,
    ) -> Result<Vec<Vec<Value>>, Error> {
        let mut sql = Sql::new(self.dialect(), table.select(self.dialect()));
        sql.also(&format!("substr({column}, 1, 1) <> '\"'"));
        if column == "manifest" {
            sql.also("manifest <> '{}'");
        }
        let key = table.key.join(", ");
        if let Some(after) = after {
            let places: Vec<_> = table
                .key
                .iter()
                .zip(after)
                .map(|(name, value)| sql.bind(table.column(name).ty, value.clone()))
                .collect();
            sql.also(&format!("({key}) > ({})", places.join(", ")));
        }
        sql.order(&key, PORTION_ROWS);
        sql.most_bytes = PORTION_BYTES;
        self.rows(sql, table.columns.iter().map(|column| column.ty).collect()).await
    }

    async fn seal_portion(&self, table: &'static Table, column: &str, rows: Vec<Vec<Value>>) -> Result<usize, Error> {
        let Some(place) = Place::of_table(table) else { return Ok(0) };
        let (mut keys, mut sql, mut tuples) = (HashMap::new(), Sql::new(self.dialect(), ""), Vec::new());
        for row in &rows {
            let owner = place.owner(row);
            if !keys.contains_key(owner) {
                // The rows of a tenant whose key cannot be used are left for later; others go on.
                keys.insert(owner.to_owned(), self.held_key(owner).await?);
            }
            let (Some(Held::Open(key)), Some(plain)) = (keys.get(owner), place.value(row)) else { continue };
            let sealed = crate::sealing::sealed_json(key, &place.row_name(row), plain);
            let mut values: Vec<_> = table
                .key
                .iter()
                .zip(key_of(table, row))
                .map(|(name, value)| sql.bind(table.column(name).ty, value))
                .collect();
            values.extend([plain.to_owned(), sealed].map(|text| sql.bind(Type::Text, text.put())));
            tuples.push(format!("({})", values.join(", ")));
        }
        if tuples.is_empty() {
            return Ok(0);
        }
        let same: Vec<_> = table.key.iter().map(|name| format!("t.{name} = p.{name}")).collect();
        // A row that a purge has emptied or deleted meanwhile is left alone.
        sql.text = format!(
            "WITH p ({}, plain, sealed) AS (VALUES {}) UPDATE {} AS t SET {column} = p.sealed FROM p \
             WHERE {} AND t.{column} = p.plain RETURNING 1",
            table.key.join(", "),
            tuples.join(", "),
            table.name,
            same.join(" AND ")
        );
        let done = self.write(sql, vec![Type::Int]).await?;
        done.into_iter().flatten().map(i64::take).collect::<Result<Vec<_>, _>>().map(|done| done.len()).map_err(corrupt)
    }
}

/// Returns the values of the key of a row.
fn key_of(table: &Table, row: &[Value]) -> Vec<Value> {
    table.key.iter().filter_map(|name| row.get(table.index(name)?).cloned()).collect()
}
