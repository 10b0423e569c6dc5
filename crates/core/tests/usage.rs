//! What an organization's tenants are in sum, and that its caps are exact whatever is declared when.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};
use std::collections::HashMap;
use tenancy_core::Timestamp;
use tenancy_core::actor::Actor;
use tenancy_core::changes::{Changes, Conflict, Guard};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::{Declared, QuotaKey};
use tenancy_core::ids::{CorrelationId, OrganizationId};
use tenancy_core::judge::{CurrentOrganization, CurrentRows, Verdict, judge};
use tenancy_core::manifest::Manifest;
use tenancy_core::organization::{Caps, MAX_QUOTA_KEYS, QUOTA_KEYS, Usage};
use tenancy_core::rules::{change, register};
use tenancy_core::snapshot::TenantSnapshot;

fn context() -> DecisionContext {
    let now = Timestamp::from_second(1_700_000_000).expect("in range");
    DecisionContext::new(now, [7; 32], Actor::system("test"), CorrelationId::known("c"))
}

/// One organization, what it may be, and what it is.
struct House {
    declared: Declared,
    caps: Caps,
    usage: Usage,
}

impl House {
    fn new(caps: &[(&str, i64)]) -> Self {
        let quotas = caps.iter().map(|(name, cap)| ((*name).to_owned(), *cap)).collect();
        let caps = Caps { tenants: None, quotas };
        Self { declared: Declared::default(), caps, usage: Usage::default() }
    }

    fn declare(&mut self, name: &str) {
        self.declared.quotas.insert(name.to_owned(), QuotaKey { unit: name.to_owned(), sums: true });
    }

    fn manifest(&self, id: &str, quotas: &Value) -> Manifest {
        let document = json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1", "quotas": quotas});
        Manifest::parse(&self.declared, &document).expect("good").0
    }

    fn registration(&self, id: &str, quotas: &Value) -> (TenantSnapshot, Changes) {
        let manifest = self.manifest(id, quotas);
        let made = register::register(&self.declared, &manifest, Vec::new(), &mut context()).expect("made");
        (made.snapshot, made.changes.expect("changes"))
    }

    fn register(&mut self, id: &str, quotas: &Value) -> Result<TenantSnapshot, Conflict> {
        let (snapshot, changes) = self.registration(id, quotas);
        self.commit(&[&changes]).remove(0).map(|()| snapshot)
    }

    fn change(&mut self, snapshot: &TenantSnapshot, quotas: &Value) -> Result<TenantSnapshot, Conflict> {
        let manifest = self.manifest(snapshot.tenant.tenant_id.as_str(), quotas);
        let changed = change::change(
            &self.declared,
            snapshot,
            &manifest,
            Vec::new(),
            &["remove-quota".to_owned()],
            &mut context(),
        )
        .expect("good");
        self.commit(&[&changed.changes.expect("changes")]).remove(0).map(|()| changed.snapshot)
    }

    /// Commits a batch by the judge, whose only organization is this one.
    fn commit(&mut self, members: &[&Changes]) -> Vec<Result<(), Conflict>> {
        let acme = CurrentOrganization {
            version: 1,
            counter: 1,
            open: true,
            caps: self.caps.clone(),
            usage: self.usage.clone(),
            usage_serial: 0,
        };
        // Who is changed is there, as the change found it.
        let tenants = members.iter().flat_map(|changes| &changes.guards).filter_map(|guard| match guard {
            Guard::TenantAt(id, version, counter) => Some((id.clone(), (*version, *counter))),
            _ => None,
        });
        let found = CurrentRows {
            organizations: HashMap::from([(OrganizationId::known("acme"), acme)]),
            tenants: tenants.collect(),
            ..CurrentRows::default()
        };
        let judgement = judge(members, &found);
        if let Some((_, usage)) = judgement.usages.into_values().next() {
            self.usage = usage;
        }
        let verdict = |verdict| match verdict {
            Verdict::In => Ok(()),
            Verdict::Out(conflict) => Err(conflict),
            other => panic!("{other:?}"),
        };
        judgement.verdicts.into_iter().map(verdict).collect()
    }
}

