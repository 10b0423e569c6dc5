//! Reads a manifest and reports all errors, each at its place in the document as it was sent.

use super::check::consistency;
use super::document::{
    EnvironmentManifest, MAX_ALIASES, MAX_DISPLAY_NAME_BYTES, MAX_ENVIRONMENTS, MAX_LABELS, MAX_MEMBERS,
    MAX_MEMBERS_BYTES, MAX_NESTING, MAX_WEBHOOKS, Manifest, WebhookManifest,
};
use super::webhook::webhook;
use crate::declared::Declared;
use crate::document::{Fields, Findings, not_text, one_of};
use crate::environment::IsolationLevel;
use crate::error::Error;
use crate::ids::{Alias, OrganizationId, TenantId};
use crate::json::{Object, Pointer, canonical_bytes, nesting, without_nulls};
use crate::normal_form::nfc;
use crate::quotas::{MAX_RETENTION_DAYS, check_billing, check_policies, check_quotas};
use crate::tenant::{DesiredState, Labels, Profile};
use crate::violation::Violation;
use crate::visible::is_hidden;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

impl Manifest {
    /// Reads a whole manifest. Returns it with warnings about values that look like mistakes.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all violations.
    pub fn parse(declared: &Declared, document: &Value) -> Result<(Self, Vec<Violation>), Error> {
        Self::read(declared, document, None)
    }

    /// Reads a whole manifest that replaces `before`. Values that stay as they are need no declaration: they only cause
    /// a warning.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all violations.
    pub fn parse_change(declared: &Declared, document: &Value, before: &Self) -> Result<(Self, Vec<Violation>), Error> {
        Self::read(declared, document, Some(before))
    }

    fn read(declared: &Declared, document: &Value, before: Option<&Self>) -> Result<(Self, Vec<Violation>), Error> {
        let mut findings = Findings::default();
        let manifest = tenant(declared, document, before, &mut findings);
        findings.finish(manifest)
    }
}

impl EnvironmentManifest {
    /// Reads the entry of one environment.
    ///
    /// # Errors
    /// [`Error::Invalid`] with all violations.
    pub fn parse(declared: &Declared, document: &Value, tenant_region: &str) -> Result<(Self, Vec<Violation>), Error> {
        let mut findings = Findings::default();
        let entry = environment(declared, document, Pointer::root(), (Some(tenant_region), None), &mut findings);
        findings.finish(entry)
    }
}

fn tenant(
    declared: &Declared,
    document: &Value,
    before: Option<&Manifest>,
    findings: &mut Findings,
) -> Option<Manifest> {
    let mut fields = Fields::of(document, Pointer::root(), findings)?;
    let tenant_id = fields.name("tenant_id", findings, TenantId::parse);
    fields.required("organization_id", "organization_id is required: the organization that owns the tenant", findings);
    let organization_id = fields.name("organization_id", findings, OrganizationId::parse);
    let region = fields.required_text("region", 64, findings);
    let known = before.map(|before| before.region.as_str());
    check_region(declared, region.as_deref(), known, &fields.at("region"), findings);
    let quotas = members(&mut fields, "quotas", findings);
    check_quotas(declared, &quotas, before.map(|before| &before.quotas), &fields.at("quotas"), findings);
    let policies = members(&mut fields, "policies", findings);
    check_policies(&policies, &fields.at("policies"), findings);
    let billing = members(&mut fields, "billing", findings);
    check_billing(&billing, &fields.at("billing"), findings);
    let sent = entries(&mut fields, "environments", MAX_ENVIRONMENTS, findings, |value, at, findings| {
        environment(declared, value, at, (region.as_deref(), before), findings)
    });
    let environments = by_name(&sent, |entry| &entry.name, &fields.at("environments"), findings);
    let webhooks = read_webhooks(&mut fields, findings);
    let manifest = Manifest {
        tenant_id,
        organization_id: organization_id.unwrap_or_else(|| OrganizationId::known("")),
        display_name: fields.text("display_name", MAX_DISPLAY_NAME_BYTES, findings),
        profile: fields.word("profile", Profile::WORDS, findings).unwrap_or(Profile::Standard),
        desired_state: fields.word("desired_state", DesiredState::WORDS, findings),
        region: region.unwrap_or_default(),
        labels: read_labels(&mut fields, findings),
        aliases: read_aliases(&mut fields, findings),
        quotas,
        policies,
        billing,
        deletion_protection: fields.flag("deletion_protection", findings).unwrap_or(false),
        environments,
        webhooks,
    };
    fields.no_others(findings);
    consistency(declared, &manifest, before, &sent, findings);
    Some(manifest)
}

