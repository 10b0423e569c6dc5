//! Webhooks of tenants, of organizations and of the platform: read and change.
//!
//! A webhook of a tenant is a part of the tenant's manifest, and each change of it is a change of that manifest. Other
//! webhooks are rows with a version of their own. Those of an organization are a part of its manifest, too: a change of one
//! is also a new version of the organization.

mod change;
pub mod deliveries;
mod entry;
mod rotate;
mod switch;
pub mod urls;

pub use change::{Change, Create, Remove};
pub use rotate::Rotate;
pub use switch::Switch;

use super::{organizations, tenants};
use crate::authentication::Caller;
use crate::tenancy::Tenancy;
use tenancy_core::Error;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::nearest::nearest;
use tenancy_core::rules::organizations::with_webhook;
use tenancy_core::rules::webhooks::WebhookDecision;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::webhook::{Secrets, Webhook, WebhookOwner, secret_row};
use tenancy_store::page::{Listed, Page};
use tenancy_store::read::OrganizationRecord;

/// Owner of a webhook, as a request names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Of {
    /// A tenant, by id or alias.
    Tenant(String),
    /// An organization, by id.
    Organization(String),
    /// The platform.
    Platform,
}

/// A webhook with the version that a change of it names.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The webhook.
    pub webhook: Webhook,
    /// Its version, or that of its tenant.
    pub version: i64,
    /// Counter of its tenant, if a tenant is the owner.
    pub counter: Option<i64>,
}

/// Result of a write of a webhook.
#[derive(Debug)]
pub struct Written {
    /// The webhook after the write.
    pub found: Found,
    /// Whether the write created it.
    pub created: bool,
    /// Text of the secret that the write made.
    pub secret: Option<Shown>,
}

/// Text of a secret, for the one answer that shows it. `Debug` does not show it.
pub struct Shown(pub String);

impl std::fmt::Debug for Shown {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Shown(…)")
    }
}

impl Found {
    /// Returns a webhook of a tenant.
    fn of_tenant(snapshot: &TenantSnapshot, webhook: &Webhook) -> Self {
        let (version, counter) = (snapshot.tenant.terms.version, snapshot.tenant.facts.counter);
        Self { webhook: webhook.clone(), version, counter: Some(counter) }
    }

    /// Returns a webhook of an organization or of the platform.
    fn of_platform(webhook: Webhook) -> Self {
        Self { version: webhook.version, webhook, counter: None }
    }

    /// Returns the tag of the webhook, without its digest.
    pub fn tag(&self) -> String {
        match self.counter {
            Some(counter) => format!("{}.{counter}", self.version),
            None => self.version.to_string(),
        }
    }
}

/// Returns a page of the webhooks of an owner, each with its version.
///
/// # Errors
/// [`Error::NotFound`] if the owner does not exist for the caller.
pub async fn list(tenancy: &Tenancy, caller: &Caller, of: &Of, page: &Page) -> Result<Listed<Found>, Error> {
    let (owner, version) = match of {
        Of::Tenant(name) => {
            let stamp = tenants::reach(tenancy, caller, name).await?;
            (WebhookOwner::Tenant(stamp.tenant_id), Some((stamp.version, stamp.counter)))
        }
        _ => (platform_owner(tenancy, caller, of).await?, None),
    };
    let listed = tenancy.store.webhooks(&owner, page).await?;
    let found = |webhook: Webhook| match version {
        Some((version, counter)) => Found { webhook, version, counter: Some(counter) },
        None => Found::of_platform(webhook),
    };
    let items = listed.items.into_iter().map(found).collect();
    Ok(Listed { items, unreadable: listed.unreadable, next: listed.next })
}

/// Returns the webhook of an owner with this name or id.
///
/// # Errors
/// [`Error::NotFound`], with the nearest name.
pub async fn get(tenancy: &Tenancy, caller: &Caller, of: &Of, name: &str) -> Result<Found, Error> {
    if let Of::Tenant(tenant) = of {
        let snapshot = tenants::find(tenancy, caller, tenant).await?;
        return find(&snapshot, name).map(|webhook| Found::of_tenant(&snapshot, webhook));
    }
    let owner = platform_owner(tenancy, caller, of).await?;
    by_name(tenancy, &owner, name).await.map(Found::of_platform)
}

