//! What a manifest is, and how it is written as a document.

use crate::environment::IsolationLevel;
use crate::ids::{Alias, OrganizationId, TenantId, WebhookName};
use crate::json::Object;
use crate::snapshot::TenantSnapshot;
use crate::tenant::{DesiredState, Labels, Profile, Terms};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Most environments of a tenant.
pub const MAX_ENVIRONMENTS: usize = 64;
/// Most labels of a tenant.
pub const MAX_LABELS: usize = 64;
/// Most aliases of a tenant.
pub const MAX_ALIASES: usize = 64;
/// Most webhooks of a tenant.
pub const MAX_WEBHOOKS: usize = 64;
/// Most members of `quotas`, `policies` or `billing`.
pub const MAX_MEMBERS: usize = 64;
/// Largest `quotas`, `policies` or `billing`, in bytes of canonical JSON: small enough for an audit event, with what
/// stands beside it, that says what one of them was and what it is.
pub const MAX_MEMBERS_BYTES: usize = 16 * 1024;
/// Deepest nesting of a member of `quotas`, `policies` or `billing`: what is read back, inside an event inside an answer,
/// stays far below the depth that JSON parsers take.
pub const MAX_NESTING: usize = 16;
/// Longest display name, in bytes.
pub const MAX_DISPLAY_NAME_BYTES: usize = 255;

/// An environment's entry.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentManifest {
    /// Declared, unique within the tenant.
    pub name: String,
    /// Where; the tenant's region when it is left out.
    pub region: String,
    /// How far isolated; `strict` when it is left out.
    pub isolation_level: IsolationLevel,
    /// Its share of the tenant's quotas.
    pub quotas: Object,
    /// How long its data is kept. Left out: the tenant's `policies.retentionDays`, or else without end.
    pub retention_days: Option<i64>,
}

/// A webhook's entry.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookManifest {
    /// Unique within the tenant.
    pub name: WebhookName,
    /// Where events go.
    pub url: String,
    /// Event types; one may end in `*`.
    pub events: Vec<String>,
    /// `backoff` and `max_retries`.
    pub retry_policy: Object,
}

/// A whole manifest of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// The client's choice; `None`: to be made.
    pub tenant_id: Option<TenantId>,
    /// The owner.
    pub organization_id: OrganizationId,
    /// For people.
    pub display_name: Option<String>,
    /// The profile; `mt-standard` when it is left out.
    pub profile: Profile,
    /// The wish.
    pub desired_state: Option<DesiredState>,
    /// The home region.
    pub region: String,
    /// Labels.
    pub labels: Labels,
    /// Aliases.
    pub aliases: BTreeSet<Alias>,
    /// Quotas.
    pub quotas: Object,
    /// Policies.
    pub policies: Object,
    /// Billing references.
    pub billing: Object,
    /// While it stands, the tenant cannot be deleted.
    pub deletion_protection: bool,
    /// Sorted by name, whatever order they were sent in.
    pub environments: Vec<EnvironmentManifest>,
    /// Sorted by name.
    pub webhooks: Vec<WebhookManifest>,
}

impl Manifest {
    /// The manifest that a tenant is at.
    pub fn of(snapshot: &TenantSnapshot) -> Self {
        let (tenant, terms) = (&snapshot.tenant, &snapshot.tenant.terms);
        let environments = snapshot.environments.iter().map(|e| EnvironmentManifest {
            name: e.name.clone(),
            region: e.region.clone(),
            isolation_level: e.isolation_level,
            quotas: e.quotas.clone(),
            retention_days: e.retention_days,
        });
        let webhooks = snapshot.webhooks.iter().map(|w| WebhookManifest {
            name: w.name.clone(),
            url: w.url.clone(),
            events: w.events.clone(),
            retry_policy: w.retry_policy.clone(),
        });
        Self {
            tenant_id: Some(tenant.tenant_id.clone()),
            organization_id: tenant.organization_id.clone(),
            display_name: terms.display_name.clone(),
            profile: terms.profile,
            desired_state: terms.desired_state,
            region: terms.region.clone(),
            labels: terms.labels.clone(),
            aliases: snapshot.aliases.iter().cloned().collect(),
            quotas: terms.quotas.clone(),
            policies: terms.policies.clone(),
            billing: terms.billing.clone(),
            deletion_protection: terms.deletion_protection,
            environments: environments.collect(),
            webhooks: webhooks.collect(),
        }
    }

    /// What it says of the tenant's own row, as `version`.
    pub fn terms(&self, version: i64) -> Terms {
        Terms {
            display_name: self.display_name.clone(),
            profile: self.profile,
            desired_state: self.desired_state,
            region: self.region.clone(),
            labels: self.labels.clone(),
            quotas: self.quotas.clone(),
            policies: self.policies.clone(),
            billing: self.billing.clone(),
            deletion_protection: self.deletion_protection,
            version,
        }
    }

    /// The manifest as a document, in the words in which it is written; what is not set is left out.
    pub fn document(&self) -> Value {
        self.clone().into_document()
    }

    /// As [`Manifest::document`].
    pub fn into_document(self) -> Value {
        let mut document = Object::new();
        let mut put = |name: &str, value: Value| {
            let empty = match &value {
                Value::Null | Value::Bool(false) => true,
                Value::Object(object) => object.is_empty(),
                Value::Array(items) => items.is_empty(),
                _ => false,
            };
            if !empty {
                document.insert(name.to_owned(), value);
            }
        };
        put("organization_id", json!(self.organization_id));
        put("profile", json!(self.profile));
        put("region", Value::String(self.region));
        put("tenant_id", json!(self.tenant_id));
        put("display_name", json!(self.display_name));
        put("desired_state", json!(self.desired_state));
        put("labels", json!(self.labels));
        put("aliases", aliases_document(&self.aliases));
        put("quotas", Value::Object(self.quotas));
        put("policies", Value::Object(self.policies));
        put("billing", Value::Object(self.billing));
        put("deletion_protection", Value::Bool(self.deletion_protection));
        put("environments", self.environments.iter().map(EnvironmentManifest::document).collect());
        put("webhooks", self.webhooks.iter().map(WebhookManifest::document).collect());
        Value::Object(document)
    }
}

impl EnvironmentManifest {
    /// The entry as it is written in a manifest.
    pub fn document(&self) -> Value {
        let mut document = json!({"name": self.name, "region": self.region, "isolation_level": self.isolation_level});
        if !self.quotas.is_empty() {
            document["quotas"] = Value::Object(self.quotas.clone());
        }
        if let Some(days) = self.retention_days {
            document["retention_days"] = json!(days);
        }
        document
    }
}

impl WebhookManifest {
    /// The entry as it is written in a manifest.
    pub fn document(&self) -> Value {
        let mut document = json!({"name": self.name, "url": self.url, "events": self.events});
        if !self.retry_policy.is_empty() {
            document["retry_policy"] = Value::Object(self.retry_policy.clone());
        }
        document
    }
}

/// `{kind: value}`, or `{kind: [values]}` where a kind has several.
pub fn aliases_document<'a>(aliases: impl IntoIterator<Item = &'a Alias>) -> Value {
    let mut kinds = BTreeMap::<&str, Vec<&str>>::new();
    for alias in aliases {
        kinds.entry(alias.kind()).or_default().push(alias.value());
    }
    let one_or_many = |values: Vec<&str>| match values.as_slice() {
        [one] => json!(one),
        many => json!(many),
    };
    kinds.into_iter().map(|(kind, values)| (kind.to_owned(), one_or_many(values))).collect()
}
