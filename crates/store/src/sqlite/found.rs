//! What the guards of a batch name, read by the one writer: it needs no locks.

use super::connection::{failed, rows_of};
use crate::batch::Needs;
use crate::found::READS;
use crate::rows::Value;
use rusqlite::Connection;
use tenancy_core::Error;
use tenancy_core::judge::Found;

/// Reads every row that a batch needs.
pub fn read(connection: &Connection, needs: &Needs<'_>) -> Result<Found, Error> {
    let mut found = Found::default();
    for read in READS {
        let keys = (read.keys)(needs);
        if keys.is_empty() {
            continue;
        }
        let mut statement = connection.prepare_cached(&read.sqlite()).map_err(|error| failed(&error))?;
        for key in keys {
            let key = [Value::Text((*key).to_owned())];
            for row in rows_of(&mut statement, &key, read.types).map_err(|error| failed(&error))? {
                (read.put)(&mut found, row).map_err(|error| Error::Internal(error.to_string()))?;
            }
        }
    }
    Ok(found)
}
