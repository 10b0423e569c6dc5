//! Gated changes: a change that can destroy data requires a confirmation of its kind.

use crate::gated_change::GatedChange;
use crate::json::Pointer;
use crate::manifest::{EnvironmentManifest, Manifest};
use crate::quotas::retention_days;

/// Kinds of gated changes that `allow` can confirm.
pub const ALLOWED_BY_NAME: [&str; 6] =
    ["move-profile", "move-region", "move-isolation", "less-retention", "remove-environment", "protection-off"];

/// Returns all gated changes from `before` to `after` that `allow` does not confirm.
pub(super) fn gates(before: &Manifest, after: &Manifest, allow: &[String]) -> Vec<GatedChange> {
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
    found.retain(|gate| !allow.iter().any(|name| name == gate.allow));
    found
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
