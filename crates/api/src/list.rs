//! A page of a list.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A page of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct List<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Where the next page begins: pass it as `after`; `null` at the end. A page of large items has fewer than were asked
    /// for.
    pub next: Option<String>,
}

/// The answer's text of a page whose rows are shown by `view`.
pub fn page<'a, R, V: Serialize>(items: &'a [R], next: Option<String>, view: impl Fn(&'a R) -> V) -> List<V> {
    List { items: items.iter().map(view).collect(), next }
}
