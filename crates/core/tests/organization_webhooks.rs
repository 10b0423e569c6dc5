//! Webhooks in the manifests of organizations: what a change guards, writes and records.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};
use tenancy_core::actor::Actor;
use tenancy_core::changes::{Changes, Guard, Write};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::event::EventType;
use tenancy_core::ids::CorrelationId;
use tenancy_core::organization::Usage;
use tenancy_core::rules::organizations::{
    OrganizationDecision, OrganizationManifest, change, close, create, with_webhook,
};
use tenancy_core::rules::webhooks;
use tenancy_core::{Error, Timestamp};

fn context(byte: u8) -> DecisionContext {
    let now = Timestamp::from_second(1_700_000_000 + i64::from(byte)).expect("a time");
    DecisionContext::new(now, [byte; 32], Actor::system("test"), CorrelationId::known("c"))
}

fn hook(name: &str) -> Value {
    json!({"name": name, "url": format!("https://hooks.example/zz-{name}"), "events": ["TENANCY_*"]})
}

fn manifest(webhooks: &[Value]) -> OrganizationManifest {
    let document = json!({"organization_id": "acme", "webhooks": webhooks});
    let (manifest, warnings) = OrganizationManifest::parse(&Declared::default(), &document).expect("good");
    assert_eq!(warnings, []);
    manifest
}

fn acme(webhooks: &[Value]) -> OrganizationDecision {
    create(&manifest(webhooks), &mut context(1)).expect("made")
}

/// The changes of webhooks that the events record, and the events of the organization.
fn recorded(changes: &Changes) -> (Vec<String>, Vec<EventType>) {
    let (mut said, mut others) = (Vec::new(), Vec::new());
    for event in changes.events() {
        assert!(event.event_type.accepts(&event.payload), "{:?}", event.payload);
        let text = serde_json::to_string(&event.payload).unwrap();
        assert!(!text.contains("zz-"), "a URL can contain a secret: {text}");
        match event.event_type {
            EventType::WebhookUpdated => {
                let field = |name: &str| event.payload[name].as_str().expect("text").to_owned();
                assert_eq!(field("organization_id"), "acme");
                said.push(format!("{} {}", field("change"), field("name")));
            }
            other => others.push(other),
        }
    }
    (said, others)
}

#[test]
fn must_take_webhooks_to_the_entries_and_write_each_once() {
    let made = acme(&[hook("main"), hook("aux"), hook("same")]);
    let changes = made.changes.expect("changes");
    let added = vec!["added aux".to_owned(), "added main".to_owned(), "added same".to_owned()];
    assert_eq!(recorded(&changes), (added, vec![EventType::OrganizationCreated]));
    let names: Vec<_> = made.webhooks.iter().map(|webhook| webhook.name.as_str()).collect();
    assert_eq!(names, ["aux", "main", "same"]);
    assert!(changes.guards.contains(&Guard::WebhookUnused("acme/main".to_owned())));

    let mut other = hook("main");
    other["max_per_second"] = json!(5);
    let wanted = manifest(&[other, hook("same"), hook("third")]);
    let changed =
        change(&made.organization, &made.webhooks, &Usage::default(), &wanted, &mut context(2)).expect("changed");
    assert_eq!(OrganizationManifest::of(&changed.organization, &changed.webhooks), wanted);
    let changes = changed.changes.expect("changes");
    let said = vec!["removed aux".to_owned(), "changed main".to_owned(), "added third".to_owned()];
    assert_eq!(recorded(&changes), (said, vec![EventType::OrganizationUpdated]));
    assert_eq!(changes.events()[0].payload["changes"], json!([]), "webhooks have their own events");
    let id =
        |name: &str| made.webhooks.iter().find(|webhook| webhook.name.as_str() == name).unwrap().webhook_id.clone();
    let guards = [
        Guard::OrganizationAt(made.organization.organization_id.clone(), 1, 1),
        Guard::WebhookAt(id("aux"), 1),
        Guard::WebhookAt(id("main"), 1),
        Guard::WebhookUnused("acme/third".to_owned()),
    ];
    assert_eq!(changes.guards, guards);
    let versions: Vec<_> = changed.webhooks.iter().map(|webhook| webhook.version).collect();
    assert_eq!((changed.organization.version, versions), (2, vec![2, 1, 1]));
    let same = change(&changed.organization, &changed.webhooks, &Usage::default(), &wanted, &mut context(3));
    assert!(same.expect("unchanged").changes.is_none());
}

#[test]
fn must_raise_the_version_with_each_change_of_what_the_manifest_says() {
    let made = acme(&[hook("main")]);
    let (organization, before) = (&made.organization, &made.webhooks[0]);
    let raised = |decision, before| {
        let decision = with_webhook(organization, before, decision, &mut context(4)).expect("decided");
        let changes = decision.changes?;
        let at = Guard::OrganizationAt(organization.organization_id.clone(), 1, 1);
        let is_raised = changes.guards.contains(&at);
        let writes = changes.writes.iter().filter(|write| matches!(write, Write::UpdateOrganizationManifest(_)));
        assert_eq!(writes.count(), usize::from(is_raised));
        assert_eq!(recorded(&changes).1.len(), usize::from(is_raised));
        Some(is_raised)
    };
    let switch = |enabled| webhooks::switch(before, enabled, &mut context(5)).expect("decided");
    assert_eq!(raised(switch(false), Some(before)), Some(true));
    assert_eq!(raised(switch(true), Some(before)), None, "nothing changes");
    assert_eq!(raised(webhooks::delete(before, &mut context(5)).expect("decided"), Some(before)), Some(true));
    let rotated = webhooks::rotate(before, "sealed".to_owned(), &mut context(5)).expect("decided");
    assert_eq!(raised(rotated, Some(before)), Some(false), "a secret is no part of a manifest");
    let entry = &manifest(&[hook("more")]).webhooks[0];
    let added = webhooks::create(before.owner.clone(), &made.webhooks, entry, &mut context(5)).expect("decided");
    assert_eq!(raised(added, None), Some(true));
}

#[test]
fn must_take_only_removals_if_the_organization_is_closed() {
    let made = acme(&[hook("main")]);
    let closed = close(&made.organization, &made.webhooks, &mut context(2)).expect("closed");
    assert_eq!(closed.webhooks, made.webhooks);
    let to = |webhooks: &[Value]| {
        change(&closed.organization, &closed.webhooks, &Usage::default(), &manifest(webhooks), &mut context(3))
    };
    assert!(matches!(to(&[hook("main"), hook("more")]), Err(Error::NotNow(_))));
    assert!(to(&[hook("main")]).expect("unchanged").changes.is_none());
    let removed = to(&[]).expect("removed");
    assert_eq!((removed.webhooks.len(), removed.organization.version), (0, 2));
}
