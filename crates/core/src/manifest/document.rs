//! The manifest as a type and as a document.

use crate::environment::IsolationLevel;
use crate::ids::{Alias, OrganizationId, TenantId, WebhookName};
use crate::json::Object;
use crate::snapshot::TenantSnapshot;
use crate::tenant::{DesiredState, Labels, Profile, Terms};
use crate::webhook::{Format, Webhook};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum number of environments of a tenant.
pub const MAX_ENVIRONMENTS: usize = 64;
/// Maximum number of labels of a tenant.
pub const MAX_LABELS: usize = 64;
/// Maximum number of aliases of a tenant.
pub const MAX_ALIASES: usize = 64;
/// Maximum number of webhooks of a tenant.
pub const MAX_WEBHOOKS: usize = 64;
/// Maximum number of members of `quotas`, `policies` or `billing`.
pub const MAX_MEMBERS: usize = 64;
/// Maximum size of `quotas`, `policies` or `billing`, in bytes of canonical JSON. An audit event with its private part
/// can contain the value before and after a change.
pub const MAX_MEMBERS_BYTES: usize = 16 * 1024;
/// Maximum nesting of a member of `quotas`, `policies` or `billing`. A response that contains an event with the member
/// stays far below the nesting that JSON parsers accept.
pub const MAX_NESTING: usize = 16;
/// Maximum length of a display name, in bytes.
pub const MAX_DISPLAY_NAME_BYTES: usize = 255;

/// Entry of an environment.
#[derive(Debug, Clone, PartialEq)]
pub struct EnvironmentManifest {
    /// Declared name, unique within the tenant.
    pub name: String,
    /// Region in effect.
    pub region: String,
    /// Whether the entry gives a region. Otherwise the environment follows the region of the tenant.
    pub region_given: bool,
    /// Isolation from other tenants. Defaults to `strict`.
    pub isolation_level: IsolationLevel,
    /// Share of the environment in the quotas of the tenant.
    pub quotas: Object,
    /// Number of days that the data is kept. Defaults to `policies.retentionDays`, which is also its maximum. If
    /// neither is set, data is kept indefinitely.
    pub retention_days: Option<i64>,
}

/// Entry of a webhook.
#[derive(Debug, Clone, PartialEq)]
pub struct WebhookManifest {
    /// Name, unique within the tenant.
    pub name: WebhookName,
    /// URL that receives the events.
    pub url: String,
    /// Event types. An entry may end in `*`.
    pub events: Vec<String>,
    /// Retry policy, as far as it is given.
    pub retry_policy: Object,
    /// Maximum number of attempts per second; `None` for no limit.
    pub max_per_second: Option<i64>,
    /// Maximum number of attempts at the same time.
    pub max_in_flight: Option<i64>,
    /// Time limit of one attempt, in seconds.
    pub timeout_seconds: Option<i64>,
    /// Format of the requests. Defaults to `standard`.
    pub format: Format,
    /// Whether the webhook receives events. Defaults to `true`.
    pub enabled: bool,
}

/// Manifest of a tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Id that the client chose; `None` if the server generates one.
    pub tenant_id: Option<TenantId>,
    /// Organization that owns the tenant.
    pub organization_id: OrganizationId,
    /// Display name, for people.
    pub display_name: Option<String>,
    /// Profile. Defaults to `mt-standard`.
    pub profile: Profile,
    /// Desired state; `None` if the tenant stays in its current state.
    pub desired_state: Option<DesiredState>,
    /// Home region.
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
    /// If true, the tenant cannot be deleted.
    pub deletion_protection: bool,
    /// Environments, sorted by name.
    pub environments: Vec<EnvironmentManifest>,
    /// Webhooks, sorted by name.
    pub webhooks: Vec<WebhookManifest>,
}

impl Manifest {
    /// Returns the current manifest of a tenant.
    pub fn of(snapshot: &TenantSnapshot) -> Self {
        let (tenant, terms) = (&snapshot.tenant, &snapshot.tenant.terms);
        let environments = snapshot.environments.iter().map(|e| EnvironmentManifest {
            name: e.name.clone(),
            region: e.region.clone(),
            // A process of an earlier release can move an environment without knowing that it follows its tenant.
            region_given: e.region_given || e.region != terms.region,
            isolation_level: e.isolation_level,
            quotas: e.quotas.clone(),
            retention_days: e.retention_days,
        });
        let webhooks = snapshot.webhooks.iter().map(WebhookManifest::of);
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

    /// Returns the terms of the tenant's row, with `version`.
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

    /// Returns the manifest as a document, without fields that are not set.
    pub fn document(&self) -> Value {
        self.clone().into_document()
    }

    /// Same as [`Manifest::document`], but consumes the manifest.
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
    /// Returns the entry as it appears in a manifest: with the region only if the entry gives one.
    pub fn document(&self) -> Value {
        let mut document = json!({"name": self.name, "isolation_level": self.isolation_level});
        if self.region_given {
            document["region"] = json!(self.region);
        }
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
    /// Returns the current manifest entry of a webhook.
    pub fn of(webhook: &Webhook) -> Self {
        Self {
            name: webhook.name.clone(),
            url: webhook.url.clone(),
            events: webhook.events.clone(),
            retry_policy: webhook.retry_policy.clone(),
            max_per_second: webhook.max_per_second,
            max_in_flight: webhook.max_in_flight,
            timeout_seconds: webhook.timeout_seconds,
            format: webhook.format,
            enabled: webhook.enabled,
        }
    }

    /// Returns the entry as it appears in a manifest, without fields that have their default.
    pub fn document(&self) -> Value {
        let mut document = json!({"name": self.name, "url": self.url, "events": self.events});
        if !self.retry_policy.is_empty() {
            document["retry_policy"] = Value::Object(self.retry_policy.clone());
        }
        let numbers = [
            ("max_per_second", self.max_per_second),
            ("max_in_flight", self.max_in_flight),
            ("timeout_seconds", self.timeout_seconds),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                document[name] = json!(number);
            }
        }
        if self.format != Format::Standard {
            document["format"] = json!(self.format);
        }
        if !self.enabled {
            document["enabled"] = json!(false);
        }
        document
    }
}

/// Returns `{kind: value}`, or `{kind: [values]}` if a kind has several values.
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