/// Reads the entry of one environment of a tenant with a region and a current manifest. A missing field is empty in the
/// result, with a violation.
fn environment(
    declared: &Declared,
    document: &Value,
    at: Pointer,
    (tenant_region, tenant_before): (Option<&str>, Option<&Manifest>),
    findings: &mut Findings,
) -> Option<EnvironmentManifest> {
    let mut fields = Fields::of(document, at, findings)?;
    let name = fields.required_text("name", 32, findings);
    let before = tenant_before.and_then(|before| before.environments.iter().find(|e| Some(&e.name) == name.as_ref()));
    if let Some(name) = name.as_ref().filter(|name| !declared.environments.contains(name)) {
        let known: Vec<_> = declared.environments.iter().map(String::as_str).collect();
        findings.bad_unless(before.is_some(), &fields.at("name"), "undeclared_environment", one_of(name, &known));
    }
    let given = fields.text("region", 64, findings);
    let region = given.as_deref().or(tenant_region);
    // The region of the tenant is checked with the tenant, unless it stays and the environment joins it.
    let joins = tenant_before.is_some_and(|before| Some(before.region.as_str()) == tenant_region);
    let known = before.map(|before| before.region.as_str());
    if given.is_some() || (joins && known != region) {
        check_region(declared, region, known, &fields.at("region"), findings);
    }
    let quotas = members(&mut fields, "quotas", findings);
    check_quotas(declared, &quotas, before.map(|before| &before.quotas), &fields.at("quotas"), findings);
    let level = fields.word("isolation_level", IsolationLevel::WORDS, findings);
    let retention_days = fields.integer("retention_days", 1..=MAX_RETENTION_DAYS, findings);
    fields.no_others(findings);
    Some(EnvironmentManifest {
        name: name.unwrap_or_default(),
        region: region.map(str::to_owned).unwrap_or_default(),
        region_given: given.is_some(),
        isolation_level: level.unwrap_or(IsolationLevel::Strict),
        quotas,
        retention_days,
    })
}

fn check_region(
    declared: &Declared,
    region: Option<&str>,
    before: Option<&str>,
    at: &Pointer,
    findings: &mut Findings,
) {
    if let Some(region) = region.filter(|region| !declared.regions.contains_key(*region)) {
        let known: Vec<_> = declared.regions.keys().map(String::as_str).collect();
        findings.bad_unless(before == Some(region), at, "undeclared_region", one_of(region, &known));
    }
}

/// Reads an object with limits on number, nesting and size of its members. In objects, `null` counts as absent, as in a
/// merge.
fn members(fields: &mut Fields<'_>, name: &'static str, findings: &mut Findings) -> Object {
    let at = fields.at(name);
    let Some(object) = fields.object(name, findings) else { return Object::new() };
    if object.len() > MAX_MEMBERS {
        findings.bad(&at, "out_of_range", format!("must have at most {MAX_MEMBERS} members, not {}", object.len()));
        return Object::new();
    }
    for (key, _) in object.iter().filter(|(_, value)| nesting(value) > MAX_NESTING) {
        findings.bad(&at.key(key), "too_deep", format!("must not be nested deeper than {MAX_NESTING} levels"));
    }
    let kept = without_nulls(object);
    let bytes = canonical_bytes(&kept);
    if bytes > MAX_MEMBERS_BYTES {
        findings.bad(&at, "out_of_range", format!("must be at most {MAX_MEMBERS_BYTES} bytes, not {bytes}"));
    }
    kept
}

/// Reads the items of a list, each with its position. Invalid items are omitted.
fn entries<T>(
    fields: &mut Fields<'_>,
    list: &'static str,
    max: usize,
    findings: &mut Findings,
    read: impl Fn(&Value, Pointer, &mut Findings) -> Option<T>,
) -> Vec<(usize, T)> {
    let at = fields.at(list);
    let items = fields.list(list, max, findings).iter().enumerate();
    items.filter_map(|(index, value)| Some((index, read(value, at.index(index), findings)?))).collect()
}

