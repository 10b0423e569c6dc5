//! Gated changes: a change that can destroy data, removes a limit, or looks like a typing error requires a confirmation
//! of its kind. So neither a line that is missing in a manifest nor a misspelt key takes effect unnoticed.

use crate::declared::Declared;
use crate::error::Error;
use crate::gated_change::GatedChange;
use crate::json::{Object, Pointer};
use crate::manifest::{EnvironmentManifest, Manifest};
use crate::nearest::nearest;
use crate::quotas::{BILLING, DATA_RESIDENCY, ENCRYPTION, POLICIES, retention_days};

/// Kinds of gated changes that `allow` can confirm.
pub const ALLOWED_BY_NAME: [&str; 10] = [
    "move-profile",
    "move-region",
    "move-isolation",
    "less-retention",
    "remove-environment",
    "remove-quota",
    "remove-alias",
    "loosen-policy",
    "protection-off",
    "unknown-keys",
];

/// Values of policies, the strictest first. A change to a later value loosens the policy.
const STRICTEST_FIRST: [(&str, &[&str]); 2] = [("dataResidency", &DATA_RESIDENCY), ("encryption", &ENCRYPTION)];

/// Checks the keys of a new tenant for typing errors, unless `allow` confirms them.
///
/// # Errors
/// [`Error::Gated`].
pub fn new_keys(declared: &Declared, manifest: &Manifest, allow: &[String]) -> Result<(), Error> {
    let mut found = Vec::new();
    misspelt(declared, None, manifest, &mut |allow, at: Pointer, message| {
        found.push(GatedChange { allow, pointer: at.to_string(), message });
    });
    found.retain(|gate| !allow.iter().any(|name| name == gate.allow));
    if found.is_empty() { Ok(()) } else { Err(Error::Gated(found)) }
}

/// Returns all gated changes from `before` to `after` that `allow` does not confirm.
pub(super) fn gates(declared: &Declared, before: &Manifest, after: &Manifest, allow: &[String]) -> Vec<GatedChange> {
    let mut found = Vec::new();
    let mut gate = |allow: &'static str, at: Pointer, message: String| {
        found.push(GatedChange { allow, pointer: at.to_string(), message });
    };
    let root = Pointer::root();
    if before.profile != after.profile {
        gate("move-profile", root.key("profile"), format!("moves from {} to {}", before.profile, after.profile));
    }
    if before.region != after.region {
        gate("move-region", root.key("region"), format!("moves from {} to {}", before.region, after.region));
    }
    if before.deletion_protection && !after.deletion_protection {
        gate("protection-off", root.key("deletion_protection"), "turns deletion protection off".to_owned());
    }
    for alias in before.aliases.difference(&after.aliases) {
        gate("remove-alias", root.key("aliases").key(alias.kind()), format!("removes alias {}", alias.as_str()));
    }
    quota_gates(&before.quotas, &after.quotas, &root, &mut gate);
    policy_gates(&before.policies, &after.policies, &root.key("policies"), &mut gate);
    let (was, is) = (retention_days(&before.policies), retention_days(&after.policies));
    if less(was, is) {
        gate("less-retention", root.key("policies").key("retentionDays"), "shortens retention".to_owned());
    }
    for environment in &before.environments {
        let at = root.key("environments").key(&environment.name);
        match after.environments.iter().find(|entry| entry.name == environment.name) {
            None => gate("remove-environment", at, format!("removes environment {}", environment.name)),
            Some(entry) => environment_gates(environment, entry, (was, is), &at, &mut gate),
        }
    }
    misspelt(declared, Some(before), after, &mut gate);
    found.retain(|gate| !allow.iter().any(|name| name == gate.allow));
    found
}

/// Finds quotas that are removed. Without a quota, its use has no limit.
fn quota_gates(before: &Object, after: &Object, at: &Pointer, gate: &mut impl FnMut(&'static str, Pointer, String)) {
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        gate("remove-quota", at.key("quotas").key(name), format!("removes quota {name}"));
    }
}