fn many(names: std::ops::Range<usize>) -> Value {
    Value::Object(names.map(|n| (format!("k{n}"), json!(1))).collect())
}

#[test]
fn must_cap_a_quota_that_is_declared_later() {
    let mut house = House::new(&[("seats", 100)]);
    let first = house.register("t-1", &json!({"seats": i64::MAX})).expect("it is not declared: it may be anything");
    house.declare("seats");
    house.change(&first, &json!({"seats": 50})).expect("room");
    assert_eq!(house.usage.quotas["seats"], 50);
    let refused = house.register("t-2", &json!({"seats": 90}));
    assert!(matches!(refused, Err(Conflict::CapsExceeded { exceeded, .. }) if exceeded[0].used == 50));
    assert_eq!(house.usage.quotas["seats"], 50);
}

#[test]
fn must_count_a_quota_while_it_is_not_declared() {
    let mut house = House::new(&[("seats", 100)]);
    house.declare("seats");
    let first = house.register("t-1", &json!({"seats": 90})).expect("room");
    house.declared.quotas.remove("seats");
    let refused = house.register("t-2", &json!({"seats": 20}));
    assert!(matches!(refused, Err(Conflict::CapsExceeded { .. })), "the cap stands");
    house.change(&first, &json!({"seats": 10})).expect("less");
    house.register("t-2", &json!({"seats": 20})).expect("room");
    house.declare("seats");
    assert_eq!(house.usage.quotas["seats"], 30);
}

#[test]
fn must_not_count_what_can_never_have_a_cap() {
    let mut house = House::new(&[]);
    let odd = json!({"": 1, "two words": 1, "a\tb": 1, "x".repeat(65): 1, "text": "1", "half": 0.5, "less": -1,
                     "most": (1i64 << 40) + 1, "list": [1], "nothing": 0});
    let first = house.register("t-1", &odd).expect("kept as it came");
    assert!(house.usage.quotas.is_empty(), "{:?}", house.usage);
    house.change(&first, &json!({"seats": 1})).expect("room");
    assert_eq!(house.usage.quotas.len(), 1);
}

#[test]
fn must_bound_how_many_different_quotas_an_organization_has() {
    let mut house = House::new(&[]);
    for tenant in 0..4 {
        let quotas = many(64 * tenant..64 * (tenant + 1));
        house.register(&format!("t-{tenant}"), &quotas).expect("room");
    }
    assert_eq!(house.usage.quotas.len(), MAX_QUOTA_KEYS);
    let (last, _) = house.registration("t-3", &many(192..256));
    let Err(refused) = house.register("t-5", &json!({"one-more": 1, "k0": 1})) else { panic!("one key too many") };
    assert_eq!(refused.fields()[0].pointer, "/quotas");
    assert!(refused.to_string().contains("different quota keys: 256 of 256 used"), "{refused}");
    house.register("t-5", &json!({"k0": 1})).expect("its name is there already");
    // One goes and another comes: as many as before.
    let Ok(_) = house.change(&last, &many(193..257)) else { panic!("k192 goes, k256 comes") };
    assert_eq!(house.usage.quotas.len(), MAX_QUOTA_KEYS);
}

#[test]
fn must_count_the_quotas_of_a_batch_member_by_member() {
    let mut house = House::new(&[]);
    for tenant in 0..3 {
        house.register(&format!("t-{tenant}"), &many(64 * tenant..64 * (tenant + 1))).expect("room");
    }
    let (_, first) = house.registration("t-3", &many(192..255));
    let (_, second) = house.registration("t-4", &many(254..257));
    let (_, third) = house.registration("t-5", &many(254..256));
    let verdicts = house.commit(&[&first, &second, &third]);
    let [Ok(()), Err(Conflict::CapsExceeded { exceeded, .. }), Ok(())] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((exceeded[0].cap.as_str(), exceeded[0].used, exceeded[0].asked), (QUOTA_KEYS, 255, 2));
    assert_eq!(house.usage.quotas.len(), MAX_QUOTA_KEYS);
    assert_eq!(house.usage.quotas["k254"], 2);
}
