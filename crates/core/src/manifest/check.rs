//! Checks across the fields of a manifest.

use super::document::{EnvironmentManifest, Manifest};
use crate::declared::Declared;
use crate::document::Findings;
use crate::environment::IsolationLevel;
use crate::json::{Object, Pointer};
use crate::quotas::{counted, retention_days};
use crate::tenant::Profile;
use serde_json::Value;

/// Finds all contradictions between the fields of a manifest. `sent` has each entry of an environment with its position
/// in the document as it was sent. What contradicts the declarations but stays as it was in `before` is a warning.
pub(super) fn consistency(
    declared: &Declared,
    manifest: &Manifest,
    before: Option<&Manifest>,
    sent: &[(usize, EnvironmentManifest)],
    findings: &mut Findings,
) {
    for (index, environment) in sent {
        let at = Pointer::root().key("environments").index(*index);
        isolation(manifest, environment, &at, findings);
        residency(declared, (manifest, environment), before, &at, findings);
        retention(manifest, environment, &at, findings);
        unbounded(declared, manifest, environment, &at, findings);
    }
    sums(declared, manifest, before, findings);
}

fn isolation(manifest: &Manifest, environment: &EnvironmentManifest, at: &Pointer, findings: &mut Findings) {
    if manifest.profile == Profile::Dedicated && environment.isolation_level != IsolationLevel::Strict {
        let message = format!("{} must be strict, because the profile of the tenant is st-dedicated", environment.name);
        findings.bad(&at.key("isolation_level"), "profile_rule", message);
    }
}

fn residency(
    declared: &Declared,
    (manifest, environment): (&Manifest, &EnvironmentManifest),
    before: Option<&Manifest>,
    at: &Pointer,
    findings: &mut Findings,
) {
    let policy = |manifest: &Manifest| manifest.policies.get("dataResidency").cloned();
    let stays = before.is_some_and(|before| {
        let same = |e: &EnvironmentManifest| e.name == environment.name && e.region == environment.region;
        before.region == manifest.region && policy(before) == policy(manifest) && before.environments.iter().any(same)
    });
    let jurisdiction = |region: &str| declared.regions.get(region).map(|region| region.jurisdiction.clone());
    let (home, there) = (manifest.region.as_str(), environment.region.as_str());
    if home.is_empty() || there.is_empty() {
        return;
    }
    let message = match manifest.policies.get("dataResidency").and_then(Value::as_str) {
        Some("in-region-only") if home != there => {
            format!("dataResidency is in-region-only: {} must be in {home}, not {there}", environment.name)
        }
        Some("in-jurisdiction") if jurisdiction(home) != jurisdiction(there) => {
            format!("dataResidency is in-jurisdiction: {there} is not in the jurisdiction of {home}")
        }
        _ => return,
    };
    findings.bad_unless(stays, &at.key("region"), "data_residency", message);
}

fn retention(manifest: &Manifest, environment: &EnvironmentManifest, at: &Pointer, findings: &mut Findings) {
    if let (Some(days), Some(most)) = (environment.retention_days, retention_days(&manifest.policies))
        && days > most
    {
        let message = format!("must be at most the tenant's policies.retentionDays, {most}, not {days}");
        findings.bad(&at.key("retention_days"), "retention", message);
    }
}

/// Warns of a quota that an environment has and the tenant has not: its sum has no limit of the tenant. The caps of the
/// organization count the sum.
fn unbounded(
    declared: &Declared,
    manifest: &Manifest,
    environment: &EnvironmentManifest,
    at: &Pointer,
    findings: &mut Findings,
) {
    for (name, _) in declared.quotas.iter().filter(|(_, key)| key.sums) {
        if environment.quotas.contains_key(name) && !manifest.quotas.contains_key(name) {
            let message = format!("the tenant has no quota {name}: the sum of its environments is not limited");
            findings.warn(&at.key("quotas").key(name), "tenant_quota_missing", message);
        }
    }
}

fn sums(declared: &Declared, manifest: &Manifest, before: Option<&Manifest>, findings: &mut Findings) {
    // Values out of range have their own violation and do not count, so that 64 environments stay far below 64 bits.
    let in_range = |quotas: &Object, name: &str| quotas.get(name).and_then(counted);
    let sum = |manifest: &Manifest, name: &str| -> i64 {
        manifest.environments.iter().filter_map(|e| in_range(&e.quotas, name)).sum()
    };
    for (name, _) in declared.quotas.iter().filter(|(_, key)| key.sums) {
        let now = sum(manifest, name);
        if let Some(most) = in_range(&manifest.quotas, name)
            && now > most
        {
            let message = format!("the sum of {name} of the environments is {now}, but the tenant has {most}");
            let same = |before: &Manifest| sum(before, name) == now && in_range(&before.quotas, name) == Some(most);
            let stays = before.is_some_and(same);
            findings.bad_unless(stays, &Pointer::root().key("quotas").key(name), "quota_sum", message);
        }
    }
}
