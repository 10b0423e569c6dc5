//! Gated changes: what may destroy data is done only when it is allowed by name.

use crate::gated_change::GatedChange;
use crate::json::Pointer;
use crate::manifest::{EnvironmentManifest, Manifest};
use crate::quotas::retention_days;

/// What can be allowed by name.
pub const ALLOWED_BY_NAME: [&str; 6] =
    ["move-profile", "move-region", "move-isolation", "less-retention", "remove-environment", "protection-off"];

/// Every gated change from `before` to `after` that `allow` does not name.
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
    // One that leaves its own out follows the tenant's, which has a gate of its own.
    let (was, is) = (before.retention_days.or(tenants_days.0), after.retention_days.or(tenants_days.1));
    if before.retention_days != after.retention_days && less(was, is) {
        gate("less-retention", at.key("retention_days"), format!("shortens retention of {name}"));
    }
}

/// Whether a retention becomes shorter; none at all, neither an environment's own nor its tenant's, is without end.
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
    fn must_know_every_kind_that_the_rules_ask_for() {
        let rules = include_str!("gates.rs").split("#[cfg(test)]").next().unwrap_or_default();
        let asked = rules.split("gate(\"").skip(1).filter_map(|rest| rest.split('"').next());
        assert_eq!(asked.collect::<BTreeSet<_>>(), BTreeSet::from(ALLOWED_BY_NAME));
    }
}
