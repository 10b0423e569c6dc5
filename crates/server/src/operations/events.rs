//! The event feed, as far as a caller may read it. The rules are those of the audit log.

use super::tenants;
use crate::authentication::Caller;
use crate::feed::{FeedEvent, FeedUnreadable};
use crate::tenancy::Tenancy;
use tenancy_core::event::EventType;
use tenancy_core::ids::{CorrelationId, OrganizationId, TenantId};
use tenancy_core::scope::Scope;
use tenancy_core::tenant::Tenant;
use tenancy_core::{Error, Timestamp};
use tenancy_store::page::{AuditFilter, Listed, Page, TenantFilter};
use tenancy_store::{LogEnd, LogTail, Resumed};

/// Filter of events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Only events of this tenant.
    pub tenant_id: Option<TenantId>,
    /// Only events of tenants of this organization.
    pub organization_id: Option<OrganizationId>,
    /// Only events of these types; empty for all types.
    pub event_types: Vec<EventType>,
    /// Only events of this request.
    pub correlation_id: Option<CorrelationId>,
    /// Only events that this actor caused, as `kind:subject`.
    pub actor: Option<String>,
    /// Only events at this time or later.
    pub since: Option<Timestamp>,
}

impl EventFilter {
    /// Returns whether a caller gets an event: it lies within the caller's scope and matches the filter.
    pub fn takes(&self, caller: &Caller, event: &FeedEvent) -> bool {
        let of = &event.logged.event;
        event.is_within(caller.scope())
            && self.tenant_id.as_ref().is_none_or(|id| of.tenant_id.as_ref() == Some(id))
            && self.organization_id.as_ref().is_none_or(|id| event.organization_id.as_ref() == Some(id))
            && (self.event_types.is_empty() || self.event_types.contains(&of.event_type))
            && self.correlation_id.as_ref().is_none_or(|id| of.correlation_id == *id)
            && self.actor.as_ref().is_none_or(|actor| of.actor == *actor)
            && self.since.is_none_or(|since| of.occurred_at >= since)
    }

    /// Returns whether a caller is told of an event that cannot be read. Its type, actor and time may be what cannot be
    /// read, so they exclude nothing: it may be an event that the caller waits for.
    pub fn takes_unreadable(&self, caller: &Caller, unread: &FeedUnreadable) -> bool {
        unread.is_within(caller.scope())
            && self.tenant_id.as_ref().is_none_or(|id| unread.event.tenant_id.as_ref() == Some(id))
            && self.organization_id.as_ref().is_none_or(|id| unread.organization_id.as_ref() == Some(id))
    }

    fn of_log(&self) -> AuditFilter {
        AuditFilter {
            tenant_id: self.tenant_id.clone(),
            event_types: self.event_types.clone(),
            correlation_id: self.correlation_id.clone(),
            actor: self.actor.clone(),
            organization_id: self.organization_id.clone(),
            since: self.since,
            ..AuditFilter::default()
        }
    }
}

/// Returns the id of the tenant with this id or alias, if it exists for the caller.
///
/// # Errors
/// [`Error::NotFound`].
pub async fn tenant_id(tenancy: &Tenancy, caller: &Caller, name: &str) -> Result<TenantId, Error> {
    Ok(tenants::reach(tenancy, caller, name).await?.tenant_id)
}

/// Returns the position after which a follower with this cursor continues, and the end of the log.
///
/// # Errors
/// [`Error::Malformed`] if the text is no cursor; [`Error::CursorExpired`]; [`Error::Unavailable`].
pub async fn resume(tenancy: &Tenancy, _: &Caller, after: Option<&str>) -> Result<(i64, LogEnd), Error> {
    match tenancy.store.resume_log(after).await? {
        (Resumed::After(position), end) => Ok((position, end)),
        (Resumed::Expired { oldest, is_lost }, _) => Err(Error::CursorExpired { oldest, is_lost }),
    }
}

/// Reads the events after a position that a caller gets, up to a limit.
///
/// # Errors
/// [`Error::CursorExpired`] if events after the position have expired; [`Error::Unavailable`].
pub async fn page(
    tenancy: &Tenancy,
    caller: &Caller,
    filter: &EventFilter,
    after: i64,
    limit: usize,
) -> Result<LogTail, Error> {
    let tail = tenancy.store.matching_log_after(caller.scope(), &filter.of_log(), after, limit).await?;
    if !tenancy.store.keeps_log_after(after, &tail.end).await? {
        return Err(Error::CursorExpired { oldest: tenancy.store.oldest_log_cursor().await?, is_lost: false });
    }
    Ok(tail)
}

/// Lists the tenants of a snapshot: those whose events a caller gets, whatever the types of the events.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn tenants(
    tenancy: &Tenancy,
    caller: &Caller,
    filter: &EventFilter,
    page: &Page,
) -> Result<Listed<Tenant>, Error> {
    // The caller reaches the tenant of the filter.
    let scope = filter.tenant_id.clone().map_or_else(|| caller.scope().clone(), Scope::Tenant);
    let wanted = TenantFilter { organization_id: filter.organization_id.clone(), ..TenantFilter::default() };
    tenancy.store.tenants(&scope, &wanted, page).await
}
