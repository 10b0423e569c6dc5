//! Organizations with changed holds are found until their tenants are adjusted, and no earlier decision is committed
//! afterwards.

use crate::harness::{Bench, on_both, organization, small, tenant};
use serde_json::json;
use tenancy_core::Error;
use tenancy_core::changes::Conflict;
use tenancy_core::hold::Held;
use tenancy_core::rules::lifecycle::Suspension;
use tenancy_core::rules::organization_holds::{place, release};

on_both!(
    must_keep_holds_on_an_organization,
    must_find_an_organization_until_its_tenants_have_followed,
    must_refuse_decisions_from_before_the_tenants_counters_changed,
    must_let_one_of_two_who_hold_an_organization_decide_again,
);

async fn hold(bench: &Bench, id: &str, kind: &str) -> i64 {
    let known = bench.store.organization(&organization(id)).await.unwrap().unwrap();
    let suspension = Suspension { hold: Some(kind.to_owned()), reason: Some("why".to_owned()), until: None };
    let held = place(&bench.declared, &known.organization, &known.holds, &suspension, &mut bench.context()).unwrap();
    bench.commit(held.changes).await.unwrap();
    let now = bench.store.organization(&organization(id)).await.unwrap().unwrap();
    assert_eq!((now.organization, now.holds), (held.organization.clone(), held.holds));
    held.organization.counter
}

async fn unsettled(bench: &Bench) -> Vec<String> {
    let found = bench.store.unsettled_organizations(None, 10).await.unwrap();
    found.into_iter().map(|organization| organization.organization_id.to_string()).collect()
}

async fn must_keep_holds_on_an_organization(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.organization("other", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    bench.register(&small("t-2", "other")).await.unwrap();
    hold(&bench, "acme", "security").await;
    hold(&bench, "acme", "billing").await;
    let kinds = async |id: &str| {
        let holds = bench.snapshot(id).await.organization_holds;
        assert!(holds.iter().all(|hold| hold.held == Held::Organization(organization("acme"))));
        holds.into_iter().map(|hold| hold.kind).collect::<Vec<_>>()
    };
    assert_eq!(kinds("t-1").await, ["billing", "security"]);
    assert_eq!(kinds("t-2").await, [""; 0]);
    let known = bench.store.organization(&organization("acme")).await.unwrap().unwrap();
    let released =
        release(&bench.declared, &known.organization, &known.holds, Some("security"), &mut bench.context()).unwrap();
    bench.commit(released.changes).await.unwrap();
    assert_eq!(kinds("t-1").await, ["billing"]);
}

async fn must_find_an_organization_until_its_tenants_have_followed(bench: Bench) {
    for id in ["a1", "a2", "a3"] {
        bench.organization(id, json!({})).await;
    }
    assert_eq!(unsettled(&bench).await, [""; 0]);
    let (first, _) = (hold(&bench, "a3", "billing").await, hold(&bench, "a1", "billing").await);
    assert_eq!(unsettled(&bench).await, ["a1", "a3"]);
    let behind = bench.store.unsettled_organizations(Some(&organization("a1")), 1).await.unwrap();
    assert_eq!(behind[0].organization_id, organization("a3"));
    let second = hold(&bench, "a3", "abuse").await;
    bench.store.note_settled(&organization("a3"), first).await.unwrap();
    assert_eq!(unsettled(&bench).await, ["a1", "a3"], "changed since");
    bench.store.note_settled(&organization("a3"), second).await.unwrap();
    bench.store.note_settled(&organization("a3"), first).await.unwrap();
    assert_eq!(unsettled(&bench).await, ["a1"], "a late note does not undo a newer one");
}

async fn must_refuse_decisions_from_before_the_tenants_counters_changed(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.organization("other", json!({})).await;
    for (id, of) in [("t-1", "acme"), ("t-2", "other"), ("t-3", "acme"), ("t-4", "acme")] {
        bench.register(&small(id, of)).await.unwrap();
    }
    let change = async |id: &str, of: &str| {
        let mut document = small(id, of);
        document["display_name"] = json!("late");
        bench.change(&bench.snapshot(id).await, &document, &[]).unwrap().changes
    };
    let (late, others) = (change("t-3", "acme").await, change("t-2", "other").await);
    let page = bench.store.move_tenants(&organization("acme"), None, 2).await.unwrap();
    assert_eq!(page, [tenant("t-1"), tenant("t-3")]);
    let rest = bench.store.move_tenants(&organization("acme"), page.last(), 2).await.unwrap();
    assert_eq!(rest, [tenant("t-4")]);
    assert_eq!(bench.store.move_tenants(&organization("acme"), rest.last(), 2).await.unwrap(), []);
    let refused = bench.commit(late).await;
    assert_eq!(refused, Err(Error::Conflict(Conflict::TenantMoved { id: tenant("t-3"), version: 1, counter: 2 })));
    bench.commit(others).await.unwrap();
    bench.commit(change("t-3", "acme").await).await.unwrap();
}

async fn must_let_one_of_two_who_hold_an_organization_decide_again(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let known = bench.store.organization(&organization("acme")).await.unwrap().unwrap();
    let mut asked = Vec::new();
    for kind in ["billing", "abuse"] {
        let suspension = Suspension { hold: Some(kind.to_owned()), ..Suspension::default() };
        let held = place(&bench.declared, &known.organization, &[], &suspension, &mut bench.context()).unwrap();
        let store = bench.store.clone();
        asked.push(tokio::spawn(async move { store.commit(held.changes.unwrap()).await }));
    }
    let mut answers = Vec::new();
    for one in asked {
        answers.push(one.await.unwrap());
    }
    let lost = Err(Error::Conflict(Conflict::OrganizationMoved { id: organization("acme"), version: 1, counter: 2 }));
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 1);
    assert_eq!(answers.iter().filter(|answer| **answer == lost).count(), 1);
}
