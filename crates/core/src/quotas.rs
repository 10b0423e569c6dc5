//! Quotas, policies and billing references: JSON objects with known, typed keys. Other keys are kept unchanged.

use crate::declared::{Declared, MAX_NAME_BYTES, may_be_declared};
use crate::document::{Findings, not_text, one_of, shown};
use crate::json::{Object, Pointer};
use crate::nearest::nearest;
use crate::tenant::KMS_PER_TENANT;
use serde_json::Value;
use std::collections::BTreeMap;

/// Maximum value of a quota. Its sum over all tenants that one database can store stays within 64 bits.
pub const MAX_QUOTA: i64 = 1 << 40;

/// Default of `policies.purgeAfterDays`: number of days between archiving and the earliest purge.
pub const DEFAULT_PURGE_AFTER_DAYS: i64 = 30;

/// Maximum retention, in days: 100 years.
pub const MAX_RETENTION_DAYS: i64 = 36_525;

/// Values of `policies.dataResidency`.
pub const DATA_RESIDENCY: [&str; 3] = ["in-region-only", "in-jurisdiction", "unrestricted"];

/// Values of `policies.encryption`.
pub const ENCRYPTION: [&str; 2] = [KMS_PER_TENANT, "platform"];

/// Known keys of `policies`.
pub const POLICIES: [&str; 4] = ["dataResidency", "encryption", "retentionDays", "purgeAfterDays"];

/// Known keys of `billing`.
pub const BILLING: [&str; 2] = ["plan", "costCenter"];

/// Maximum length of the value of a known key of `billing`, in bytes.
pub const MAX_BILLING_BYTES: usize = 255;

/// Checks the quotas at `at`. Values of declared keys must be integers; other keys are kept, with a warning. A value that
/// stays as it is in `before` is kept, since its key may have been declared later.
pub fn check_quotas(
    declared: &Declared,
    quotas: &Object,
    before: Option<&Object>,
    at: &Pointer,
    findings: &mut Findings,
) {
    for (name, value) in quotas {
        let at = at.key(name);
        if declared.quotas.contains_key(name) {
            if counted(value).is_none() {
                let stays = before.is_some_and(|before| before.get(name) == Some(value));
                let message = format!("must be an integer from 0 to {MAX_QUOTA}, not {}", shown(value));
                findings.bad_unless(stays, &at, "out_of_range", message);
            }
        } else {
            undeclared(name, declared.quotas.keys().map(String::as_str), &at, findings);
        }
    }
}

/// Checks the policies at `at`. Values of known keys must have the right type; other keys are kept, with a warning.
pub fn check_policies(policies: &Object, at: &Pointer, findings: &mut Findings) {
    let words = |value: &Value, list: &[&str]| match value.as_str() {
        Some(text) if list.contains(&text) => None,
        _ => Some(("unknown_word", one_of(value.as_str().unwrap_or(&shown(value)), list))),
    };
    let days = |value: &Value, least: i64| match value.as_i64() {
        Some(days) if (least..=MAX_RETENTION_DAYS).contains(&days) => None,
        _ => Some((
            "out_of_range",
            format!("must be a number of days from {least} to {MAX_RETENTION_DAYS}, not {}", shown(value)),
        )),
    };
    for (name, value) in policies {
        let at = at.key(name);
        let bad = match name.as_str() {
            "dataResidency" => words(value, &DATA_RESIDENCY),
            "encryption" => words(value, &ENCRYPTION),
            "retentionDays" => days(value, 1),
            "purgeAfterDays" => days(value, 0),
            _ => {
                undeclared(name, POLICIES, &at, findings);
                None
            }
        };
        if let Some((code, message)) = bad {
            findings.bad(&at, code, message);
        }
    }
}

/// Checks the billing references at `at`. Values of known keys must be short texts; other keys are kept, with a
/// warning.
pub fn check_billing(billing: &Object, at: &Pointer, findings: &mut Findings) {
    for (name, value) in billing {
        let at = at.key(name);
        let fits = |text: &str| text.len() <= MAX_BILLING_BYTES && !text.chars().any(char::is_control);
        match value {
            _ if !BILLING.contains(&name.as_str()) => undeclared(name, BILLING, &at, findings),
            Value::String(text) if fits(text) => {}
            Value::String(_) => {
                let message = format!("must be at most {MAX_BILLING_BYTES} bytes, without control characters");
                findings.bad(&at, "out_of_range", message);
            }
            other => findings.bad(&at, "wrong_type", not_text(other)),
        }
    }
}

fn undeclared<'a>(name: &str, known: impl IntoIterator<Item = &'a str>, at: &Pointer, findings: &mut Findings) {
    let hint = nearest(name, known).map(|near| format!("; did you mean {near:?}?")).unwrap_or_default();
    let name = Value::from(name);
    findings.warn(at, "undeclared_key", format!("{} is not declared; it is kept without checks{hint}", shown(&name)));
}

/// Returns the value of a quota if it counts: an integer from 0 to [`MAX_QUOTA`].
pub fn counted(value: &Value) -> Option<i64> {
    value.as_i64().filter(|number| (0..=MAX_QUOTA).contains(number))
}

/// Returns all values in `quotas` that count, declared or not: declarations can change while the tenant exists, and its
/// removal must subtract what its registration added. A name that cannot be declared cannot have a cap and does not
/// count.
pub fn counted_values(quotas: &Object) -> BTreeMap<String, i64> {
    let countable = quotas.iter().filter(|(name, _)| may_be_declared(name, MAX_NAME_BYTES));
    countable.filter_map(|(name, value)| Some((name.clone(), counted(value)?))).collect()
}

/// Returns what a tenant counts for each quota: its own value, or, if it has none, the sum of its environments, up to
/// [`MAX_QUOTA`]. It counts the sum whether or not the quota is declared with `sums`: what a tenant counts depends only
/// on its manifest, so that its removal subtracts what its registration added.
pub fn counted_usage<'a>(quotas: &Object, environments: impl IntoIterator<Item = &'a Object>) -> BTreeMap<String, i64> {
    let mut counts = counted_values(quotas);
    let mut sums = BTreeMap::<String, i64>::new();
    for (name, value) in environments.into_iter().flat_map(counted_values) {
        if !counts.contains_key(&name) {
            let sum = sums.entry(name).or_default();
            *sum = (*sum + value).min(MAX_QUOTA);
        }
    }
    counts.extend(sums);
    counts
}

/// Returns `policies.retentionDays`, if it is set.
pub fn retention_days(policies: &Object) -> Option<i64> {
    policies.get("retentionDays").and_then(Value::as_i64)
}

/// Returns `policies.purgeAfterDays`, or the default.
pub fn purge_after_days(policies: &Object) -> i64 {
    policies.get("purgeAfterDays").and_then(Value::as_i64).unwrap_or(DEFAULT_PURGE_AFTER_DAYS)
}
