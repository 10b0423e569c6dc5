//! What the guards of a batch name, read by the one writer: it needs no locks.

use super::connection::rows;
use crate::batch::Needs;
use crate::found::READS;
use rusqlite::Connection;
use tenancy_core::Error;
use tenancy_core::judge::Found;

/// Reads every row that a batch needs.
pub fn read(connection: &Connection, needs: &Needs<'_>) -> Result<Found, Error> {
    let mut found = Found::default();
    for read in READS {
        let sql = read.sqlite();
        for key in (read.keys)(needs) {
            let key = [crate::rows::Value::Text((*key).to_owned())];
            let rows = rows(connection, &sql, &key, read.types).map_err(|error| super::connection::failed(&error))?;
            for row in rows {
                (read.put)(&mut found, row).map_err(|error| Error::Internal(error.to_string()))?;
            }
        }
    }
    Ok(found)
}