/// Reads the field `webhooks`: entries of different names, sorted by name.
pub(crate) fn read_webhooks(fields: &mut Fields<'_>, findings: &mut Findings) -> Vec<WebhookManifest> {
    let sent = entries(fields, "webhooks", MAX_WEBHOOKS, findings, webhook);
    by_name(&sent, |entry| entry.name.as_str(), &fields.at("webhooks"), findings)
}

/// Sorts the entries by name. Names must be unique.
fn by_name<T: Clone>(
    entries: &[(usize, T)],
    name: impl Fn(&T) -> &str,
    at: &Pointer,
    findings: &mut Findings,
) -> Vec<T> {
    let mut sorted = BTreeMap::new();
    for (index, entry) in entries.iter().filter(|(_, entry)| !name(entry).is_empty()) {
        if sorted.contains_key(name(entry)) {
            let message = format!("{:?} is used by another entry: names must be unique", name(entry));
            findings.bad(&at.index(*index).key("name"), "duplicate", message);
        } else {
            sorted.insert(name(entry).to_owned(), entry.clone());
        }
    }
    sorted.into_values().collect()
}

/// Rule for the key of a label, for messages.
pub const LABEL_KEY_RULE: &str = "the key of a label must be 1 to 63 letters, digits and . _ - /";

/// Regular expression of the key of a label (ECMA 262), for descriptions of the API.
pub const LABEL_KEY_PATTERN: &str = "^[A-Za-z0-9._/-]{1,63}$";

/// Maximum length of the value of a label, in bytes.
pub const MAX_LABEL_VALUE_BYTES: usize = 255;

/// Whether the key of a label is valid.
pub fn is_label_key(key: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    !key.is_empty() && key.len() <= 63 && key.chars().all(plain)
}

/// Reads labels: keys of 1 to 63 letters, digits and `._-/`, values of up to 255 bytes.
pub fn read_labels(fields: &mut Fields<'_>, findings: &mut Findings) -> Labels {
    let at = fields.at("labels");
    let Some(object) = fields.object("labels", findings) else { return Labels::new() };
    if object.len() > MAX_LABELS {
        findings.bad(&at, "out_of_range", format!("must have at most {MAX_LABELS} labels, not {}", object.len()));
        return Labels::new();
    }
    let mut labels = Labels::new();
    for (key, value) in object {
        if !is_label_key(key) {
            findings.bad(&at.key(key), "bad_name", LABEL_KEY_RULE);
        }
        match value {
            Value::Null => {}
            Value::String(text) if nfc(text).len() <= MAX_LABEL_VALUE_BYTES && !text.chars().any(is_hidden) => {
                labels.insert(key.clone(), nfc(text).into_owned());
            }
            Value::String(_) => {
                let message = "the value of a label must be at most 255 bytes, without control or invisible characters";
                findings.bad(&at.key(key), "out_of_range", message);
            }
            other => findings.bad(&at.key(key), "wrong_type", format!("the value of a label {}", not_text(other))),
        }
    }
    labels
}

fn read_aliases(fields: &mut Fields<'_>, findings: &mut Findings) -> BTreeSet<Alias> {
    let at = fields.at("aliases");
    let mut aliases = BTreeSet::new();
    for (kind, value) in fields.object("aliases", findings).into_iter().flatten() {
        let mut take = |value: &Value, at: Pointer| {
            let text = value.as_str().ok_or_else(|| match value {
                Value::Number(_) | Value::Bool(_) => not_text(value),
                _ => "must be text, or a list of texts".to_owned(),
            });
            match text.and_then(|text| Alias::new(kind, text)) {
                Ok(alias) => drop(aliases.insert(alias)),
                Err(message) => findings.bad(&at, "bad_alias", message),
            }
        };
        match value {
            Value::Null => {}
            Value::Array(values) => {
                values.iter().enumerate().for_each(|(index, value)| take(value, at.key(kind).index(index)));
            }
            one => take(one, at.key(kind)),
        }
    }
    if aliases.len() > MAX_ALIASES {
        findings.bad(&at, "out_of_range", format!("must have at most {MAX_ALIASES} aliases, not {}", aliases.len()));
    }
    aliases
}