/// Returns the webhook of a tenant with this name or id.
///
/// # Errors
/// [`Error::NotFound`], with the nearest name.
fn find<'a>(snapshot: &'a TenantSnapshot, name: &str) -> Result<&'a Webhook, Error> {
    let webhooks = &snapshot.webhooks;
    let by_id = webhooks.iter().find(|webhook| webhook.webhook_id.as_str() == name);
    let found = by_id.or_else(|| webhooks.iter().find(|webhook| webhook.name.as_str() == name));
    found.ok_or_else(|| missing(&format!("{}/{name}", snapshot.tenant.tenant_id), name, webhooks))
}

/// Returns the webhook of an organization or of the platform.
///
/// # Errors
/// [`Error::NotFound`], with the nearest name.
async fn by_name(tenancy: &Tenancy, owner: &WebhookOwner, name: &str) -> Result<Webhook, Error> {
    if let Some(webhook) = tenancy.store.webhook(owner, name).await? {
        return Ok(webhook);
    }
    let others = tenancy.store.all_webhooks(owner).await?;
    let full_name = owner.organization_id().map_or_else(|| name.to_owned(), |id| format!("{id}/{name}"));
    Err(missing(&full_name, name, &others))
}

fn missing(full_name: &str, name: &str, others: &[Webhook]) -> Error {
    let nearest = nearest(name, others.iter().map(|webhook| webhook.name.as_str())).map(str::to_owned);
    Error::NotFound { kind: "webhook", id: full_name.to_owned(), nearest }
}

/// An owner that is no tenant.
enum Owner {
    Organization(Box<OrganizationRecord>),
    Platform,
}

impl Owner {
    fn id(&self) -> WebhookOwner {
        match self {
            Self::Organization(known) => WebhookOwner::Organization(known.organization.organization_id.clone()),
            Self::Platform => WebhookOwner::Platform,
        }
    }

    /// Returns the decision on a webhook with what it changes about the owner. `before` is the webhook before it.
    ///
    /// # Errors
    /// The error of the rule.
    fn with(
        &self,
        before: Option<&Webhook>,
        decision: WebhookDecision,
        context: &mut DecisionContext,
    ) -> Result<WebhookDecision, Error> {
        match self {
            Self::Organization(known) => with_webhook(&known.organization, before, decision, context),
            Self::Platform => Ok(decision),
        }
    }
}

/// Returns the owner, which is no tenant, if it exists for the caller. The route has checked the permission for the
/// platform.
///
/// # Errors
/// [`Error::NotFound`].
async fn owner(tenancy: &Tenancy, caller: &Caller, of: &Of) -> Result<Owner, Error> {
    match of {
        Of::Organization(id) => {
            let found = organizations::find(tenancy, caller, id).await?;
            Ok(Owner::Organization(Box::new(found)))
        }
        Of::Platform => Ok(Owner::Platform),
        Of::Tenant(name) => Err(Error::not_found("organization", name)),
    }
}

/// Returns whose webhooks a request that names no tenant is about.
///
/// # Errors
/// [`Error::NotFound`].
async fn platform_owner(tenancy: &Tenancy, caller: &Caller, of: &Of) -> Result<WebhookOwner, Error> {
    owner(tenancy, caller, of).await.map(|owner| owner.id())
}

/// Encrypts the secrets of a webhook, to be stored.
///
/// # Errors
/// [`Error::Unavailable`] if the key service does not answer.
async fn sealed(tenancy: &Tenancy, webhook: &Webhook, secrets: &Secrets) -> Result<String, Error> {
    let row = secret_row(&webhook.webhook_id);
    tenancy.store.seal_for(webhook.owner.key_owner(), &row, &secrets.to_text()).await
}
