//! What may destroy data is done only when it is allowed by name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};
use tenancy_core::actor::Actor;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::ids::CorrelationId;
use tenancy_core::json::merge_patch;
use tenancy_core::manifest::Manifest;
use tenancy_core::rules::gates::{ALLOWED_BY_NAME, new_keys};
use tenancy_core::rules::{Decision, change as rule, register as first};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::{Error, Timestamp};

fn context() -> DecisionContext {
    let now = Timestamp::from_second(1_700_000_000).expect("in range");
    DecisionContext::new(now, [7; 32], Actor::system("test"), CorrelationId::known("c"))
}

fn document(more: Value) -> Value {
    let mut document = json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1"});
    merge_patch(&mut document, &more);
    document
}

fn register(document: &Value) -> TenantSnapshot {
    let (manifest, warnings) = Manifest::parse(&Declared::default(), document).expect("good");
    first::register(&Declared::default(), &manifest, warnings, &mut context()).expect("made").snapshot
}

fn change(snapshot: &TenantSnapshot, document: &Value, allow: &[&str]) -> Result<Decision, Error> {
    let (manifest, warnings) = Manifest::parse(&Declared::default(), document).expect("good");
    let allow: Vec<_> = allow.iter().map(|word| (*word).to_owned()).collect();
    rule::change(&Declared::default(), snapshot, &manifest, warnings, &allow, &mut context())
}

#[test]
fn must_refuse_all_that_may_destroy_data_together_unless_it_is_allowed_by_name() {
    let before = json!({"deletion_protection": true, "policies": {"retentionDays": 90},
        "environments": [{"name": "dev"}, {"name": "prod", "retention_days": 60}]});
    let tenant = register(&document(before));
    let after = document(json!({"profile": "st-dedicated", "region": "us-east-1", "policies": {"retentionDays": 30},
        "environments": [{"name": "prod", "retention_days": 30}]}));
    let Err(Error::Gated(gates)) = change(&tenant, &after, &["move-profile"]) else { panic!("gated") };
    let found: Vec<_> = gates.iter().map(|gate| (gate.allow, gate.pointer.as_str())).collect();
    assert_eq!(
        found,
        [
            ("move-region", "/region"),
            ("protection-off", "/deletion_protection"),
            ("less-retention", "/policies/retentionDays"),
            ("remove-environment", "/environments/dev"),
            ("move-region", "/environments/prod/region"),
            ("less-retention", "/environments/prod/retention_days"),
        ]
    );
    assert!(gates.iter().all(|gate| ALLOWED_BY_NAME.contains(&gate.allow)), "{gates:?}");
    let changed = change(&tenant, &after, &ALLOWED_BY_NAME).expect("allowed");
    assert_eq!(changed.snapshot.tenant.terms.version, 2);
}

#[test]
fn must_gate_what_shortens_a_retention_and_nothing_else() {
    let manifest = |all: Option<i64>, prod: Option<i64>| {
        document(
            json!({"policies": {"retentionDays": all}, "environments": [{"name": "prod", "retention_days": prod}]}),
        )
    };
    const ALL: &str = "/policies/retentionDays";
    const PROD: &str = "/environments/prod/retention_days";
    for (before, after, expected) in [
        // Left out is as long as the tenant's, or without end.
        ((Some(90), None), (Some(90), Some(90)), &[][..]),
        ((Some(90), Some(90)), (Some(90), None), &[]),
        ((Some(90), None), (Some(90), Some(89)), &[PROD]),
        ((Some(90), Some(30)), (Some(90), None), &[]),
        ((None, None), (None, Some(90)), &[PROD]),
        ((None, Some(90)), (None, None), &[]),
        // The tenant's is shortened, and with it what leaves it out: that is one thing.
        ((Some(90), None), (Some(30), None), &[ALL]),
        ((None, None), (Some(90), None), &[ALL]),
        ((Some(90), Some(30)), (Some(60), Some(30)), &[ALL]),
        ((Some(30), None), (None, None), &[]),
        // Both are.
        ((None, Some(90)), (Some(60), None), &[ALL, PROD]),
        ((Some(90), Some(60)), (Some(30), Some(30)), &[ALL, PROD]),
        // The tenant's is lengthened, and the environment stays behind, or goes back.
        ((Some(60), None), (Some(90), Some(60)), &[]),
        ((Some(60), None), (Some(90), Some(30)), &[PROD]),
    ] {
        let tenant = register(&manifest(before.0, before.1));
        let found = match change(&tenant, &manifest(after.0, after.1), &["loosen-policy"]) {
            Err(Error::Gated(gates)) => gates.into_iter().map(|gate| (gate.allow, gate.pointer)).collect(),
            decided => decided.map(|_| Vec::new()).expect("decided"),
        };
        let expected: Vec<_> = expected.iter().map(|at| ("less-retention", (*at).to_owned())).collect();
        assert_eq!(found, expected, "from {before:?} to {after:?}");
    }
}

