//! Opens sealed columns of rows that were read. The data keys of a page are read together.

use super::columns::Place;
use super::keys::Held;
use super::sealed_in_json;
use crate::Store;
use crate::list::readable;
use crate::page::Unreadable;
use crate::rows::{Field, Record, Table, Value};
use crate::tables::data_keys::DataKeyRow;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use std::collections::{BTreeSet, HashMap};
use tenancy_core::Error;

/// Maximum number of data keys that are unwrapped at once.
const AT_ONCE: usize = 16;

/// Data keys of the owners of some rows.
#[derive(Debug, Default)]
pub struct Keys(HashMap<String, Held>);

/// A stored text, opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// The text. A text that was not sealed is returned unchanged.
    Text(String),
    /// A purge has destroyed its key.
    Gone,
    /// The key service does not have its key.
    NoKey,
    /// It was changed, or its key cannot be used.
    Broken,
}

impl Opened {
    /// Returns the text as JSON, if it could be opened.
    pub fn json(self) -> Option<serde_json::Value> {
        match self {
            Self::Text(text) => <serde_json::Value as Field>::take(Value::Text(text)).ok(),
            Self::Gone | Self::NoKey | Self::Broken => None,
        }
    }
}

impl Store {
    /// Returns the data keys of these owners.
    ///
    /// # Errors
    /// [`Error::KeysUnavailable`] if the key service does not answer.
    pub(crate) async fn keys_of<'a>(&self, owners: impl IntoIterator<Item = &'a str>) -> Result<Keys, Error> {
        let owners: BTreeSet<&str> = owners.into_iter().collect();
        let mut keys = HashMap::new();
        let mut unknown = Vec::new();
        for owner in owners {
            match self.vault.cached(owner) {
                Some(key) => drop(keys.insert(owner.to_owned(), Held::Open(key))),
                None => unknown.push(owner),
            }
        }
        if unknown.is_empty() {
            return Ok(Keys(keys));
        }
        let open = |row: DataKeyRow| async move {
            let owner = row.tenant_id.clone();
            self.open_row(row).await.map(|held| (owner, held))
        };
        let rows = self.data_key_rows(&unknown).await?;
        let opened: Vec<_> = stream::iter(rows).map(open).buffer_unordered(AT_ONCE).try_collect().await?;
        keys.extend(opened);
        Ok(Keys(keys))
    }

    /// Returns the data keys of rows of a table with a sealed column of JSON.
    pub(crate) async fn keys_of_rows(&self, table: &'static Table, rows: &[Vec<Value>]) -> Result<Keys, Error> {
        let Some(place) = Place::of_table(table) else { return Ok(Keys::default()) };
        let sealed = |row: &&Vec<Value>| place.value(row).is_some_and(|value| sealed_in_json(value).is_some());
        self.keys_of(rows.iter().filter(sealed).map(|row| place.owner(row))).await
    }

    /// Returns the record that a query finds, with its sealed column opened.
    pub(crate) async fn one_sealed<R: Record>(&self, sql: crate::sql::Sql) -> Result<Option<R>, Error> {
        let types = R::TABLE.columns.iter().map(|column| column.ty).collect();
        let rows = self.rows(sql, types).await?;
        let keys = self.keys_of_rows(R::TABLE, &rows).await?;
        let (mut records, unreadable) = keys.read::<R>(rows);
        match unreadable.into_iter().next() {
            Some(unreadable) => Err(Error::Unreadable(unreadable.place)),
            None => Ok(records.pop()),
        }
    }
}

impl Keys {
    /// Opens a text of the row of an owner.
    pub fn open(&self, owner: &str, row: &str, sealed: &str) -> Opened {
        match self.0.get(owner) {
            Some(Held::Open(key)) => match key.open(row, sealed).ok().and_then(|bytes| String::from_utf8(bytes).ok()) {
                Some(text) => Opened::Text(text),
                None => Opened::Broken,
            },
            Some(Held::Missing) => Opened::NoKey,
            Some(Held::Refused) => Opened::Broken,
            Some(Held::Erased) | None => Opened::Gone,
        }
    }

    /// Opens a stored JSON text.
    pub fn open_json(&self, owner: &str, row: &str, stored: &str) -> Opened {
        match sealed_in_json(stored) {
            Some(sealed) => self.open(owner, row, sealed),
            None => Opened::Text(stored.to_owned()),
        }
    }

    /// Reads rows of a table with a sealed column. One that cannot be read does not keep others from being read.
    pub fn read<R: Record>(&self, rows: Vec<Vec<Value>>) -> (Vec<R>, Vec<Unreadable>) {
        let Some(place) = Place::of_table(R::TABLE) else { return readable(rows) };
        let (mut opened, mut closed) = (Vec::with_capacity(rows.len()), Vec::new());
        for mut row in rows {
            let Some(stored) = place.value(&row) else {
                opened.push(row);
                continue;
            };
            let name = place.row_name(&row);
            let why = match self.open_json(place.owner(&row), &name, stored) {
                Opened::Text(text) => {
                    row[place.column] = Value::Text(text);
                    opened.push(row);
                    continue;
                }
                Opened::Gone => format!("{}.{}, whose key was destroyed", place.table, place.name),
                Opened::NoKey => format!("{}.{}, whose key is missing", place.table, place.name),
                Opened::Broken => format!("{}.{}", place.table, place.name),
            };
            tracing::error!(row = name, place = why, "a row cannot be opened");
            closed.push(Unreadable { id: name, place: why });
        }
        let (records, mut unreadable) = readable(opened);
        unreadable.extend(closed);
        (records, unreadable)
    }
}