/// Finds policies that are removed or loosened.
fn policy_gates(before: &Object, after: &Object, at: &Pointer, gate: &mut impl FnMut(&'static str, Pointer, String)) {
    for name in before.keys().filter(|name| !after.contains_key(*name)) {
        gate("loosen-policy", at.key(name), format!("removes policy {name}"));
    }
    for (name, values) in STRICTEST_FIRST {
        let place = |policies: &Object| {
            let value = policies.get(name)?.as_str()?;
            values.iter().position(|known| *known == value)
        };
        if let (Some(was), Some(is)) = (place(before), place(after))
            && is > was
        {
            gate("loosen-policy", at.key(name), format!("loosens {name} from {} to {}", values[was], values[is]));
        }
    }
}

/// Finds keys of quotas, policies and billing that are new, not declared, and similar to a declared key.
fn misspelt(
    declared: &Declared,
    before: Option<&Manifest>,
    after: &Manifest,
    gate: &mut impl FnMut(&'static str, Pointer, String),
) {
    let root = Pointer::root();
    let quotas: Vec<_> = declared.quotas.keys().map(String::as_str).collect();
    let mut check = |known: &[&str], old: Option<&Object>, new: &Object, at: Pointer| {
        let is_new =
            |name: &&String| !known.contains(&name.as_str()) && !old.is_some_and(|old| old.contains_key(*name));
        for name in new.keys().filter(is_new) {
            if let Some(near) = nearest(name, known.iter().copied()) {
                gate("unknown-keys", at.key(name), format!("{name:?} is not declared; did you mean {near:?}?"));
            }
        }
    };
    check(&quotas, before.map(|before| &before.quotas), &after.quotas, root.key("quotas"));
    check(&POLICIES, before.map(|before| &before.policies), &after.policies, root.key("policies"));
    check(&BILLING, before.map(|before| &before.billing), &after.billing, root.key("billing"));
    for entry in &after.environments {
        let old = before.and_then(|before| before.environments.iter().find(|known| known.name == entry.name));
        let at = root.key("environments").key(&entry.name).key("quotas");
        check(&quotas, old.map(|old| &old.quotas), &entry.quotas, at);
    }
}

fn environment_gates(
    before: &EnvironmentManifest,
    after: &EnvironmentManifest,
    tenants_days: (Option<i64>, Option<i64>),
    at: &Pointer,
    gate: &mut impl FnMut(&'static str, Pointer, String),
) {
    let name = &before.name;
    if before.region != after.region {
        let message = format!("moves {name} from {} to {}", before.region, after.region);
        gate("move-region", at.key("region"), message);
    }
    if before.isolation_level != after.isolation_level {
        let message = format!("moves {name} from {} to {}", before.isolation_level, after.isolation_level);
        gate("move-isolation", at.key("isolation_level"), message);
    }
    quota_gates(&before.quotas, &after.quotas, at, gate);
    // An environment without its own retention follows the tenant's, which has its own gate.
    let (was, is) = (before.retention_days.or(tenants_days.0), after.retention_days.or(tenants_days.1));
    if before.retention_days != after.retention_days && less(was, is) {
        gate("less-retention", at.key("retention_days"), format!("shortens retention of {name}"));
    }
}

/// Whether a retention becomes shorter. Without a retention, data is kept indefinitely.
fn less(before: Option<i64>, after: Option<i64>) -> bool {
    match (before, after) {
        (Some(before), Some(after)) => after < before,
        (None, Some(_)) => true,
        (_, None) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::ALLOWED_BY_NAME;
    use std::collections::BTreeSet;

    #[test]
    fn must_know_every_kind_that_the_rules_require() {
        let rules = include_str!("gates.rs").split("#[cfg(test)]").next().unwrap_or_default();
        let asked = rules.split("gate(\"").skip(1).filter_map(|rest| rest.split('"').next());
        assert_eq!(asked.collect::<BTreeSet<_>>(), BTreeSet::from(ALLOWED_BY_NAME));
    }
}
