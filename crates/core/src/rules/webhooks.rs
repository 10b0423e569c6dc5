//! Creates, changes and deletes webhooks. Those of a tenant are a part of its manifest: [`super::change`] decides on them.

use super::Decision;
use super::change_builder::{ChangeBuilder, changes};
pub use super::webhook_rows::event;
use super::webhook_rows::{Step, changed, matched, new};
use crate::changes::{Changes, Conflict, Guard, Write};
use crate::decision_context::DecisionContext;
use crate::declared::Declared;
use crate::error::Error;
use crate::event::Event;
use crate::manifest::{MAX_WEBHOOKS, Manifest, WebhookManifest};
use crate::snapshot::TenantSnapshot;
use crate::webhook::{Webhook, WebhookOwner};

/// Decision on a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookDecision {
    /// The webhook after the change.
    pub webhook: Webhook,
    /// Changes to commit; `None` if nothing changes.
    pub changes: Option<Changes>,
}

/// Creates a webhook of an organization or of the platform. `others` are the webhooks of the same owner.
///
/// # Errors
/// [`Error::Conflict`] if the name is taken, [`Error::NotNow`] if the owner has the maximum number.
pub fn create(
    owner: WebhookOwner,
    others: &[Webhook],
    entry: &WebhookManifest,
    context: &mut DecisionContext,
) -> Result<WebhookDecision, Error> {
    may_add(others, entry)?;
    let webhook = new(owner, entry, context);
    let event = event(&webhook, "added", context);
    let guards = vec![Guard::WebhookUnused(webhook.full_name())];
    let changes = changes(vec![event], guards, vec![Write::InsertPlatformWebhook(webhook.clone())])?;
    Ok(WebhookDecision { webhook, changes })
}

/// What a decision on webhooks adds to the changes that contain it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Parts {
    /// Events, in order.
    pub events: Vec<Event>,
    /// Guards.
    pub guards: Vec<Guard>,
    /// Rows to write.
    pub writes: Vec<Write>,
}

/// Takes the webhooks of an organization or of the platform to the entries of a manifest. Returns them after the change,
/// sorted by name.
pub(super) fn to_entries(
    owner: &WebhookOwner,
    before: &[Webhook],
    entries: &[WebhookManifest],
    context: &mut DecisionContext,
) -> (Vec<Webhook>, Parts) {
    let (mut after, steps) = matched(owner, before, entries, context);
    let mut parts = Parts::default();
    for step in steps {
        let (webhook, change) = match step {
            Step::Removed(webhook) => {
                parts.guards.push(at(&webhook));
                parts.writes.push(Write::DeletePlatformWebhook(webhook.webhook_id.clone()));
                (webhook, "removed")
            }
            Step::Changed(known) => {
                parts.guards.push(at(&known));
                let webhook = Webhook { version: known.version + 1, ..known };
                parts.writes.push(Write::UpdatePlatformWebhook(webhook.clone()));
                put(&mut after, &webhook);
                (webhook, "changed")
            }
            Step::Added(webhook) => {
                parts.guards.push(Guard::WebhookUnused(webhook.full_name()));
                parts.writes.push(Write::InsertPlatformWebhook(webhook.clone()));
                (webhook, "added")
            }
        };
        parts.events.push(event(&webhook, change, context));
    }
    (after, parts)
}

/// Checks that an owner with these webhooks may have one more.
///
/// # Errors
/// [`Error::Conflict`] if the name is taken, [`Error::NotNow`] if the owner has the maximum number.
pub fn may_add(others: &[Webhook], entry: &WebhookManifest) -> Result<(), Error> {
    if others.iter().any(|other| other.name == entry.name) {
        return Err(Error::Conflict(Conflict::WebhookExists(entry.name.to_string())));
    }
    if others.len() >= MAX_WEBHOOKS {
        return Err(Error::NotNow(format!(
            "there are {MAX_WEBHOOKS} webhooks, which is the maximum: delete one first"
        )));
    }
    Ok(())
}

/// Changes a webhook of an organization or of the platform to what its manifest declares.
///
/// # Errors
/// [`Error::TooLarge`] if the audit event exceeds its limit.
pub fn change(
    before: &Webhook,
    entry: &WebhookManifest,
    context: &mut DecisionContext,
) -> Result<WebhookDecision, Error> {
    if &WebhookManifest::of(before) == entry {
        return Ok(WebhookDecision { webhook: before.clone(), changes: None });
    }
    updated(before, changed(before, entry, context), "changed", context)
}

/// Deletes a webhook of an organization or of the platform.
///
/// # Errors
/// None today.
pub fn delete(before: &Webhook, context: &mut DecisionContext) -> Result<WebhookDecision, Error> {
    let event = event(before, "removed", context);
    let writes = vec![Write::DeletePlatformWebhook(before.webhook_id.clone())];
    let changes = changes(vec![event], vec![at(before)], writes)?;
    Ok(WebhookDecision { webhook: before.clone(), changes })
}

