//! What must hold across the fields of a manifest.

use super::document::{EnvironmentManifest, Manifest};
use crate::declared::Declared;
use crate::document::Findings;
use crate::environment::IsolationLevel;
use crate::json::{Object, Pointer};
use crate::quotas::{counted, retention_days};
use crate::tenant::Profile;
use serde_json::Value;

/// Finds everything in which the fields of a manifest contradict each other. `sent` is every entry of an environment
/// with its position in the document as it was sent.
pub(super) fn consistency(
    declared: &Declared,
    manifest: &Manifest,
    sent: &[(usize, EnvironmentManifest)],
    findings: &mut Findings,
) {
    for (index, environment) in sent {
        let at = Pointer::root().key("environments").index(*index);
        isolation(manifest, environment, &at, findings);
        residency(declared, manifest, environment, &at, findings);
        retention(manifest, environment, &at, findings);
        unbounded(declared, manifest, environment, &at, findings);
    }
    sums(declared, manifest, findings);
}

fn isolation(manifest: &Manifest, environment: &EnvironmentManifest, at: &Pointer, findings: &mut Findings) {
    if manifest.profile == Profile::Dedicated && environment.isolation_level != IsolationLevel::Strict {
        let message = format!("{} is st-dedicated: its environments are strict", environment.name);
        findings.bad(&at.key("isolation_level"), "profile_rule", message);
    }
}

fn residency(
    declared: &Declared,
    manifest: &Manifest,
    environment: &EnvironmentManifest,
    at: &Pointer,
    findings: &mut Findings,
) {
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
    findings.bad(&at.key("region"), "data_residency", message);
}

fn retention(manifest: &Manifest, environment: &EnvironmentManifest, at: &Pointer, findings: &mut Findings) {
    if let (Some(days), Some(most)) = (environment.retention_days, retention_days(&manifest.policies))
        && days > most
    {
        let message = format!("{days} days are more than the tenant's policies.retentionDays, {most}");
        findings.bad(&at.key("retention_days"), "retention", message);
    }
}

/// A share of what the tenant has no quota of: nothing bounds the sum, and no cap of the organization counts it.
fn unbounded(
    declared: &Declared,
    manifest: &Manifest,
    environment: &EnvironmentManifest,
    at: &Pointer,
    findings: &mut Findings,
) {
    for (name, _) in declared.quotas.iter().filter(|(_, key)| key.sums) {
        if environment.quotas.contains_key(name) && !manifest.quotas.contains_key(name) {
            let message = format!("the tenant itself has no quota {name}: nothing bounds what its environments sum to");
            findings.warn(&at.key("quotas").key(name), "tenant_quota_missing", message);
        }
    }
}

fn sums(declared: &Declared, manifest: &Manifest, findings: &mut Findings) {
    // What is out of range is said where it stands, and counts for nothing: so 64 environments stay far below 64 bits.
    let in_range = |quotas: &Object, name: &str| quotas.get(name).and_then(counted);
    for (name, _) in declared.quotas.iter().filter(|(_, key)| key.sums) {
        let sum: i64 = manifest.environments.iter().filter_map(|e| in_range(&e.quotas, name)).sum();
        if let Some(most) = in_range(&manifest.quotas, name)
            && sum > most
        {
            let message = format!("the environments' {name} sum to {sum}, more than the tenant's {most}");
            findings.bad(&Pointer::root().key("quotas").key(name), "quota_sum", message);
        }
    }
}
