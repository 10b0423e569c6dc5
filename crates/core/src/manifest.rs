//! The manifest: the declared wish for a tenant with its environments and webhooks.

use crate::declared::Declared;
use crate::document::{Fields, Findings, one_of};
use crate::environment::IsolationLevel;
use crate::error::{Error, Violation};
use crate::event::is_pattern;
use crate::ids::{Alias, OrganizationId, TenantId, WebhookName};
use crate::json::{Object, Pointer};
use crate::quotas::{MAX_RETENTION_DAYS, check_policies, check_quotas};
use crate::tenant::{Dossier, Labels, Profile, Wish};
use crate::webhook::MAX_URL_LENGTH_BYTES;
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
    /// How long its data is kept.
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
    pub desired_state: Option<Wish>,
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
    /// By name, in declared order.
    pub environments: Vec<EnvironmentManifest>,
    /// By name.
    pub webhooks: Vec<WebhookManifest>,
}

impl Manifest {
    /// Reads a whole manifest and says everything that is wrong with it, and what looks like a slip.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every violation.
    pub fn parse(declared: &Declared, document: &Value) -> Result<(Self, Vec<Violation>), Error> {
        let mut findings = Findings::default();
        let manifest = read_tenant(declared, document, &mut findings);
        if let Some(manifest) = &manifest {
            crate::rules::check::consistency(declared, manifest, &mut findings);
        }
        findings.finish(manifest)
    }

    /// The manifest that a tenant is at.
    pub fn of(dossier: &Dossier) -> Self {
        let tenant = &dossier.tenant;
        let environments = dossier.environments.iter().map(|e| EnvironmentManifest {
            name: e.name.clone(),
            region: e.region.clone(),
            isolation_level: e.isolation_level,
            quotas: e.quotas.clone(),
            retention_days: e.retention_days,
        });
        let webhooks = dossier.webhooks.iter().map(|w| WebhookManifest {
            name: w.name.clone(),
            url: w.url.clone(),
            events: w.events.clone(),
            retry_policy: w.retry_policy.clone(),
        });
        Self {
            tenant_id: Some(tenant.tenant_id.clone()),
            organization_id: tenant.organization_id.clone(),
            display_name: tenant.display_name.clone(),
            profile: tenant.profile,
            desired_state: tenant.desired_state,
            region: tenant.region.clone(),
            labels: tenant.labels.clone(),
            aliases: dossier.aliases.iter().cloned().collect(),
            quotas: tenant.quotas.clone(),
            policies: tenant.policies.clone(),
            billing: tenant.billing.clone(),
            deletion_protection: tenant.deletion_protection,
            environments: environments.collect(),
            webhooks: webhooks.collect(),
        }
    }

    /// The manifest as a document, in the words in which it is written; what is not set is left out.
    pub fn document(&self) -> Value {
        let mut document = json!({
            "organization_id": self.organization_id,
            "profile": self.profile,
            "region": self.region,
        });
        let mut put = |name: &str, value: Value| {
            let empty = match &value {
                Value::Null | Value::Bool(false) => true,
                Value::Object(object) => object.is_empty(),
                Value::Array(items) => items.is_empty(),
                _ => false,
            };
            if !empty {
                document[name] = value;
            }
        };
        put("tenant_id", json!(self.tenant_id));
        put("display_name", json!(self.display_name));
        put("desired_state", json!(self.desired_state));
        put("labels", json!(self.labels));
        put("aliases", aliases_document(&self.aliases));
        put("quotas", Value::Object(self.quotas.clone()));
        put("policies", Value::Object(self.policies.clone()));
        put("billing", Value::Object(self.billing.clone()));
        put("deletion_protection", Value::Bool(self.deletion_protection));
        put("environments", self.environments.iter().map(EnvironmentManifest::document).collect());
        put("webhooks", self.webhooks.iter().map(WebhookManifest::document).collect());
        document
    }
}

