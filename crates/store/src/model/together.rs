//! What engines are compared by: the same batch asked of each, and all the rows that are there.

use crate::rows::{TABLES, Table, Type, Value};
use crate::sql::Sql;
use crate::{Engine, Receipt, Store};
use futures_util::future::join_all;
use std::collections::BTreeMap;
use tenancy_core::Error;
use tenancy_core::changes::Changes;

impl Store {
    /// Asks for all at once, as one batch as far as a batch may go: all of them wait before the committer comes to it.
    /// On a runtime of one thread; SQLite's writer, which is a thread of its own, is kept busy meanwhile.
    pub async fn commit_together(&self, all: Vec<Changes>) -> Vec<Result<Receipt, Error>> {
        let (release, released) = std::sync::mpsc::channel::<()>();
        let busy = async {
            if let Engine::Sqlite(sqlite) = &self.engine {
                // Upkeep goes first; until the other end is dropped there is nothing to receive.
                let held = sqlite.upkeep.run(move |_| Ok(released.recv().is_ok()));
                let _ = held.await;
            }
        };
        let commits = join_all(all.into_iter().map(|changes| self.commit(changes)));
        // In this order, once each before anything is waited for.
        let ((), answers, ()) = futures_util::join!(busy, commits, async move { drop(release) });
        answers
    }

    /// Every row of every table, as text that is the same whatever the engine.
    ///
    /// # Errors
    /// As every read.
    pub async fn tables(&self) -> Result<BTreeMap<&'static str, Vec<Vec<String>>>, Error> {
        let mut tables = BTreeMap::new();
        for table in TABLES {
            let types = table.columns.iter().map(|column| column.ty).collect();
            let rows = self.rows(Sql::new(self.dialect(), table.select(self.dialect())), types).await?;
            let mut rows: Vec<_> = rows.iter().map(|row| shown(table, row)).collect();
            rows.sort();
            tables.insert(table.name, rows);
        }
        Ok(tables)
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
