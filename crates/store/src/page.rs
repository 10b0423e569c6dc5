//! Pages of lists: keyset pagination, its cursors opaque text.

use tenancy_core::Timestamp;
use tenancy_core::apikey::ApiKey;
use tenancy_core::event::EventType;
use tenancy_core::ids::{CorrelationId, OrganizationId, TenantId};
use tenancy_core::job::JobState;
use tenancy_core::tenant::{Profile, State};

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

/// Which tenants; in order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TenantFilter {
    /// In this state.
    pub state: Option<State>,
    /// With this home region.
    pub region: Option<String>,
    /// Of this profile.
    pub profile: Option<Profile>,
    /// Of this organization.
    pub organization_id: Option<OrganizationId>,
    /// With all these labels.
    pub labels: Vec<(String, String)>,
    /// Whose id, display name or an alias (kind:value, or the value) begins so.
    pub q: Option<String>,
    /// Registered at this time or later.
    pub created_from: Option<Timestamp>,
    /// Registered before this time.
    pub created_before: Option<Timestamp>,
    /// Also tombstones.
    pub purged: bool,
}

/// Which organizations; in order of their ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OrganizationFilter {
    /// Whose id or display name begins so.
    pub q: Option<String>,
}

/// Which jobs; newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobFilter {
    /// On this tenant.
    pub tenant_id: Option<TenantId>,
    /// In this state.
    pub state: Option<JobState>,
}

/// Which audit events; in order of their positions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AuditFilter {
    /// Of this tenant.
    pub tenant_id: Option<TenantId>,
    /// Of these types; empty: of all.
    pub event_types: Vec<EventType>,
    /// In this request.
    pub correlation_id: Option<CorrelationId>,
    /// At this time or later.
    pub since: Option<Timestamp>,
    /// Before this time.
    pub until: Option<Timestamp>,
    /// Newest first.
    pub newest_first: bool,
}

/// An event with its place in the log.
#[derive(Debug, Clone, PartialEq)]
pub struct LoggedEvent {
    /// Its place in the one order of all events.
    pub position: i64,
    /// The event, with what stands beside it as long as it is kept.
    pub event: tenancy_core::event::Event,
}

/// Keys, in order of their ids.
pub type ListedKeys = Listed<ApiKey>;
