//! A page of a list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// Items of the page, in the order of the list.
    pub items: Vec<T>,
    /// Position of the next page: pass it as `after`. `null` on the last page. A page of large items can contain fewer
    /// items than requested.
    #[schema(required)]
    pub next: Option<String>,
    /// Rows of the page that cannot be read, because something other than the server has changed the database. Omitted if
    /// there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<Unreadable>,
}

/// A row that cannot be read.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Unreadable {
    /// Id of the row.
    pub id: String,
    /// Table and column that cannot be read.
    #[schema(example = "tenants.labels")]
    pub place: String,
}

/// Builds a page from rows; `view` builds an item from a row.
pub fn page<'a, R, V: Serialize>(items: &'a [R], next: Option<String>, view: impl Fn(&'a R) -> V) -> List<V> {
    List { items: items.iter().map(view).collect(), next, unreadable: Vec::new() }
}
