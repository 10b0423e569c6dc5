//! Creates, changes and deletes webhooks.

use super::entry::{entry, new_entry};
use super::{Found, Of, Owner, Shown, Written, by_name, find, owner, sealed};
use crate::authentication::Caller;
use crate::operations::documents::desired::How;
use crate::operations::{Command, Decided, moved, tenants};
use crate::precondition::Precondition;
use crate::tenancy::Tenancy;
use serde_json::Value;
use tenancy_core::changes::{Changes, Conflict, Write};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::manifest::{Manifest, WebhookManifest};
use tenancy_core::rules::change::change as change_tenant;
use tenancy_core::rules::organizations::takes_manifest;
use tenancy_core::rules::webhooks::{change, create, delete, may_add};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::webhook::{Secret, Secrets, Webhook};
use tenancy_core::{Error, Timestamp};

/// Creates a webhook. Its document can contain a secret, so it has no `Debug`.
pub struct Create {
    /// Owner.
    pub of: Of,
    /// Document of the request, which may contain a secret.
    pub document: Value,
    /// Optional precondition.
    pub precondition: Precondition,
}

impl Command for Create {
    type Outcome = Written;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        self.precondition.check_new()?;
        if let Of::Tenant(tenant) = &self.of {
            let snapshot = tenants::find(tenancy, caller, tenant).await?;
            let (entry, secret) = new_entry(&self.document, context.now)?;
            return add_to_tenant(tenancy, &snapshot, entry, secret, context).await;
        }
        let owner = open_owner(tenancy, caller, &self.of).await?;
        let (entry, secret) = new_entry(&self.document, context.now)?;
        add_to_platform(tenancy, &owner, &entry, secret, context).await
    }
}

/// Changes a webhook to what a document declares. Creates it if the precondition is `If-None-Match: *`.
#[derive(Debug)]
pub struct Change {
    /// Owner.
    pub of: Of,
    /// Name or id of the webhook.
    pub webhook: String,
    /// Document of the request.
    pub document: Value,
    /// How the document relates to the current entry.
    pub how: How,
    /// Precondition of the change.
    pub precondition: Precondition,
}

impl Command for Change {
    type Outcome = Written;

    fn moved<'a>(&self, conflict: &'a Conflict) -> Option<&'a str> {
        moved(conflict).or_else(|| match conflict {
            Conflict::WebhookExists(name) if self.creates() => Some(name),
            _ => None,
        })
    }

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        match &self.of {
            Of::Tenant(tenant) => {
                self.of_tenant(tenancy, &tenants::find(tenancy, caller, tenant).await?, context).await
            }
            of => self.of_platform(tenancy, caller, of, context).await,
        }
    }
}

impl Change {
    fn creates(&self) -> bool {
        self.precondition == Precondition::Nothing && self.how == How::Replace
    }

    async fn of_tenant(
        &self,
        tenancy: &Tenancy,
        snapshot: &TenantSnapshot,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let known = match find(snapshot, &self.webhook) {
            Ok(known) => known,
            Err(Error::NotFound { .. }) if self.creates() => {
                let entry = entry(&self.document, &self.webhook, None, self.how)?;
                return add_to_tenant(tenancy, snapshot, entry, None, context).await;
            }
            Err(missing) => return Err(missing),
        };
        self.precondition.check_document(&self.document, snapshot.tenant.terms.version)?;
        let found = Found::of_tenant(snapshot, known);
        let entry = entry(&self.document, known.name.as_str(), Some(&found), self.how)?;
        let mut manifest = Manifest::of(snapshot);
        manifest.webhooks.iter_mut().filter(|old| old.name == entry.name).for_each(|old| old.clone_from(&entry));
        let decision = change_tenant(&tenancy.declared, snapshot, &manifest, Vec::new(), &[], context)?;
        let found = Found::of_tenant(&decision.snapshot, find(&decision.snapshot, known.webhook_id.as_str())?);
        Ok(Decided { outcome: Written { found, created: false, secret: None }, changes: decision.changes })
    }

    async fn of_platform(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        of: &Of,
        context: &mut DecisionContext,
    ) -> Result<Decided<Written>, Error> {
        let owner = open_owner(tenancy, caller, of).await?;
        let known = match by_name(tenancy, &owner.id(), &self.webhook).await {
            Ok(known) => known,
            Err(Error::NotFound { .. }) if self.creates() => {
                let entry = entry(&self.document, &self.webhook, None, self.how)?;
                return add_to_platform(tenancy, &owner, &entry, None, context).await;
            }
            Err(missing) => return Err(missing),
        };
        self.precondition.check_document(&self.document, known.version)?;
        let found = Found::of_platform(known.clone());
        let entry = entry(&self.document, known.name.as_str(), Some(&found), self.how)?;
        let decision = owner.with(Some(&known), change(&known, &entry, context)?, context)?;
        let found = Found::of_platform(decision.webhook);
        Ok(Decided { outcome: Written { found, created: false, secret: None }, changes: decision.changes })
    }
}

