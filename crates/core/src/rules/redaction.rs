//! Separates what the log contains of a document from the private part beside it: names, aliases, and all values that
//! are kept as the client sent them. Of private values the log contains only the place of the change; if the name of a
//! member is free text itself, only the object.

use crate::declared::QuotaKey;
use crate::json::{Difference, Object, differences};
use crate::manifest::EnvironmentManifest;
use crate::quotas::{BILLING, POLICIES, counted};
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Declared quotas.
type Quotas = BTreeMap<String, QuotaKey>;

/// How much of a difference the log contains.
enum Open {
    /// Pointer, previous value and new value.
    All,
    /// Only the pointer.
    Place,
    /// Only the pointer of the object that contains the field.
    Container,
}

/// Returns the part of the differences that the log contains, and the private part.
pub(super) fn changes(quotas: &Quotas, found: &[Difference]) -> (Vec<Value>, Value) {
    let (mut shown, mut private) = (Vec::new(), Vec::new());
    for difference in found.iter().flat_map(by_member) {
        let open = open(quotas, &difference);
        let said = match open {
            Open::All => json!(difference),
            Open::Place => json!({"pointer": difference.pointer}),
            Open::Container => json!({"pointer": format!("/{}", place(&difference.pointer).0)}),
        };
        if !matches!(open, Open::All) {
            private.push(difference);
        }
        if !shown.contains(&said) {
            shown.push(said);
        }
    }
    (shown, if private.is_empty() { Value::Null } else { json!({"changes": private}) })
}

/// Returns the part of a new environment's entry that the log contains, and the private part. The log contains the
/// region in effect.
pub(super) fn environment(quotas: &Quotas, entry: &EnvironmentManifest) -> (Value, Value) {
    let is_open = |(name, value): &(String, Value)| quotas.contains_key(name) && counted(value).is_some();
    let (shown, private): (Object, Object) = entry.quotas.clone().into_iter().partition(is_open);
    let said = EnvironmentManifest { quotas: shown, region_given: true, ..entry.clone() }.document();
    (said, if private.is_empty() { Value::Null } else { json!({"manifest": {"quotas": private}}) })
}

fn open(quotas: &Quotas, difference: &Difference) -> Open {
    let (object, member) = place(&difference.pointer);
    let member = member.unwrap_or_default();
    // The previous value can be older than the declaration of the quota.
    let counts =
        [&difference.from, &difference.to].into_iter().all(|value| value.is_null() || counted(value).is_some());
    match object.as_str() {
        "labels" | "aliases" => Open::Container,
        "display_name" => Open::Place,
        "quotas" if !quotas.contains_key(&member) => Open::Container,
        "quotas" if !counts => Open::Place,
        "policies" if !POLICIES.contains(&member.as_str()) => Open::Container,
        "billing" if !BILLING.contains(&member.as_str()) => Open::Container,
        "billing" => Open::Place,
        _ => Open::All,
    }
}

/// Splits a difference into one per member, if a whole object was added or removed.
fn by_member(difference: &Difference) -> Vec<Difference> {
    let members = |value: &Value| if value.is_null() { json!({}) } else { value.clone() };
    let (from, to) = (members(&difference.from), members(&difference.to));
    if place(&difference.pointer).1.is_some() || !from.is_object() || !to.is_object() {
        return vec![difference.clone()];
    }
    let inside = |d: Difference| Difference { pointer: difference.pointer.clone() + &d.pointer, ..d };
    differences(&from, &to).into_iter().map(inside).collect()
}

/// Returns the first two names of a JSON Pointer.
fn place(pointer: &str) -> (String, Option<String>) {
    let mut names = pointer.split('/').skip(1).map(|name| name.replace("~1", "/").replace("~0", "~"));
    (names.next().unwrap_or_default(), names.next())
}
