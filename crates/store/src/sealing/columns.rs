//! Which columns are sealed, and how a row is named in the seal.

use crate::rows::{Column, Table, Value, WriteShape};
use crate::tables::{audit_private, environment_versions, tenant_versions};
use crate::write_kind::WRITES;
use std::sync::LazyLock;

/// Tables with a sealed column of JSON. Sealed JSON is stored as a string, so that it remains valid JSON.
pub const JSON: [(&Table, &str); 3] = [
    (audit_private::TABLE, "content"),
    (tenant_versions::TABLE, "manifest"),
    (environment_versions::TABLE, "manifest"),
];

/// Tables with a sealed column of text. It may have been sealed before the commit.
const TEXT: [(&str, &str); 2] = [("tenant_webhooks", "secret"), ("platform_webhooks", "secret")];

/// Column with the tenant that a row belongs to.
const OWNER: &str = "tenant_id";

/// Where the sealed column and the key are in the values of a row.
#[derive(Debug)]
pub struct Place {
    /// Name of the table.
    pub table: &'static str,
    /// Name of the sealed column.
    pub name: &'static str,
    /// Place of the sealed column.
    pub column: usize,
    /// Whether the column is JSON.
    pub is_json: bool,
    /// Place of the owner, if the row has one.
    owner: Option<usize>,
    /// Places of the key columns, without the owner.
    key: Vec<usize>,
}

/// The sealed column of each kind of write, in the order of [`WRITES`].
static OF_WRITES: LazyLock<Vec<Option<Place>>> =
    LazyLock::new(|| WRITES.iter().map(|shape| of_write(*shape)).collect());

/// Returns the place of the sealed column in the rows of a kind of write.
pub fn of_kind(index: usize) -> Option<&'static Place> {
    OF_WRITES.get(index)?.as_ref()
}

/// A write of all rows of a tenant only empties a column.
fn of_write(shape: WriteShape) -> Option<Place> {
    if shape.asserts() { Place::of(shape.table(), &shape.columns()) } else { None }
}

impl Place {
    /// Returns the place of the sealed column in whole rows of a table.
    pub fn of_table(table: &'static Table) -> Option<Self> {
        Self::of(table, table.columns)
    }

    fn of(table: &'static Table, columns: &[Column]) -> Option<Self> {
        let at = |name: &str| columns.iter().position(|column| column.name == name);
        let json = JSON.iter().find(|(known, _)| known.name == table.name).map(|(_, name)| (*name, true));
        let text = || TEXT.iter().find(|(known, _)| *known == table.name).map(|(_, name)| (*name, false));
        let (name, is_json) = json.or_else(text)?;
        let key = table.key.iter().filter(|name| **name != OWNER).map(|name| at(name)).collect::<Option<_>>()?;
        Some(Self { table: table.name, name, column: at(name)?, is_json, owner: at(OWNER), key })
    }

    /// Returns the owner in a row; empty for the platform.
    pub fn owner<'a>(&self, row: &'a [Value]) -> &'a str {
        self.owner.and_then(|at| text(row.get(at)?)).unwrap_or_default()
    }

    /// Returns the value of the sealed column.
    pub fn value<'a>(&self, row: &'a [Value]) -> Option<&'a str> {
        text(row.get(self.column)?)
    }

    /// Returns the name of a row in its seal.
    pub fn row_name(&self, row: &[Value]) -> String {
        let part = |at: &usize| match row.get(*at) {
            Some(Value::Int(number)) => number.to_string(),
            Some(Value::Text(text)) => text.clone(),
            _ => String::new(),
        };
        let key = self.key.iter().map(part).collect::<Vec<_>>().join("/");
        if self.is_json { format!("{}/{key}", self.table) } else { format!("webhook/{key}/{}", self.name) }
    }
}

fn text(value: &Value) -> Option<&str> {
    match value {
        Value::Text(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::TABLES;

    #[test]
    fn must_seal_every_insert_of_a_sealed_column() {
        for (table, column) in JSON {
            let inserts = WRITES.iter().enumerate().filter(|(_, shape)| shape.inserts() && shape.table() == table);
            let places: Vec<_> = inserts.map(|(index, _)| of_kind(index).map(|place| place.name)).collect();
            assert_eq!(places, [Some(column)], "{}", table.name);
        }
    }

    #[test]
    fn must_give_rows_of_different_tables_and_keys_different_names() {
        let name = |table: &'static Table, row: &[&str]| {
            let row: Vec<_> = row.iter().map(|text| Value::Text((*text).to_owned())).collect();
            Place::of_table(table).map(|place| place.row_name(&row))
        };
        assert_eq!(name(audit_private::TABLE, &["t", "aud_1", "s", "{}"]).as_deref(), Some("audit_private/aud_1"));
        assert_eq!(name(tenant_versions::TABLE, &["t", "7"]).as_deref(), Some("tenant_versions/7"));
        let environment = name(environment_versions::TABLE, &["t", "env_1", "7"]);
        assert_eq!(environment.as_deref(), Some("environment_versions/env_1/7"));
    }

    #[test]
    fn must_know_the_tables_of_webhooks_by_their_names() {
        assert!(TABLES.iter().any(|table| table.name == TEXT[0].0));
    }
}
