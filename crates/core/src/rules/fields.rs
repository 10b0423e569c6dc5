//! Checks which fields of a tenant's document a caller may send and change.

use crate::error::Error;
use crate::json::{Difference, Object, Pointer};
use crate::permission::{Audience, FieldGroup, INTERNAL_LABELS, TENANT_FIELDS, group};
use crate::violation::Violation;
use crate::webhook::masked;
use serde_json::Value;

/// Takes the internal fields out of a document and returns a violation for each, regardless of its value: a response
/// that depended on the current value would disclose it.
pub fn take_internal(audience: Audience, document: &mut Object) -> Vec<Violation> {
    if audience == Audience::Staff {
        return Vec::new();
    }
    let mut refused = Vec::new();
    document.retain(|name, _| {
        let is_internal = group(name) == FieldGroup::Internal;
        refused.extend(is_internal.then(|| forbidden(&Pointer::root().key(name))));
        !is_internal
    });
    if let Some(Value::Object(labels)) = document.get_mut("labels") {
        let at = Pointer::root().key("labels");
        labels.retain(|key, _| {
            let is_internal = key.starts_with(INTERNAL_LABELS);
            refused.extend(is_internal.then(|| forbidden(&at.key(key))));
            !is_internal
        });
    }
    refused
}

/// Returns a violation for each changed field outside [`FieldGroup::Own`].
pub fn changed(audience: Audience, differences: &[Difference]) -> Vec<Violation> {
    if audience == Audience::Staff {
        return Vec::new();
    }
    let field = |difference: &Difference| difference.pointer.split('/').nth(1).unwrap_or_default().to_owned();
    let mut names: Vec<_> = differences.iter().map(field).filter(|name| group(name) != FieldGroup::Own).collect();
    names.dedup();
    names.iter().map(|name| forbidden(&Pointer::root().key(name))).collect()
}

/// Returns a violation for each changed field of an organization that a customer may not write: all but its webhooks.
pub fn changed_of_organization(audience: Audience, differences: &[Difference]) -> Vec<Violation> {
    if audience == Audience::Staff {
        return Vec::new();
    }
    let mut names: Vec<_> = differences.iter().filter_map(|difference| difference.pointer.split('/').nth(1)).collect();
    names.retain(|name| *name != "webhooks");
    names.dedup();
    names.into_iter().map(|name| forbidden(&Pointer::root().key(name))).collect()
}

/// Refuses the fields that must not be written, if there are any.
///
/// # Errors
/// [`Error::FieldsForbidden`] with all of them.
pub fn refuse(forbidden: Vec<Violation>) -> Result<(), Error> {
    if forbidden.is_empty() { Ok(()) } else { Err(Error::FieldsForbidden(forbidden)) }
}

/// Adds what the caller does not see of a tenant to the whole document that it is taken to, so that it is not removed.
pub fn keep_hidden(audience: Audience, known: &Value, document: &mut Value) {
    let (Audience::Customer, Value::Object(document)) = (audience, document) else { return };
    for (name, _) in TENANT_FIELDS.iter().filter(|(_, group)| *group == FieldGroup::Internal) {
        if let Some(value) = known.get(*name) {
            document.insert((*name).to_owned(), value.clone());
        }
    }
    let Some(Value::Object(labels)) = known.get("labels") else { return };
    let hidden: Vec<_> = labels.iter().filter(|(key, _)| key.starts_with(INTERNAL_LABELS)).collect();
    if hidden.is_empty() {
        return;
    }
    let labels = document.entry("labels").or_insert_with(|| Value::Object(Object::new()));
    if labels.is_null() {
        *labels = Value::Object(Object::new());
    }
    if let Value::Object(labels) = labels {
        labels.extend(hidden.into_iter().map(|(key, value)| (key.clone(), value.clone())));
    }
}

/// Removes hidden fields from the document of a manifest.
pub fn hide(audience: Audience, document: &mut Value) {
    if audience == Audience::Staff {
        return;
    }
    let Value::Object(fields) = document else { return };
    fields.retain(|name, _| group(name) != FieldGroup::Internal);
    if let Some(Value::Object(labels)) = fields.get_mut("labels") {
        labels.retain(|key, _| !key.starts_with(INTERNAL_LABELS));
        if labels.is_empty() {
            fields.remove("labels");
        }
    }
}

