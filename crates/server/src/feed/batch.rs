//! Events that were read together.

use super::rendered::{Rendered, VIEWS, View};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::scope::Scope;
use tenancy_store::page::LoggedEvent;
use tenancy_store::{LogEnd, LogTail, UnreadableEvent};

/// An event with the organization of its tenant.
#[derive(Debug, Clone)]
pub struct FeedEvent {
    /// The event with its position.
    pub logged: LoggedEvent,
    /// Organization of the tenant; `None` for events without a tenant.
    pub organization_id: Option<OrganizationId>,
}

impl FeedEvent {
    /// Whether the event lies within a scope. Events without a tenant lie only within `all`, as in the audit log.
    pub fn is_within(&self, scope: &Scope) -> bool {
        reaches(scope, self.logged.event.tenant_id.as_ref(), self.organization_id.as_ref())
    }
}

/// An event that cannot be read, with the organization of its tenant.
#[derive(Debug, Clone)]
pub struct FeedUnreadable {
    /// What is known of the event.
    pub event: UnreadableEvent,
    /// Organization of the tenant; `None` for events without a tenant.
    pub organization_id: Option<OrganizationId>,
}

impl FeedUnreadable {
    /// Whether the event lies within a scope.
    pub fn is_within(&self, scope: &Scope) -> bool {
        reaches(scope, self.event.tenant_id.as_ref(), self.organization_id.as_ref())
    }
}

fn reaches(scope: &Scope, tenant: Option<&TenantId>, organization: Option<&OrganizationId>) -> bool {
    match (scope, tenant, organization) {
        (Scope::All, ..) => true,
        (scope, Some(tenant), Some(organization)) => scope.reaches(tenant, organization),
        _ => false,
    }
}

/// All events after a position up to another one.
#[derive(Debug)]
pub struct Batch {
    /// Position after which the batch begins.
    pub after: i64,
    /// Position up to which everything was read.
    pub last: i64,
    /// The events, in the order of the log.
    pub events: Vec<Arc<FeedEvent>>,
    /// Events that cannot be read.
    pub unreadable: Vec<FeedUnreadable>,
    end: LogEnd,
    bytes: usize,
    views: [OnceLock<Rendered>; VIEWS],
}

/// Estimated size of an event in memory, as a multiple of its row: the parsed payload, and a few renderings.
const FACTOR: usize = 4;
/// Estimated size of an event in memory apart from its row, in bytes.
const EVENT_BYTES: usize = 1024;

impl Batch {
    pub(super) fn new(after: i64, tail: LogTail, owners: &BTreeMap<TenantId, OrganizationId>) -> Self {
        let bytes = tail.bytes * FACTOR + tail.events.len() * EVENT_BYTES;
        let owner = |tenant: Option<&TenantId>| tenant.and_then(|tenant| owners.get(tenant).cloned());
        let owned = |logged: LoggedEvent| {
            let organization_id = owner(logged.event.tenant_id.as_ref());
            Arc::new(FeedEvent { logged, organization_id })
        };
        let unread = |event: UnreadableEvent| {
            let organization_id = owner(event.tenant_id.as_ref());
            FeedUnreadable { event, organization_id }
        };
        Self {
            after,
            last: tail.last,
            events: tail.events.into_iter().map(owned).collect(),
            unreadable: tail.unreadable.into_iter().map(unread).collect(),
            end: tail.end,
            bytes,
            views: Default::default(),
        }
    }

    /// Returns the part of the batch after a position inside it.
    pub(super) fn rest(&self, after: i64) -> Self {
        let events = self.events.iter().filter(|event| event.logged.position > after).cloned().collect();
        let is_later = |unread: &&FeedUnreadable| unread.event.position.is_none_or(|position| position > after);
        Self {
            after,
            last: self.last,
            events,
            unreadable: self.unreadable.iter().filter(is_later).cloned().collect(),
            end: self.end.clone(),
            bytes: self.bytes,
            views: Default::default(),
        }
    }

    /// Returns the cursor of a position in this batch.
    pub fn cursor(&self, position: i64) -> String {
        self.end.cursor(position)
    }

    /// Epoch of the log in which the batch was read.
    pub(super) fn epoch(&self) -> i64 {
        self.end.epoch()
    }

    /// Estimated size in memory, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Whether the batch was rendered for this view already.
    pub fn is_rendered(&self, view: View) -> bool {
        self.views.get(view.index()).is_some_and(|cell| cell.get().is_some())
    }

    /// Returns the batch as callers with this view see it. It is rendered once for all followers.
    pub fn rendered(&self, view: View, render: impl FnOnce(&Self) -> Rendered) -> &Rendered {
        match self.views.get(view.index()) {
            Some(cell) => cell.get_or_init(|| render(self)),
            // `index` is below the number of views.
            None => Rendered::empty(),
        }
    }
}
