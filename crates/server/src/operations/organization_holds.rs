//! Holds on organizations: place, release, and reconcile each tenant.

use super::organizations::{Written, find};
use super::{Command, Decided, tenants};
use crate::authentication::Caller;
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::lifecycle::{Situation, next_action};
use tenancy_core::organization::Usage;
use tenancy_core::rules::lifecycle::Suspension;
use tenancy_core::rules::organization_holds::{HoldsDecision, place, release, settle};
use tenancy_core::rules::outcome::is_in_the_way;
use tenancy_core::webhook::Webhook;
use tenancy_core::{Error, Timestamp};
use tenancy_store::page::{JobFilter, Page};

/// Places a hold on all tenants of an organization.
#[derive(Debug)]
pub struct Suspend {
    /// Id of the organization.
    pub organization: String,
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
        let known = find(tenancy, caller, &self.organization).await?;
        self.precondition.check_whole(None, known.organization.version, known.organization.counter)?;
        let decision = place(&tenancy.declared, &known.organization, &known.holds, &suspension, context)?;
        Ok(written(decision, known.usage, known.webhooks))
    }
}

/// Releases a hold on an organization.
#[derive(Debug)]
pub struct Activate {
    /// Id of the organization.
    pub organization: String,
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
        let known = find(tenancy, caller, &self.organization).await?;
        self.precondition.check_whole(None, known.organization.version, known.organization.counter)?;
        let decision = release(&tenancy.declared, &known.organization, &known.holds, self.hold.as_deref(), context)?;
        Ok(written(decision, known.usage, known.webhooks))
    }
}

fn written(decision: HoldsDecision, usage: Usage, webhooks: Vec<Webhook>) -> Decided<Written> {
    let HoldsDecision { organization, holds, changes } = decision;
    Decided { outcome: Written { organization, usage, holds, webhooks, created: false, warnings: Vec::new() }, changes }
}

/// Releases an expired hold on an organization.
#[derive(Debug)]
pub struct ReleaseExpired {
    /// Organization that has the hold.
    pub organization: OrganizationId,
    /// Kind of the hold.
    pub hold: String,
}

impl Command for ReleaseExpired {
    type Outcome = ();

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<()>, Error> {
        let known = find(tenancy, caller, self.organization.as_str()).await?;
        let over = |until: Timestamp| until <= context.now;
        if !known.holds.iter().any(|hold| hold.kind == self.hold && hold.until.is_some_and(over)) {
            return Ok(Decided { outcome: (), changes: None });
        }
        let decision = release(&tenancy.declared, &known.organization, &known.holds, Some(&self.hold), context)?;
        Ok(Decided { outcome: (), changes: decision.changes })
    }
}

/// Brings a tenant to the state that its manifest and all holds ask for, after the holds of its organization changed.
#[derive(Debug)]
pub struct Settle {
    /// Tenant to reconcile.
    pub tenant: TenantId,
    /// Time of the change of the holds.
    pub changed_at: Timestamp,
}

impl Command for Settle {
    type Outcome = ();

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<()>, Error> {
        let nothing = Decided { outcome: (), changes: None };
        let Some(snapshot) = tenants::by_id(tenancy, caller, &self.tenant).await? else { return Ok(nothing) };
        let declared = &tenancy.declared;
        if next_action(Situation::of(declared, &snapshot)).is_none() && !is_in_the_way(declared, &snapshot) {
            return Ok(nothing);
        }
        let filter = JobFilter { tenant_id: Some(self.tenant.clone()), ..JobFilter::default() };
        let jobs = super::jobs::list(tenancy, caller, &filter, &Page { after: None, limit: 1 }).await?;
        let decision = settle(&tenancy.declared, &snapshot, jobs.items.first(), self.changed_at, context)?;
        Ok(Decided { outcome: (), changes: decision.changes })
    }
}
