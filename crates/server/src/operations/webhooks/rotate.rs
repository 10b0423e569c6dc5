//! Gives a webhook a new secret.

use super::entry::take_secret;
use super::{Found, Of, Shown, Written, by_name, find, platform_owner, sealed};
use crate::authentication::Caller;
use crate::operations::documents::desired::with;
use crate::operations::{Command, Decided, tenants};
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use std::time::Duration;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::document;
use tenancy_core::rules::webhooks::{rotate, rotate_of_tenant};
use tenancy_core::webhook::{DEFAULT_OVERLAP_SECONDS, MAX_OVERLAP_SECONDS, Secret, Webhook};
use tenancy_core::{Error, Timestamp};

/// Gives a webhook a new secret. The former ones stay live for a while. The document can contain a secret, so it has no
/// `Debug`.
pub struct Rotate {
    /// Owner.
    pub of: Of,
    /// Name or id of the webhook.
    pub webhook: String,
    /// `secret` and `overlap_seconds`, both optional.
    pub document: Value,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Rotate {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let (new, overlap) = self.read(context.now)?;
        let text = new.text.clone();
        let (found, changes) = match &self.of {
            Of::Tenant(tenant) => {
                let snapshot = tenants::find(tenancy, caller, tenant).await?;
                let known = find(&snapshot, &self.webhook)?;
                let facts = &snapshot.tenant.facts;
                self.precondition.check_whole(None, snapshot.tenant.terms.version, facts.counter)?;
                let sealed = next(tenancy, known, new, overlap, context.now).await?;
                let decision = rotate_of_tenant(&tenancy.declared, &snapshot, known, sealed, context)?;
                (Found::of_tenant(&decision.snapshot, known), decision.changes)
            }
            of => {
                let owner = platform_owner(tenancy, caller, of).await?;
                let known = by_name(tenancy, &owner, &self.webhook).await?;
                self.precondition.check_if_said(None, known.version)?;
                let sealed = next(tenancy, &known, new, overlap, context.now).await?;
                let decision = rotate(&known, sealed, context)?;
                (Found::of_platform(decision.webhook), decision.changes)
            }
        };
        Ok(Decided { outcome: Written { found, created: false, secret: Some(Shown(text)) }, changes })
    }
}

impl Rotate {
    /// Reads the document: the new secret, which is made here if the document has none, and the overlap.
    fn read(&self, now: Timestamp) -> Result<(Secret, Duration), Error> {
        let mut document = self.document.clone();
        let mut wrong = Vec::new();
        let mut given = None;
        if let Value::Object(object) = &mut document {
            match take_secret(object, now) {
                Ok(secret) => given = secret,
                Err(bad) => wrong.push(bad),
            }
        }
        let overlap = document::read(&document, |fields, findings| {
            Some(fields.integer("overlap_seconds", 0..=MAX_OVERLAP_SECONDS, findings))
        });
        let overlap = with(wrong, overlap)?.unwrap_or(DEFAULT_OVERLAP_SECONDS);
        let secret = match given {
            Some(secret) => secret,
            None => fresh(now)?,
        };
        Ok((secret, Duration::from_secs(overlap.unsigned_abs())))
    }
}

/// Returns the encrypted secrets of a webhook after the rotation.
async fn next(
    tenancy: &Tenancy,
    webhook: &Webhook,
    new: Secret,
    overlap: Duration,
    now: Timestamp,
) -> Result<String, Error> {
    let secrets = tenancy.store.webhook_secrets(&webhook.owner, &webhook.webhook_id).await?;
    sealed(tenancy, webhook, &secrets.rotate(new, overlap, now).map_err(Error::NotNow)?).await
}

/// Makes a secret.
///
/// # Errors
/// [`Error::Internal`] if the system's random number generator fails.
pub(super) fn fresh(now: Timestamp) -> Result<Secret, Error> {
    let mut random = [0; 32];
    getrandom::fill(&mut random)
        .map_err(|error| Error::Internal(format!("the system's random number generator failed: {error}")))?;
    Ok(Secret::from_bytes(&random, now))
}
