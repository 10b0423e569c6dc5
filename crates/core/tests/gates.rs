//! What may destroy data is done only when it is allowed by name.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};
use tenancy_core::actor::Actor;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::ids::CorrelationId;
use tenancy_core::json::merge_patch;
use tenancy_core::manifest::Manifest;
use tenancy_core::rules::gates::ALLOWED_BY_NAME;
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
        let found = match change(&tenant, &manifest(after.0, after.1), &[]) {
            Err(Error::Gated(gates)) => gates.into_iter().map(|gate| (gate.allow, gate.pointer)).collect(),
            decided => decided.map(|_| Vec::new()).expect("decided"),
        };
        let expected: Vec<_> = expected.iter().map(|at| ("less-retention", (*at).to_owned())).collect();
        assert_eq!(found, expected, "from {before:?} to {after:?}");
    }
}
