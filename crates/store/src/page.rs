//! Pages of lists: keyset pagination, its cursors opaque text.

pub use crate::tables::api_keys::ListedKeys;
pub use crate::tables::audit::{AuditFilter, LoggedEvent};
pub use crate::tables::jobs::JobFilter;
pub use crate::tables::organizations::OrganizationFilter;
pub use crate::tables::tenants::TenantFilter;

/// Most items of one page.
pub const MAX_PAGE_ITEMS: usize = 500;

/// A page that has so many bytes ends, however few its items are.
pub const MAX_PAGE_BYTES: usize = 4 * 1024 * 1024;

/// Items of a page when the caller does not say.
pub const DEFAULT_PAGE_ITEMS: usize = 50;

/// Which page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The `next` of the page before.
    pub after: Option<String>,
    /// How many items, 1 to [`MAX_PAGE_ITEMS`].
    pub limit: usize,
}

impl Default for Page {
    fn default() -> Self {
        Self { after: None, limit: DEFAULT_PAGE_ITEMS }
    }
}

/// A page of a list.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed<T> {
    /// In the list's order.
    pub items: Vec<T>,
    /// Where the next page begins; `None` at the end.
    pub next: Option<String>,
}
