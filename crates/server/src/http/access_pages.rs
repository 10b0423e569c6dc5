//! Access of the tenants that events concern, as it is sent: read once, and encoded once per audience, for all followers
//! of the process.

use super::event_stream::write;
use crate::authentication::Caller;
use crate::feed::{Batch, Rendered};
use crate::operations::access::{self, Many};
use crate::tenancy::Tenancy;
use axum::body::Bytes;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tenancy_core::Error;
use tenancy_core::event::EventType;
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::permission::Audience;
use tenancy_core::scope::Scope;
use tenancy_store::page::Page;

/// Number of tenants of a page.
pub const PAGE_TENANTS: usize = 200;
/// Approximate size of a page, to size the cache.
const TYPICAL_BYTES: u64 = 4096;

/// Tenants with their access, as the frames of a stream.
#[derive(Debug)]
pub struct AccessPage {
    tenants: Vec<(TenantId, OrganizationId)>,
    /// Frames for each audience: staff, then customers.
    frames: [Rendered; 2],
    unreadable: Vec<u8>,
    bytes: u64,
    /// Cursor of the next page.
    pub next: Option<String>,
}

/// What a page contains.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Key {
    /// The tenants of the events after a position up to this cursor.
    Events(i64, String),
    /// The tenants of an organization behind this cursor of a list, because its holds changed in the batch that ends at
    /// the first cursor.
    Organization(String, OrganizationId, Option<String>),
}

#[derive(Debug, Clone)]
struct ByBytes;

impl Weighter<Key, Arc<AccessPage>> for ByBytes {
    fn weight(&self, _: &Key, page: &Arc<AccessPage>) -> u64 {
        page.bytes
    }
}

/// Pages that were sent lately. Followers need each of them at about the same time.
#[derive(Debug)]
pub struct AccessPages(Cache<Key, Arc<AccessPage>, ByBytes>);

impl AccessPages {
    /// Creates a cache with a maximum size in bytes.
    pub fn new(max_bytes: u64) -> Self {
        let entries = usize::try_from(max_bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries, max_bytes, ByBytes))
    }

    /// Returns the tenants that the events of a batch concern, in the order of their last events.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn of_batch(&self, tenancy: &Tenancy, batch: &Batch) -> Result<Arc<AccessPage>, Error> {
        let read = async {
            let last = last_events(batch);
            let mut ids: Vec<_> = last.iter().map(|(id, position)| (*position, (*id).clone())).collect();
            ids.sort_unstable();
            let many = access::of_many(tenancy, ids.into_iter().map(|(_, id)| id).collect(), batch.last).await?;
            let cursor = |id: &TenantId| last.get(id).map(|position| batch.cursor(*position));
            Ok(Arc::new(AccessPage::of(&many, cursor, None)))
        };
        self.0.get_or_insert_async(&Key::Events(batch.after, batch.cursor(batch.last)), read).await
    }

    /// Returns a page of the tenants of an organization whose holds changed in a batch.
    ///
    /// # Errors
    /// [`Error::Unavailable`].
    pub async fn of_organization(
        &self,
        tenancy: &Tenancy,
        batch: &Batch,
        organization_id: &OrganizationId,
        after: Option<String>,
    ) -> Result<Arc<AccessPage>, Error> {
        let read = async {
            let page = Page { after: after.clone(), limit: PAGE_TENANTS };
            let of = Some(organization_id.clone());
            let (many, next) = access::page(tenancy, &Scope::All, of, &page, batch.last).await?;
            Ok(Arc::new(AccessPage::of(&many, |_| None, next)))
        };
        let key = Key::Organization(batch.cursor(batch.last), organization_id.clone(), after.clone());
        self.0.get_or_insert_async(&key, read).await
    }
}

/// Returns the tenants of a batch with the position of the last event of each. An event that cannot be read counts, too:
/// the tenant is read as it is, whatever the event says.
fn last_events(batch: &Batch) -> BTreeMap<&TenantId, i64> {
    let events = batch.events.iter().map(|event| (event.logged.event.tenant_id.as_ref(), event.logged.position));
    let unread =
        batch.unreadable.iter().map(|of| (of.event.tenant_id.as_ref(), of.event.position.unwrap_or(batch.last)));
    let mut last = BTreeMap::new();
    for (tenant, position) in events.chain(unread).filter_map(|(tenant, position)| Some((tenant?, position))) {
        let known = last.entry(tenant).or_insert(position);
        *known = position.max(*known);
    }
    last
}

/// Returns the organizations whose holds changed in a batch. That concerns all their tenants at once, long before each
/// of them has an event.
pub fn held_organizations(batch: &Batch) -> BTreeSet<OrganizationId> {
    let events = batch.events.iter().map(|event| &event.logged.event);
    let holds = events.filter(|event| {
        matches!(event.event_type, EventType::OrganizationHoldPlaced | EventType::OrganizationHoldReleased)
    });
    holds.filter_map(|event| event.payload.get("organization_id")?.as_str().map(OrganizationId::known)).collect()
}

impl AccessPage {
    /// Encodes what was read. `cursor`: the id of the event of a tenant.
    pub fn of(many: &Many, cursor: impl Fn(&TenantId) -> Option<String>, next: Option<String>) -> Self {
        let tenants: Vec<_> = many.tenants.iter().map(|(of, _)| &of.tenant).collect();
        let frames = [0, 1].map(|audience| {
            Rendered::of(many.tenants.iter().map(|(snapshot, access)| {
                let mut frame = Vec::with_capacity(1024);
                write(&mut frame, cursor(&snapshot.tenant.tenant_id).as_deref(), "tenant", &access[audience]);
                frame
            }))
        });
        let mut unreadable = Vec::new();
        for (id, place) in &many.unreadable {
            write(&mut unreadable, None, "unreadable", &json!({"id": id, "place": place}));
        }
        let sent: usize = frames.iter().map(|frames| frames.chosen(|_| true).len()).sum();
        Self {
            bytes: 1024 + (sent + unreadable.len() + tenants.len() * 256) as u64,
            tenants: tenants.iter().map(|of| (of.tenant_id.clone(), of.organization_id.clone())).collect(),
            frames,
            unreadable,
            next,
        }
    }

    /// Returns what a caller gets.
    pub fn chosen(&self, caller: &Caller) -> Bytes {
        let [staff, customers] = &self.frames;
        let frames = if caller.audience() == Audience::Staff { staff } else { customers };
        let reaches = |index: usize| self.tenants.get(index).is_some_and(|(id, of)| caller.reaches(id, of));
        let chosen = frames.chosen(reaches);
        if self.unreadable.is_empty() || !caller.scope().is_all() {
            return chosen;
        }
        // First, so that the last id of the frame is that of its last tenant.
        [&self.unreadable, chosen.as_ref()].concat().into()
    }
}
