//! Builds the complete manifest that a caller's document declares.

use super::facts::{ENVIRONMENT, TENANT, WEBHOOK, take_followed_region, take_kind, take_version};
use super::pointers::in_sent;
use serde_json::Value;
use tenancy_api::Viewpoint;
use tenancy_api::tenant::Tenant as TenantView;
use tenancy_core::declared::Declared;
use tenancy_core::json::{Object, Pointer, differences, merge_patch};
use tenancy_core::manifest::Manifest;
use tenancy_core::permission::Audience;
use tenancy_core::rules::change::immutable;
use tenancy_core::rules::{fields, gates};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::{Error, Violation};

/// How a document relates to the current manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// The complete manifest (PUT): omitted fields are unset.
    Replace,
    /// A JSON Merge Patch (PATCH): omitted fields stay; a list replaces the whole list.
    Merge,
    /// A manifest from a file (`apply`): omitted fields stay. A field that is present is the whole field: a map loses
    /// the keys that the document no longer has. An entry of a list is combined with the entry of the same name by the
    /// same rule.
    Apply,
}

/// Desired state of a tenant, from a document.
#[derive(Debug, PartialEq)]
pub struct Desired {
    /// The complete manifest.
    pub manifest: Manifest,
    /// Warnings about likely mistakes.
    pub warnings: Vec<Violation>,
}

/// Returns the manifest that `document` declares for a new tenant. `allow` confirms keys that look misspelt.
///
/// # Errors
/// [`Error::Invalid`] with all violations, [`Error::Gated`].
pub fn of_new(declared: &Declared, document: &Value, allow: &[String]) -> Result<Desired, Error> {
    // Most documents have no kind; these are parsed without a copy.
    let (mut without_kind, mut violations) = (None, Vec::new());
    if let Value::Object(object) = document
        && object.contains_key("kind")
    {
        let mut object = object.clone();
        violations.extend(take_kind(&mut object, "Tenant").err());
        without_kind = Some(Value::Object(object));
    }
    let (manifest, warnings) = with(violations, Manifest::parse(declared, without_kind.as_ref().unwrap_or(document)))?;
    gates::new_keys(declared, &manifest, allow).map_err(|error| in_sent(error, document))?;
    Ok(Desired { manifest, warnings })
}

/// Returns the manifest that `document` declares for an existing tenant.
///
/// # Errors
/// [`Error::Invalid`] with all violations.
pub fn of_known(
    declared: &Declared,
    viewpoint: Viewpoint<'_>,
    snapshot: &TenantSnapshot,
    document: &Value,
    how: How,
) -> Result<Desired, Error> {
    let audience = viewpoint.audience;
    let known = Manifest::of(snapshot);
    let Value::Object(mut document) = document.clone() else {
        return Manifest::parse(declared, document).map(|(manifest, warnings)| Desired { manifest, warnings });
    };
    let forbidden = fields::take_internal(audience, &mut document);
    let mut violations = Vec::new();
    violations.extend(take_kind(&mut document, "Tenant").err());
    violations.extend(take_version(&mut document).err());
    violations.extend(drop_facts(declared, viewpoint, snapshot, &mut document));
    if how == How::Replace {
        let id = || Value::String(snapshot.tenant.tenant_id.to_string());
        document.entry("tenant_id").or_insert_with(id);
    }
    let mut whole = whole(|| known.document(), document, how);
    // A document can also remove labels that its sender cannot see: `labels: null`.
    if audience == Audience::Customer {
        fields::keep_hidden(audience, &known.document(), &mut whole);
    }
    violations.extend(immutable(&known, &whole));
    let read = with(violations, Manifest::parse_change(declared, &whole, &known));
    let (manifest, warnings) = permitted(read, forbidden, |(manifest, _)| match audience {
        Audience::Staff => Vec::new(),
        Audience::Customer => fields::changed(audience, &differences(&known.document(), &manifest.document())),
    })?;
    Ok(Desired { manifest, warnings })
}

/// Combines what a document says with the current manifest.
pub(crate) fn whole(known: impl FnOnce() -> Value, mut said: Object, how: How) -> Value {
    match how {
        How::Replace => Value::Object(said),
        How::Merge => {
            let mut whole = known();
            merge_patch(&mut whole, &Value::Object(said));
            whole
        }
        How::Apply => {
            let mut whole = known();
            complete_entries(&whole, &mut said);
            overlay(&mut whole, said);
            whole
        }
    }
}

/// Refuses fields that the caller may not write, together with whatever else is wrong: `forbidden`, and those that `changed`
/// finds in what was read.
pub(crate) fn permitted<T>(
    read: Result<T, Error>,
    mut forbidden: Vec<Violation>,
    changed: impl FnOnce(&T) -> Vec<Violation>,
) -> Result<T, Error> {
    match read {
        Ok(read) => {
            forbidden.extend(changed(&read));
            fields::refuse(forbidden)?;
            Ok(read)
        }
        Err(Error::Invalid(violations)) if !forbidden.is_empty() => {
            forbidden.extend(violations);
            Err(Error::FieldsForbidden(forbidden))
        }
        Err(error) => Err(error),
    }
}

