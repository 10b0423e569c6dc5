//! Lifecycle: place and release holds, request transitions.

use super::tenants::{self, Written, changed};
use super::{Command, Decided, audit};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_core::Error;
use tenancy_core::action::Action;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::event::EventType;
use tenancy_core::rules::lifecycle::{Suspension, activate, purge_early, request, suspend};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_store::page::{AuditFilter, Page};

/// Places a hold on a tenant.
#[derive(Debug)]
pub struct Suspend {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Kind, reason and end of the hold.
    pub document: Value,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Suspend {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let suspension = Suspension::read(&tenancy.declared, &self.document, context.now)?;
        let snapshot = find(tenancy, caller, &self.tenant, &self.precondition).await?;
        Ok(changed(suspend(&tenancy.declared, &snapshot, &suspension, context)?))
    }
}

/// Releases a hold on a tenant.
#[derive(Debug)]
pub struct Activate {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Kind of the hold. Defaults to `operator`.
    pub hold: Option<String>,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Activate {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let snapshot = find(tenancy, caller, &self.tenant, &self.precondition).await?;
        match activate(&tenancy.declared, &snapshot, self.hold.as_deref(), context) {
            Err(Error::NotNow(why)) => {
                Err(released_before(tenancy, caller, &snapshot, self.hold.as_deref(), why).await)
            }
            decided => Ok(changed(decided?)),
        }
    }
}

/// Requests a purge before the grace period ends.
#[derive(Debug)]
pub struct PurgeEarly {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for PurgeEarly {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let snapshot = find(tenancy, caller, &self.tenant, &self.precondition).await?;
        Ok(changed(purge_early(&tenancy.declared, &snapshot, context)?))
    }
}

/// Requests `delete`, `undelete` or `purge`.
#[derive(Debug)]
pub struct Request {
    /// Id or alias of the tenant.
    pub tenant: String,
    /// Requested action.
    pub action: Action,
    /// Precondition, which `delete` requires.
    pub precondition: Precondition,
    /// `version` in the body.
    pub read_at: Option<i64>,
}

impl Command for Request {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let snapshot = tenants::find(tenancy, caller, &self.tenant).await?;
        let (version, counter) = (snapshot.tenant.terms.version, snapshot.tenant.facts.counter);
        if self.action == Action::Purge {
            tenancy.clock_is_certain()?;
        }
        match self.action {
            Action::Delete => self.precondition.check_whole_required(self.read_at, version, counter)?,
            _ => self.precondition.check_whole(self.read_at, version, counter)?,
        }
        Ok(changed(request(&tenancy.declared, &snapshot, self.action, context)?))
    }
}

/// Loads the tenant of an action that requires no version, and checks the precondition against all of its ETag.
async fn find(
    tenancy: &Tenancy,
    caller: &Caller,
    tenant: &str,
    precondition: &Precondition,
) -> Result<TenantSnapshot, Error> {
    let snapshot = tenants::find(tenancy, caller, tenant).await?;
    precondition.check_whole(None, snapshot.tenant.terms.version, snapshot.tenant.facts.counter)?;
    Ok(snapshot)
}

/// Number of releases that are searched for the hold, the newest first.
const RELEASES_SEARCHED: usize = 20;

/// Returns the refusal to release a hold, and says when it was released if it ever stood.
async fn released_before(
    tenancy: &Tenancy,
    caller: &Caller,
    snapshot: &TenantSnapshot,
    hold: Option<&str>,
    why: String,
) -> Error {
    let stands = |kind: &str| snapshot.holds.iter().any(|hold| hold.kind == kind);
    let is_purged = snapshot.tenant.facts.purged_at.is_some();
    let Some(kind) = hold.filter(|kind| !is_purged && !stands(kind)) else {
        return Error::NotNow(why);
    };
    let filter = AuditFilter {
        tenant_id: Some(snapshot.tenant.tenant_id.clone()),
        event_types: vec![EventType::HoldReleased],
        newest_first: true,
        ..AuditFilter::default()
    };
    let newest = Page { after: None, limit: RELEASES_SEARCHED };
    let released = match audit::list(tenancy, caller, &filter, &newest).await {
        Ok(events) => {
            events.items.into_iter().find(|logged| logged.event.payload.get("hold").is_some_and(|hold| hold == kind))
        }
        Err(error) => return error,
    };
    Error::NotNow(match released {
        Some(logged) => {
            format!("hold {kind:?} was released at {}: there is nothing to release", logged.event.occurred_at)
        }
        None => why,
    })
}
