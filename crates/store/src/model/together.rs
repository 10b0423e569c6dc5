//! Comparison of engines: commits the same batch on each, and returns all rows of all tables.

use crate::rows::{Table, Type, Value};
use crate::sealing::Opened;
use crate::sealing::columns::Place;
use crate::sql::Sql;
use crate::tables::{TABLES, data_keys};
use crate::upkeep::Durability;
use crate::{Engine, Receipt, Store};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use tenancy_core::Error;
use tenancy_core::changes::Changes;

/// Work during which a thread of the store panics, for tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Commit of a change.
    Change,
    /// Upkeep.
    Upkeep,
    /// Read by key.
    Read,
}

impl Store {
    /// From now on this process takes a PostgreSQL server that does not answer within this time for silent.
    pub fn shorten_silence(to: std::time::Duration) {
        crate::postgres::shorten_silence(to);
    }

    /// Commits all changes at once, in one batch up to the size limit of a batch. No batch is taken before all of them
    /// wait.
    pub async fn commit_together(&self, all: Vec<Changes>) -> Vec<Result<Receipt, Error>> {
        // Sealed first: that may wait for the database.
        let mut sealed = Vec::with_capacity(all.len());
        for changes in all {
            sealed.push(self.sealed(changes).await);
        }
        let gate = match &self.engine {
            Engine::Sqlite(sqlite) => Some(&sqlite.queue.gate),
            Engine::Postgres(postgres) => Some(&postgres.queue.gate),
            Engine::Model(_) => None,
        };
        let closed = match gate {
            Some(gate) => Some(gate.lock().await),
            None => None,
        };
        let commits = join_all(sealed.into_iter().map(|sealed| async {
            let (member, keys) = sealed?;
            self.commit_sealed(member, keys).await
        }));
        // Polled in this order, each once, before anything is awaited.
        futures_util::join!(commits, async move { drop(closed) }).0
    }

    /// Holds batches back until the returned guard is dropped.
    pub async fn hold_commits(&self) -> Option<tokio::sync::OwnedMutexGuard<bool>> {
        match &self.engine {
            Engine::Postgres(postgres) => Some(std::sync::Arc::clone(&postgres.queue.gate).lock_owned().await),
            Engine::Sqlite(sqlite) => Some(std::sync::Arc::clone(&sqlite.queue.gate).lock_owned().await),
            Engine::Model(_) => None,
        }
    }

    /// Makes a thread of the store panic during the next commit, read or upkeep.
    #[expect(clippy::panic, reason = "a test asks for it")]
    pub async fn panic_over(&self, next: &Next) {
        match (&self.engine, next) {
            (Engine::Sqlite(sqlite), Next::Change) => *sqlite.queue.gate.lock().await = true,
            (Engine::Postgres(postgres), Next::Change) => *postgres.queue.gate.lock().await = true,
            (Engine::Sqlite(sqlite), Next::Upkeep) => {
                let panics = |_: &_| -> rusqlite::Result<()> { std::panic::panic_any("a test has asked for it") };
                drop(sqlite.upkeep.run(Durability::Synced, panics).await);
            }
            (Engine::Postgres(postgres), Next::Read) => postgres.lookups.panic().await,
            _ => {}
        }
    }

    /// Returns every row of every table as text that is identical on all engines.
    ///
    /// # Errors
    /// Same as every read.
    pub async fn tables(&self) -> Result<BTreeMap<&'static str, Vec<Vec<String>>>, Error> {
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let types = table.columns.iter().map(|column| column.ty).collect();
            let rows = self.rows(Sql::new(self.dialect(), table.select(self.dialect())), types).await?;
            let rows = self.comparable(table, rows).await?;
            let mut rows: Vec<_> = rows.iter().map(|row| shown(table, row)).collect();
            rows.sort();
            tables.insert(table.name, rows);
        }
        Ok(tables)
    }

    /// Opens what is sealed, and leaves out of data keys what is random: sealing the same text twice gives two texts.
    async fn comparable(&self, table: &'static Table, mut rows: Vec<Vec<Value>>) -> Result<Vec<Vec<Value>>, Error> {
        if table.name == data_keys::TABLE.name {
            let wrapped = table.index("wrapped").unwrap_or_default();
            rows.retain(|row| row[wrapped] != Value::Text(String::new()));
            rows.iter_mut().for_each(|row| row[1..].fill(Value::Null));
        }
        let Some(place) = Place::of_table(table) else { return Ok(rows) };
        let keys = self.keys_of_rows(table, &rows).await?;
        for row in &mut rows {
            let opened = place.value(row).map(|stored| keys.open_json(place.owner(row), &place.row_name(row), stored));
            if let Some(Opened::Text(text)) = opened {
                row[place.column] = Value::Text(text);
            }
        }
        Ok(rows)
    }
}

fn shown(table: &Table, row: &[Value]) -> Vec<String> {
    let one = |(column, value): (&crate::rows::Column, &Value)| match (column.ty, value) {
        (Type::Json, Value::Text(text)) => match serde_json::from_str::<serde_json::Value>(text) {
            Ok(json) => json.to_string(),
            Err(error) => format!("{error}: {text}"),
        },
        (_, value) => format!("{value:?}"),
    };
    table.columns.iter().zip(row).map(one).collect()
}