impl EnvironmentManifest {
    /// Reads one environment's entry, on its own.
    ///
    /// # Errors
    /// [`Error::Invalid`] with every violation.
    pub fn parse(declared: &Declared, document: &Value, tenant_region: &str) -> Result<(Self, Vec<Violation>), Error> {
        let mut findings = Findings::default();
        let entry = read_environment(declared, document, Pointer::root(), Some(tenant_region), &mut findings);
        findings.finish(entry)
    }

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

fn read_tenant(declared: &Declared, document: &Value, findings: &mut Findings) -> Option<Manifest> {
    let mut fields = Fields::of(document, Pointer::root(), findings)?;
    let tenant_id = fields.name("tenant_id", findings, TenantId::parse);
    if document.get("organization_id").is_none_or(Value::is_null) {
        findings.bad(&fields.at("organization_id"), "required", "organization_id is required: who owns the tenant");
    }
    let organization_id = fields.name("organization_id", findings, OrganizationId::parse);
    let region = fields.required_text("region", 64, findings);
    check_region(declared, region.as_deref(), &fields.at("region"), findings);
    let quotas = members(&mut fields, "quotas", findings);
    check_quotas(declared, &quotas, &fields.at("quotas"), findings);
    let policies = members(&mut fields, "policies", findings);
    check_policies(&policies, &fields.at("policies"), findings);
    let environments = entries(&mut fields, "environments", MAX_ENVIRONMENTS, findings, |value, at, findings| {
        let entry = read_environment(declared, value, at, region.as_deref(), findings)?;
        Some((entry.name.clone(), entry))
    });
    let webhooks = entries(&mut fields, "webhooks", MAX_WEBHOOKS, findings, |value, at, findings| {
        let entry = read_webhook(value, at, findings)?;
        Some((entry.name.to_string(), entry))
    });
    let manifest = Manifest {
        tenant_id,
        organization_id: organization_id.unwrap_or_else(|| OrganizationId::known("")),
        display_name: fields.text("display_name", MAX_DISPLAY_NAME_BYTES, findings),
        profile: fields.word("profile", Profile::WORDS, findings).unwrap_or(Profile::Standard),
        desired_state: fields.word("desired_state", Wish::WORDS, findings),
        region: region.unwrap_or_default(),
        labels: read_labels(&mut fields, findings),
        aliases: read_aliases(&mut fields, findings),
        quotas,
        policies,
        billing: members(&mut fields, "billing", findings),
        deletion_protection: fields.flag("deletion_protection", findings).unwrap_or(false),
        environments: in_declared_order(declared, environments),
        webhooks: webhooks.into_values().collect(),
    };
    fields.no_others(findings);
    Some(manifest)
}

fn in_declared_order(
    declared: &Declared,
    environments: BTreeMap<String, EnvironmentManifest>,
) -> Vec<EnvironmentManifest> {
    let mut environments: Vec<_> = environments.into_values().collect();
    environments.sort_by_key(|entry| declared.environment_order(&entry.name));
    environments
}

fn check_region(declared: &Declared, region: Option<&str>, at: &Pointer, findings: &mut Findings) {
    if let Some(region) = region.filter(|region| !declared.regions.contains_key(*region)) {
        let known: Vec<_> = declared.regions.keys().map(String::as_str).collect();
        findings.bad(at, "undeclared_region", one_of(region, &known));
    }
}

/// An object of at most [`MAX_MEMBERS`] members; members that are null count as absent.
fn members(fields: &mut Fields<'_>, name: &'static str, findings: &mut Findings) -> Object {
    let Some(object) = fields.object(name, findings) else { return Object::new() };
    if object.len() > MAX_MEMBERS {
        findings.bad(&fields.at(name), "out_of_range", format!("at most {MAX_MEMBERS} members, not {}", object.len()));
    }
    object.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect()
}

/// A list of objects with a `name` each, which must be unique.
fn entries<T>(
    fields: &mut Fields<'_>,
    list: &'static str,
    max: usize,
    findings: &mut Findings,
    read: impl Fn(&Value, Pointer, &mut Findings) -> Option<(String, T)>,
) -> BTreeMap<String, T> {
    let at = fields.at(list);
    let mut found = BTreeMap::new();
    for (index, value) in fields.list(list, max, findings).iter().enumerate() {
        let at = at.index(index);
        let Some((name, entry)) = read(value, at.clone(), findings) else { continue };
        if found.contains_key(&name) {
            findings.bad(&at.key("name"), "duplicate", format!("{name:?} stands twice in {list}"));
        }
        found.insert(name, entry);
    }
    found
}

fn read_environment(
    declared: &Declared,
    document: &Value,
    at: Pointer,
    tenant_region: Option<&str>,
    findings: &mut Findings,
) -> Option<EnvironmentManifest> {
    let mut fields = Fields::of(document, at, findings)?;
    let name = fields.required_text("name", 32, findings);
    if let Some(name) = name.as_ref().filter(|name| !declared.environments.contains(name)) {
        let known: Vec<_> = declared.environments.iter().map(String::as_str).collect();
        findings.bad(&fields.at("name"), "undeclared_environment", one_of(name, &known));
    }
    let region = fields.text("region", 64, findings);
    check_region(declared, region.as_deref(), &fields.at("region"), findings);
    let quotas = members(&mut fields, "quotas", findings);
    check_quotas(declared, &quotas, &fields.at("quotas"), findings);
    let level = fields.word("isolation_level", IsolationLevel::WORDS, findings);
    let retention_days = fields.integer("retention_days", 1..=MAX_RETENTION_DAYS, findings);
    fields.no_others(findings);
    Some(EnvironmentManifest {
        name: name?,
        region: region.or(tenant_region.map(str::to_owned))?,
        isolation_level: level.unwrap_or(IsolationLevel::Strict),
        quotas,
        retention_days,
    })
}

fn read_webhook(document: &Value, at: Pointer, findings: &mut Findings) -> Option<WebhookManifest> {
    let mut fields = Fields::of(document, at, findings)?;
    if document.get("name").is_none() {
        findings.bad(&fields.at("name"), "required", "name is required");
    }
    let name = fields.name("name", findings, WebhookName::parse);
    let url = fields.required_text("url", MAX_URL_LENGTH_BYTES, findings);
    let scheme = |url: &&String| url.starts_with("https://") || url.starts_with("http://");
    if url.as_ref().is_some_and(|url| !scheme(&url)) {
        findings.bad(&fields.at("url"), "bad_url", "must begin with https:// or http://");
    }
    let events_at = fields.at("events");
    let mut events = Vec::new();
    for (index, value) in fields.list("events", 64, findings).iter().enumerate() {
        match value.as_str().filter(|pattern| is_pattern(pattern)) {
            Some(pattern) => events.push(pattern.to_owned()),
            None => findings.bad(&events_at.index(index), "unknown_event", format!("{value} names no event type")),
        }
    }
    if document.get("events").is_none() {
        findings.bad(&events_at, "required", "events is required: at least one event type, such as \"TENANCY_*\"");
    }
    let retry_policy = read_retry_policy(&mut fields, findings);
    fields.no_others(findings);
    Some(WebhookManifest { name: name?, url: url?, events, retry_policy })
}

fn read_retry_policy(fields: &mut Fields<'_>, findings: &mut Findings) -> Object {
    let at = fields.at("retry_policy");
    let Some(object) = fields.object("retry_policy", findings) else { return Object::new() };
    let value = Value::Object(object.clone());
    if let Some(mut policy) = Fields::of(&value, at, findings) {
        policy.word("backoff", &[("exponential", ()), ("fixed", ())], findings);
        policy.integer("max_retries", 0..=100, findings);
        policy.no_others(findings);
    }
    object.clone()
}

/// Labels: keys of 1 to 63 letters, digits and `._-/`, values of up to 255 bytes.
pub fn read_labels(fields: &mut Fields<'_>, findings: &mut Findings) -> Labels {
    let at = fields.at("labels");
    let object = fields.object("labels", findings).cloned().unwrap_or_default();
    if object.len() > MAX_LABELS {
        findings.bad(&at, "out_of_range", format!("at most {MAX_LABELS} labels, not {}", object.len()));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let mut labels = Labels::new();
    for (key, value) in object {
        if key.is_empty() || key.len() > 63 || !key.chars().all(plain) {
            findings.bad(&at.key(&key), "bad_name", "a label's key is 1 to 63 of letters, digits and . _ - /");
        }
        match value {
            Value::Null => {}
            Value::String(text) if text.len() <= 255 && !text.chars().any(char::is_control) => {
                labels.insert(key, text);
            }
            _ => findings.bad(&at.key(&key), "wrong_type", "a label's value is text of at most 255 bytes"),
        }
    }
    labels
}

fn read_aliases(fields: &mut Fields<'_>, findings: &mut Findings) -> BTreeSet<Alias> {
    let at = fields.at("aliases");
    let mut aliases = BTreeSet::new();
    for (kind, value) in fields.object("aliases", findings).into_iter().flatten() {
        let values = match value {
            Value::Array(values) => values.as_slice(),
            Value::Null => &[],
            one => std::slice::from_ref(one),
        };
        for value in values {
            match value.as_str().ok_or("must be text, or a list of texts".to_owned()).and_then(|v| Alias::new(kind, v))
            {
                Ok(alias) => drop(aliases.insert(alias)),
                Err(message) => findings.bad(&at.key(kind), "bad_alias", message),
            }
        }
    }
    if aliases.len() > MAX_ALIASES {
        findings.bad(&at, "out_of_range", format!("at most {MAX_ALIASES} aliases, not {}", aliases.len()));
    }
    aliases
}
