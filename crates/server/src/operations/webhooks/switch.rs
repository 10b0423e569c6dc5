//! Enables and disables webhooks.

use super::{Found, Of, Written, by_name, find, owner};
use crate::authentication::Caller;
use crate::operations::{Command, Decided, tenants};
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::rules::webhooks::{switch, switch_of_tenant};

/// Enables or disables a webhook. Enabling it also ends that the server has disabled it.
#[derive(Debug)]
pub struct Switch {
    /// Owner.
    pub of: Of,
    /// Name or id of the webhook.
    pub webhook: String,
    /// Whether the webhook is to receive events.
    pub enabled: bool,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Switch {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let (found, changes) = match &self.of {
            Of::Tenant(tenant) => {
                let snapshot = tenants::find(tenancy, caller, tenant).await?;
                let known = find(&snapshot, &self.webhook)?;
                let facts = &snapshot.tenant.facts;
                self.precondition.check_whole(None, snapshot.tenant.terms.version, facts.counter)?;
                let decision = switch_of_tenant(&tenancy.declared, &snapshot, known, self.enabled, context)?;
                let after = find(&decision.snapshot, known.webhook_id.as_str())?;
                (Found::of_tenant(&decision.snapshot, after), decision.changes)
            }
            of => {
                let owner = owner(tenancy, caller, of).await?;
                let known = by_name(tenancy, &owner.id(), &self.webhook).await?;
                self.precondition.check_if_said(None, known.version)?;
                let decision = switch(&known, self.enabled, context)?;
                let decision = owner.with(Some(&known), decision, context)?;
                (Found::of_platform(decision.webhook), decision.changes)
            }
        };
        Ok(Decided { outcome: Written { found, created: false, secret: None }, changes })
    }
}