/// Returns the parsed manifest if there are no violations; otherwise all violations.
pub(crate) fn with<T>(mut violations: Vec<Violation>, read: Result<T, Error>) -> Result<T, Error> {
    match read {
        Ok(read) if violations.is_empty() => Ok(read),
        Ok(_) => Err(Error::Invalid(violations)),
        Err(Error::Invalid(more)) => {
            violations.extend(more);
            Err(Error::Invalid(violations))
        }
        Err(error) => Err(error),
    }
}

/// Removes the facts from a tenant's document and from the entries of its environments and webhooks.
fn drop_facts(
    declared: &Declared,
    viewpoint: Viewpoint<'_>,
    snapshot: &TenantSnapshot,
    document: &mut Object,
) -> Vec<Violation> {
    let in_entry = |entry: &Value| {
        entry.as_object().is_some_and(|entry| entry.contains_key("version") || ENVIRONMENT.any_in(entry))
    };
    let environments = document.get("environments").and_then(Value::as_array);
    let in_environments = environments.is_some_and(|entries| entries.iter().any(in_entry));
    if !TENANT.any_in(document) && !in_environments && !has_webhook_facts(document) {
        return Vec::new();
    }
    let Ok(current) = serde_json::to_value(TenantView::of(declared, viewpoint, snapshot)) else { return Vec::new() };
    let same_moment = document.get("counter").is_none_or(|counter| *counter == snapshot.tenant.facts.counter);
    let mut violations = TENANT.drop(document, &current, same_moment, &Pointer::root());
    let home = document.get("region").cloned();
    if let Some(Value::Array(entries)) = document.get_mut("environments") {
        for (index, entry) in entries.iter_mut().enumerate() {
            let Value::Object(entry) = entry else { continue };
            let known = entry.get("name").and_then(|name| named(&current["environments"], name));
            let at = Pointer::root().key("environments").index(index);
            take_followed_region(entry, &[known.map(|known| &known["region"]), home.as_ref()]);
            // The version of an entry is treated like its facts. Only the tenant's version is a precondition.
            entry.remove("version");
            violations.extend(ENVIRONMENT.drop(entry, known.unwrap_or(&Value::Null), same_moment, &at));
        }
    }
    violations.extend(drop_webhook_facts(document, &current, |_, _| same_moment));
    violations
}

/// Whether an entry of `webhooks` contains facts.
pub(crate) fn has_webhook_facts(document: &Object) -> bool {
    let entries = document.get("webhooks").and_then(Value::as_array);
    entries.into_iter().flatten().filter_map(Value::as_object).any(|entry| WEBHOOK.any_in(entry))
}

/// Removes the facts from the entries of `webhooks`. `current` is what a read of the owner returns now. `same_moment` says
/// of an entry and of the current one whether the entry was read from the current state, as far as is known.
pub(crate) fn drop_webhook_facts(
    document: &mut Object,
    current: &Value,
    same_moment: impl Fn(&Object, &Value) -> bool,
) -> Vec<Violation> {
    let mut violations = Vec::new();
    let Some(Value::Array(entries)) = document.get_mut("webhooks") else { return violations };
    for (index, entry) in entries.iter_mut().enumerate() {
        let Value::Object(entry) = entry else { continue };
        let known = entry.get("name").and_then(|name| named(&current["webhooks"], name)).unwrap_or(&Value::Null);
        let at = Pointer::root().key("webhooks").index(index);
        let same_moment = same_moment(entry, known);
        violations.extend(WEBHOOK.drop(entry, known, same_moment, &at));
    }
    violations
}

/// Replaces each field that the document has, as a whole; `null` removes the field.
fn overlay(whole: &mut Value, document: Object) {
    let Value::Object(whole) = whole else { return };
    for (name, value) in document {
        if value.is_null() {
            whole.remove(&name);
        } else {
            whole.insert(name, value);
        }
    }
}

/// Completes each entry of `environments` and `webhooks`: omitted fields keep the value of the current entry with the
/// same name, and present fields replace it as a whole.
fn complete_entries(whole: &Value, document: &mut Object) {
    for list in ["environments", "webhooks"] {
        let Some(Value::Array(entries)) = document.get_mut(list) else { continue };
        for entry in entries {
            if let Some(known) = entry.get("name").and_then(|name| named(&whole[list], name)) {
                let mut whole = known.clone();
                if let Value::Object(said) = std::mem::take(entry) {
                    overlay(&mut whole, said);
                }
                *entry = whole;
            }
        }
    }
}

fn named<'a>(entries: &'a Value, name: &Value) -> Option<&'a Value> {
    entries.as_array()?.iter().find(|entry| entry.get("name") == Some(name))
}