/// Enables or disables a webhook of an organization or of the platform. Enabling it also ends that the server has disabled
/// it.
///
/// # Errors
/// None today.
pub fn switch(before: &Webhook, enabled: bool, context: &mut DecisionContext) -> Result<WebhookDecision, Error> {
    match switched(before, enabled, context) {
        None => Ok(WebhookDecision { webhook: before.clone(), changes: None }),
        Some((webhook, change)) => updated(before, webhook, change, context),
    }
}

/// Enables or disables a webhook of a tenant. The tenant gets a new version if its manifest says otherwise.
///
/// # Errors
/// The same as [`super::change::change`].
pub fn switch_of_tenant(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    before: &Webhook,
    enabled: bool,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let unchanged = || Ok(Decision { snapshot: snapshot.clone(), changes: None, warnings: Vec::new() });
    let Some((webhook, change)) = switched(before, enabled, context) else { return unchanged() };
    let write = Write::UpdateWebhookState(webhook.clone());
    if webhook.enabled == before.enabled {
        let event = event(&webhook, change, context);
        return with_write(declared, snapshot, &webhook, write, event, context);
    }
    let mut manifest = Manifest::of(snapshot);
    manifest.webhooks.iter_mut().filter(|entry| entry.name == before.name).for_each(|entry| entry.enabled = enabled);
    let mut decision = super::change::change(declared, snapshot, &manifest, Vec::new(), &[], context)?;
    if before.disabled_at != webhook.disabled_at
        && let Some(changes) = &mut decision.changes
    {
        changes.write(write);
        put(&mut decision.snapshot.webhooks, &webhook);
    }
    Ok(decision)
}

/// Sets encrypted secrets of a webhook of an organization or of the platform.
///
/// # Errors
/// None today.
pub fn rotate(before: &Webhook, sealed: String, context: &mut DecisionContext) -> Result<WebhookDecision, Error> {
    let webhook = Webhook { updated_at: context.now, ..before.clone() };
    let mut decision = updated(before, webhook, "rotated", context)?;
    if let Some(changes) = &mut decision.changes {
        changes.write(Write::SetWebhookSecrets(before.owner.clone(), before.webhook_id.clone(), sealed));
    }
    Ok(decision)
}

/// Sets encrypted secrets of a webhook of a tenant. The counter of the tenant increases, so that of two simultaneous
/// rotations the second one is decided again.
///
/// # Errors
/// None today.
pub fn rotate_of_tenant(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    before: &Webhook,
    sealed: String,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let write = Write::SetWebhookSecrets(before.owner.clone(), before.webhook_id.clone(), sealed);
    let event = event(before, "rotated", context);
    with_write(declared, snapshot, before, write, event, context)
}

/// Records that the server has disabled a webhook of a tenant, or anything else about it that is not in the manifest: the
/// write, the event, and the next value of the tenant's counter, which ends cached answers.
///
/// # Errors
/// [`Error::TooLarge`] if the event exceeds its limit.
pub fn with_write(
    declared: &Declared,
    snapshot: &TenantSnapshot,
    webhook: &Webhook,
    write: Write,
    event: Event,
    context: &mut DecisionContext,
) -> Result<Decision, Error> {
    let mut builder = ChangeBuilder::new(declared, snapshot, context);
    builder.facts_changed = true;
    builder.events.push(event);
    builder.writes.push(write);
    put(&mut builder.snapshot.webhooks, webhook);
    builder.finish(Vec::new())
}

/// Builds the update of a webhook of an organization or of the platform, with its next version.
///
/// # Errors
/// [`Error::TooLarge`] if the event exceeds its limit.
pub fn updated(
    before: &Webhook,
    after: Webhook,
    change: &str,
    context: &mut DecisionContext,
) -> Result<WebhookDecision, Error> {
    let webhook = Webhook { version: before.version + 1, ..after };
    let event = event(&webhook, change, context);
    let changes = changes(vec![event], vec![at(before)], vec![Write::UpdatePlatformWebhook(webhook.clone())])?;
    Ok(WebhookDecision { webhook, changes })
}

/// Returns the guard that a webhook of an organization or of the platform has not changed.
pub fn at(before: &Webhook) -> Guard {
    Guard::WebhookAt(before.webhook_id.clone(), before.version)
}

/// Returns the webhook after it was enabled or disabled, and the change; `None` if nothing changes.
fn switched(before: &Webhook, enabled: bool, context: &DecisionContext) -> Option<(Webhook, &'static str)> {
    let is_same = before.enabled == enabled && (!enabled || before.disabled_at.is_none());
    let (disabled_at, disabled_cause) = match enabled {
        true => (None, None),
        false => (before.disabled_at, before.disabled_cause.clone()),
    };
    let after = Webhook { enabled, disabled_at, disabled_cause, updated_at: context.now, ..before.clone() };
    (!is_same).then_some((after, if enabled { "enabled" } else { "disabled" }))
}

fn put(webhooks: &mut [Webhook], webhook: &Webhook) {
    webhooks.iter_mut().filter(|known| known.webhook_id == webhook.webhook_id).for_each(|known| {
        known.clone_from(webhook);
    });
}
