//! Reads the rows that the guards of a batch name. There is one writer, so it needs no locks.

use super::connection::{failed, rows_of};
use crate::batch::ReadSet;
use crate::current_rows::READS;
use crate::rows::Value;
use rusqlite::Connection;
use tenancy_core::Error;
use tenancy_core::judge::CurrentRows;

/// Returns the statements of [`READS`], in their order.
pub fn statements() -> Vec<String> {
    READS.iter().map(|read| read.sqlite()).collect()
}

/// Reads every row that a batch needs, with these [`statements`].
pub fn read(connection: &Connection, statements: &[String], needs: &ReadSet<'_>) -> Result<CurrentRows, Error> {
    let mut found = CurrentRows::default();
    for (read, sql) in READS.iter().zip(statements) {
        let keys = (read.keys)(needs);
        if keys.is_empty() {
            continue;
        }
        let mut statement = connection.prepare_cached(sql).map_err(|error| failed(&error))?;
        for key in keys {
            let key = [Value::Text((*key).to_owned())];
            for row in rows_of(&mut statement, &key, read.types).map_err(|error| failed(&error))? {
                (read.put)(&mut found, row).map_err(|error| Error::Internal(error.to_string()))?;
            }
        }
    }
    Ok(found)
}