/// Deletes a webhook.
#[derive(Debug)]
pub struct Remove {
    /// Owner.
    pub of: Of,
    /// Name or id of the webhook.
    pub webhook: String,
    /// Precondition of the change.
    pub precondition: Precondition,
    /// `version` in the body.
    pub read_at: Option<i64>,
}

impl Command for Remove {
    type Outcome = ();

    async fn decide(
        &self,
        tenancy: &Tenancy,
        caller: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<()>, Error> {
        let changes = match &self.of {
            Of::Tenant(tenant) => {
                let snapshot = tenants::find(tenancy, caller, tenant).await?;
                let known = find(&snapshot, &self.webhook)?;
                self.precondition.check(self.read_at, snapshot.tenant.terms.version)?;
                let mut manifest = Manifest::of(&snapshot);
                manifest.webhooks.retain(|entry| entry.name != known.name);
                change_tenant(&tenancy.declared, &snapshot, &manifest, Vec::new(), &[], context)?.changes
            }
            of => {
                let owner = owner(tenancy, caller, of).await?;
                let known = by_name(tenancy, &owner.id(), &self.webhook).await?;
                self.precondition.check(self.read_at, known.version)?;
                owner.with(Some(&known), delete(&known, context)?, context)?.changes
            }
        };
        Ok(Decided { outcome: (), changes })
    }
}

/// Returns the owner, which is no tenant, if it takes a new or changed webhook: an organization that is open.
///
/// # Errors
/// [`Error::NotFound`], [`Error::NotNow`].
async fn open_owner(tenancy: &Tenancy, caller: &Caller, of: &Of) -> Result<Owner, Error> {
    let owner = owner(tenancy, caller, of).await?;
    if let Owner::Organization(known) = &owner {
        takes_manifest(&known.organization)?;
    }
    Ok(owner)
}

async fn add_to_tenant(
    tenancy: &Tenancy,
    snapshot: &TenantSnapshot,
    entry: WebhookManifest,
    secret: Option<Secret>,
    context: &mut DecisionContext,
) -> Result<Decided<Written>, Error> {
    may_add(&snapshot.webhooks, &entry)?;
    let name = entry.name.clone();
    let mut manifest = Manifest::of(snapshot);
    manifest.webhooks.push(entry);
    manifest.webhooks.sort_by(|a, b| a.name.cmp(&b.name));
    let decision = change_tenant(&tenancy.declared, snapshot, &manifest, Vec::new(), &[], context)?;
    let webhook = decision.snapshot.webhooks.iter().find(|webhook| webhook.name == name);
    let Some(webhook) = webhook else { return Err(Error::not_found("webhook", name.as_str())) };
    let mut changes = decision.changes;
    let secret = with_secret(tenancy, webhook, secret, changes.as_mut(), context.now).await?;
    let found = Found::of_tenant(&decision.snapshot, webhook);
    Ok(Decided { outcome: Written { found, created: true, secret }, changes })
}

async fn add_to_platform(
    tenancy: &Tenancy,
    owner: &Owner,
    entry: &WebhookManifest,
    secret: Option<Secret>,
    context: &mut DecisionContext,
) -> Result<Decided<Written>, Error> {
    let id = owner.id();
    let others = tenancy.store.all_webhooks(&id).await?;
    let decision = owner.with(None, create(id, &others, entry, context)?, context)?;
    let mut changes = decision.changes;
    let secret = with_secret(tenancy, &decision.webhook, secret, changes.as_mut(), context.now).await?;
    let found = Found::of_platform(decision.webhook);
    Ok(Decided { outcome: Written { found, created: true, secret }, changes })
}

/// Adds the first secret of a new webhook to its changes: the given one, or one that is made here. Returns it, to be shown.
async fn with_secret(
    tenancy: &Tenancy,
    webhook: &Webhook,
    given: Option<Secret>,
    changes: Option<&mut Changes>,
    now: Timestamp,
) -> Result<Option<Shown>, Error> {
    let secret = match given {
        Some(secret) => secret,
        None => super::rotate::fresh(now)?,
    };
    let Some(changes) = changes else { return Ok(None) };
    let sealed = sealed(tenancy, webhook, &Secrets::new(secret.clone())).await?;
    changes.write(Write::SetWebhookSecrets(webhook.owner.clone(), webhook.webhook_id.clone(), sealed));
    Ok(Some(Shown(secret.text)))
}