/// Masks the URLs of webhooks in the document of a manifest.
pub fn mask_urls(document: &mut Value) {
    if let Some(webhooks) = document.get_mut("webhooks") {
        mask(webhooks, "");
    }
}

/// Masks the URLs of webhooks in the differences between two manifests.
pub fn mask_changed_urls(differences: &mut [Difference]) {
    for difference in differences {
        let mut parts = difference.pointer.split('/').skip(1);
        if parts.next() == Some("webhooks") {
            let field = parts.last().unwrap_or_default();
            mask(&mut difference.from, field);
            mask(&mut difference.to, field);
        }
    }
}

/// Masks each text of a field `url` in a value, which is itself the value of `field`.
fn mask(value: &mut Value, field: &str) {
    match value {
        Value::String(text) if field == "url" => *text = masked(text),
        Value::Array(items) => items.iter_mut().for_each(|item| mask(item, field)),
        Value::Object(object) => object.iter_mut().for_each(|(field, value)| mask(value, field)),
        _ => {}
    }
}

fn forbidden(at: &Pointer) -> Violation {
    Violation::at(at, "forbidden_field", "only an unscoped key may write it")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json::differences;
    use serde_json::json;

    fn pointers(found: Vec<Violation>) -> Vec<String> {
        found.into_iter().map(|v| v.pointer).collect()
    }

    #[test]
    fn must_refuse_internal_fields_that_are_only_named() {
        let document = json!({"billing": null, "labels": {"internal/risk": null, "tier": "gold"}, "quotas": {}});
        let mut sent = document.as_object().cloned().expect("an object");
        let refused = pointers(take_internal(Audience::Customer, &mut sent));
        assert_eq!(refused, ["/billing", "/labels/internal~1risk"]);
        assert_eq!(Value::Object(sent), json!({"labels": {"tier": "gold"}, "quotas": {}}));
        let mut sent = document.as_object().cloned().expect("an object");
        assert_eq!(take_internal(Audience::Staff, &mut sent), []);
        assert_eq!(Value::Object(sent), document);
    }

    #[test]
    fn must_refuse_each_term_that_changes_and_accept_what_stays() {
        let before = json!({"display_name": "a", "quotas": {"x": 1, "y": 1}, "region": "r"});
        let after =
            json!({"display_name": "b", "quotas": {"x": 2, "y": 2}, "region": "r", "webhooks": [{"name": "w"}]});
        let differences = differences(&before, &after);
        assert_eq!(pointers(changed(Audience::Customer, &differences)), ["/quotas"]);
        assert_eq!(changed(Audience::Staff, &differences), []);
    }

    #[test]
    fn must_mask_urls_wherever_they_stand() {
        let webhook = |name: &str, url: &str| json!({"name": name, "url": url, "events": ["*"]});
        let before = json!({"display_name": "https://a/secret", "webhooks": [webhook("a", "https://a/secret")]});
        for after in [
            json!({"webhooks": [webhook("a", "https://b/secret"), webhook("b", "https://c/secret")]}),
            json!({"webhooks": null}),
        ] {
            let mut found = differences(&before, &after);
            mask_changed_urls(&mut found);
            found.retain(|difference| difference.pointer != "/display_name");
            let text = format!("{found:?}");
            assert!(text.contains("https://a/***") && !text.contains("secret"), "{text}");
        }
        let mut shown = before.clone();
        mask_urls(&mut shown);
        assert_eq!(shown["webhooks"][0]["url"], "https://a/***");
        assert_eq!(shown["display_name"], before["display_name"]);
    }

    #[test]
    fn must_keep_what_is_hidden_where_a_document_stands_for_the_whole() {
        let known = json!({"billing": {"plan": "x"}, "labels": {"internal/risk": "high", "tier": "gold"}});
        let mut sent = json!({"labels": {"tier": "silver"}});
        keep_hidden(Audience::Customer, &known, &mut sent);
        let kept = json!({"billing": {"plan": "x"}, "labels": {"internal/risk": "high", "tier": "silver"}});
        assert_eq!(sent, kept);
        let mut without = json!({"labels": null});
        keep_hidden(Audience::Customer, &known, &mut without);
        assert_eq!(without["labels"], json!({"internal/risk": "high"}));
        let mut shown = known.clone();
        hide(Audience::Customer, &mut shown);
        assert_eq!(shown, json!({"labels": {"tier": "gold"}}));
    }
}
