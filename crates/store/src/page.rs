//! Pages of lists: keyset pagination with opaque cursors.

pub use crate::tables::api_keys::ListedKeys;
pub use crate::tables::audit::{AuditFilter, LoggedEvent};
pub use crate::tables::jobs::JobFilter;
pub use crate::tables::organizations::OrganizationFilter;
pub use crate::tables::tenants::TenantFilter;
pub use crate::tables::webhook_deliveries::DeliveryFilter;

/// Maximum number of items on one page.
pub const MAX_PAGE_ITEMS: usize = 500;

/// Maximum size of a page, in bytes. A page that reaches it ends, however few items it has.
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Number of items on a page if the caller does not set a limit.
pub const DEFAULT_PAGE_ITEMS: usize = 50;

/// Page to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// `next` of the previous page.
    pub after: Option<String>,
    /// Number of items, from 1 to [`MAX_PAGE_ITEMS`].
    pub limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: DEFAULT_PAGE_ITEMS }
    }
}

/// One page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<T> {
    /// Items in the order of the list.
    pub items: Vec<T>,
    /// Rows of the page that cannot be read. They do not keep others from being listed.
    pub unreadable: Vec<Unreadable>,
    /// Cursor of the next page; `None` on the last page.
    pub next: Option<String>,
}

/// A row that does not match its description: something other than this program has changed the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Its key.
    pub id: String,
    /// Table and column that cannot be read.
    pub place: String,
}
