//! A document that was read can be edited and sent back.

use super::{desired, facts};
use serde_json::{Value, json};
use tenancy_api::Viewpoint;
use tenancy_core::Timestamp;
use tenancy_core::actor::Actor;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::ids::CorrelationId;
use tenancy_core::manifest::Manifest;
use tenancy_core::snapshot::TenantSnapshot;

fn whole() -> TenantSnapshot {
    let declared = Declared::default();
    let document = json!({
        "tenant_id": "acme-eu", "organization_id": "acme", "display_name": "Acme", "profile": "mt-standard",
        "desired_state": "Active", "region": "eu-west-1", "labels": {"tier": "gold"}, "deletion_protection": true,
        "aliases": {"stripe": "cus_9s6", "host": ["a.example", "b.example"]}, "quotas": {"storageGiB": 5},
        "policies": {"retentionDays": 30}, "billing": {"plan": "x"},
        "environments": [{"name": "dev", "quotas": {"storageGiB": 1}, "retention_days": 3}, {"name": "prod"}],
        "webhooks": [{"name": "main", "url": "https://x", "events": ["TENANCY_*"], "retry_policy": {"max_retries": 1}}],
    });
    let (manifest, warnings) = Manifest::parse(&declared, &document).expect("a manifest");
    let now = Timestamp::from_second(1_800_000_000).expect("a time");
    let mut context = DecisionContext::new(now, [7; 32], Actor::system("test"), CorrelationId::known("c"));
    tenancy_core::rules::register::register(&declared, &manifest, warnings, &mut context).expect("registered").snapshot
}

/// An answer contains the fields of the manifest exactly as the manifest has them, and otherwise only facts that
/// [`facts`] knows. So a document that was read can be edited and sent back.
#[test]
fn must_answer_the_manifest_and_known_facts() {
    let snapshot = whole();
    let view = serde_json::to_value(tenancy_api::tenant::Tenant::of(
        &Declared::default(),
        Viewpoint::unnamed(tenancy_core::permission::Audience::Staff),
        &snapshot,
    ))
    .expect("json");
    let document = view.as_object().cloned().expect("an object");
    let desired = desired::of_known(
        &Declared::default(),
        Viewpoint::unnamed(tenancy_core::permission::Audience::Staff),
        &snapshot,
        &Value::Object(document.clone()),
        desired::How::Replace,
    );
    let desired = desired.expect("what is read is taken back");
    assert_eq!(desired.manifest.document(), Manifest::of(&snapshot).document());
    for (name, value) in Manifest::of(&snapshot).document().as_object().expect("an object") {
        // Entries of lists have facts of their own.
        if name != "environments" && name != "webhooks" {
            assert_eq!(&document[name], value, "{name}");
        }
    }
    let known = |name: &str| facts::TENANT.fixed.contains(&name) || facts::TENANT.moving.contains(&name);
    let manifest = Manifest::of(&snapshot).document();
    for name in document.keys() {
        assert!(known(name) || name == "version" || manifest.get(name).is_some(), "{name}");
    }
}

#[test]
fn must_refuse_an_edited_fact_by_name() {
    let snapshot = whole();
    let view = serde_json::to_value(tenancy_api::tenant::Tenant::of(
        &Declared::default(),
        Viewpoint::unnamed(tenancy_core::permission::Audience::Staff),
        &snapshot,
    ))
    .expect("json");
    let mut edited = view.clone();
    edited["state"] = json!("Active");
    edited["environments"][1]["env_id"] = json!("env_x");
    edited["webhooks"][0]["disabled_cause"] = json!("none");
    let how = desired::How::Replace;
    let refused = desired::of_known(
        &Declared::default(),
        Viewpoint::unnamed(tenancy_core::permission::Audience::Staff),
        &snapshot,
        &edited,
        how,
    );
    let Err(tenancy_core::Error::Invalid(violations)) = refused else { panic!("{refused:?}") };
    let places: Vec<_> = violations.iter().map(|v| (v.code, v.pointer.as_str())).collect();
    assert_eq!(
        places,
        [("read_only", "/state"), ("read_only", "/environments/1/env_id"), ("read_only", "/webhooks/0/disabled_cause")]
    );
}