#[test]
fn must_gate_each_quota_policy_and_alias_that_is_removed_and_each_policy_that_is_loosened() {
    let before = json!({"aliases": {"stripe": "cus_1", "host": ["a.example", "b.example"]},
        "quotas": {"storageGiB": 9, "seats": 5}, "environments": [{"name": "prod", "quotas": {"storageGiB": 1}}],
        "policies": {"dataResidency": "in-region-only", "encryption": "kms-per-tenant", "purgeAfterDays": 9}});
    let tenant = register(&document(before));
    let after = document(json!({"aliases": {"host": "b.example"}, "quotas": {"storageGiB": 3},
        "environments": [{"name": "prod"}],
        "policies": {"dataResidency": "unrestricted", "encryption": "kms-per-tenant"}}));
    let Err(Error::Gated(gates)) = change(&tenant, &after, &[]) else { panic!("gated") };
    let found: Vec<_> = gates.iter().map(|gate| (gate.allow, gate.pointer.as_str())).collect();
    assert_eq!(
        found,
        [
            ("remove-alias", "/aliases/host"),
            ("remove-alias", "/aliases/stripe"),
            ("remove-quota", "/quotas/seats"),
            ("loosen-policy", "/policies/purgeAfterDays"),
            ("loosen-policy", "/policies/dataResidency"),
            ("remove-quota", "/environments/prod/quotas/storageGiB"),
        ]
    );
    // A stricter policy, a lower quota and another alias need no confirmation.
    let after = document(json!({"aliases": {"stripe": "cus_1", "host": ["a.example", "b.example", "c.example"]},
        "quotas": {"storageGiB": 3, "seats": 1}, "environments": [{"name": "prod", "quotas": {"storageGiB": 2}}],
        "policies": {"dataResidency": "in-region-only", "encryption": "kms-per-tenant", "purgeAfterDays": 10,
            "retentionDays": 3}}));
    assert!(change(&tenant, &after, &["less-retention"]).is_ok());
}

#[test]
fn must_refuse_a_new_key_that_is_near_a_declared_one_and_keep_every_other() {
    let near = json!({"policies": {"dataresidency": "x"}, "quotas": {"storageGb": 1, "seats": 2},
        "billing": {"cost_center": "CC", "invoice": "monthly"}, "environments": [{"name": "prod", "quotas": {"storagGiB": 1}}]});
    let (manifest, _) = Manifest::parse(&Declared::default(), &document(near.clone())).expect("good");
    let Err(Error::Gated(gates)) = new_keys(&Declared::default(), &manifest, &[]) else { panic!("gated") };
    let found: Vec<_> = gates.iter().map(|gate| (gate.allow, gate.pointer.as_str())).collect();
    let keys =
        ["/quotas/storageGb", "/policies/dataresidency", "/billing/cost_center", "/environments/prod/quotas/storagGiB"];
    assert_eq!(found, keys.map(|at| ("unknown-keys", at)));
    assert!(gates[0].message.contains("did you mean \"storageGiB\"?"), "{gates:?}");
    assert!(new_keys(&Declared::default(), &manifest, &["unknown-keys".to_owned()]).is_ok());

    // The same keys in a change: those that the tenant has already are not new.
    let empty = register(&document(json!({"environments": [{"name": "prod"}]})));
    let Err(Error::Gated(gates)) = change(&empty, &document(near.clone()), &[]) else { panic!("gated") };
    assert_eq!(gates.len(), keys.len(), "{gates:?}");
    let known = register(&document(near.clone()));
    let mut other = document(near);
    merge_patch(&mut other, &json!({"quotas": {"storageGb": 7}, "display_name": "x"}));
    assert!(change(&known, &other, &[]).is_ok());
}
