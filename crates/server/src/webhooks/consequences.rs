//! What the server does about a webhook that fails: warns its owner, or disables it. Both are events of the audit log.

use crate::authentication::Caller;
use crate::operations::{Command, Decided};
use crate::tenancy::{RequestContext, Tenancy, fresh_correlation_id};
use std::time::Duration;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::delivery::AttemptOutcome;
use tenancy_core::lane::{Consequence, Lane};
pub use tenancy_core::rules::webhook_failures::Measure;
use tenancy_core::rules::webhook_failures::{FAILED_FOR_LONG, GONE, of_platform, of_tenant};
use tenancy_core::webhook::Webhook;
use tenancy_core::{Error, Timestamp};

/// Name of the actor in the audit log.
pub const ACTOR: &str = "webhooks";

/// Returns what follows from an attempt, with those before it. A warning is returned once.
pub fn due(lane: &mut Lane, outcome: AttemptOutcome, now: Timestamp, disabled_after: Duration) -> Option<Measure> {
    match outcome {
        AttemptOutcome::Gone => Some(Measure::Disable(GONE)),
        AttemptOutcome::Failed => lane.consequence(now, disabled_after).map(|what| match what {
            Consequence::Warn(percent) => Measure::Warn(percent),
            Consequence::Disable => Measure::Disable(FAILED_FOR_LONG),
        }),
        AttemptOutcome::Delivered => None,
    }
}

/// Warns, or disables the webhook.
///
/// # Errors
/// [`Error::Unavailable`].
pub async fn carry_out(tenancy: &Tenancy, webhook: &Webhook, measure: Measure) -> Result<(), Error> {
    let request = RequestContext::by_part(ACTOR, fresh_correlation_id());
    tenancy.decide_and_commit(&Take { webhook: webhook.clone(), measure }, &request, None).await.map(drop)
}

/// Takes a measure.
#[derive(Debug)]
struct Take {
    webhook: Webhook,
    measure: Measure,
}

impl Command for Take {
    type Outcome = ();

    async fn decide(&self, tenancy: &Tenancy, _: &Caller, context: &mut DecisionContext) -> Result<Decided<()>, Error> {
        let nothing = Decided { outcome: (), changes: None };
        let Some(tenant) = self.webhook.owner.tenant_id() else {
            let current = tenancy.store.endpoint(&self.webhook.webhook_id).await?;
            let changes = current.and_then(|endpoint| of_platform(&endpoint.webhook, &self.measure, context));
            return Ok(Decided { outcome: (), changes });
        };
        let Some(snapshot) = tenancy.store.snapshot(tenant).await? else { return Ok(nothing) };
        let decision = of_tenant(&tenancy.declared, &snapshot, &self.webhook, &self.measure, context)?;
        Ok(Decided { outcome: (), changes: decision.changes })
    }
}
