//! The log has one order and no gaps, and is append-only.

use crate::harness::{Bench, full, on_both, on_pooled, small, tenant};
use serde_json::json;
use tenancy_core::event::EventType;
use tenancy_core::scope::Scope;
use tenancy_store::page::{AuditFilter, Page};

on_both!(
    must_number_events_without_gap_under_concurrent_commits,
    must_keep_private_content_beside_the_log,
    must_filter_the_log,
);

on_pooled!(must_number_events_without_gap_under_concurrent_commits, must_filter_the_log,);

async fn must_number_events_without_gap_under_concurrent_commits(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let mut all = Vec::new();
    for number in 0..60 {
        let changes = bench.registration(&full(&format!("t-{number}"), "acme")).changes.unwrap();
        let (store, events) = (bench.store.clone(), changes.events().len());
        all.push(tokio::spawn(async move { (store.commit(changes).await.unwrap().position, events) }));
    }
    let mut told = Vec::new();
    for one in all {
        told.push(one.await.unwrap());
    }
    told.sort_unstable();
    let mut next = 2;
    for (position, events) in told {
        assert_eq!(position, next);
        next += i64::try_from(events).unwrap();
    }
    let (mut seen, mut page) = (Vec::new(), Page { after: None, limit: 17 });
    loop {
        let listed = bench.store.audit(&Scope::All, &AuditFilter::default(), &page).await.unwrap();
        seen.extend(listed.items.iter().map(|row| row.position));
        let Some(after) = listed.next else { break };
        page.after = Some(after);
    }
    assert_eq!(seen, (1..next).collect::<Vec<_>>());
}

async fn must_keep_private_content_beside_the_log(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&full("t-1", "acme")).await.unwrap();
    let filter = AuditFilter { tenant_id: Some(tenant("t-1")), ..AuditFilter::default() };
    let events = bench.store.audit(&Scope::All, &filter, &Page::default()).await.unwrap().items;
    let registered = &events[0].event;
    assert_eq!(registered.event_type, EventType::TenancyRegistered);
    assert!(!serde_json::to_string(&registered.payload).unwrap().contains("Acme Europe"));
    let private = registered.private.as_ref().unwrap();
    assert_eq!(private.content["display_name"], "Acme Europe");
    let digest = tenancy_core::json::sha256_hex(&[private.salt.as_bytes(), private.content.to_string().as_bytes()]);
    assert_eq!(registered.payload["private_digest"], json!(digest));
}

async fn must_filter_the_log(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let between = bench.store.now();
    bench.register(&full("t-2", "acme")).await.unwrap();
    let found = async |filter: AuditFilter| {
        let listed = bench.store.audit(&Scope::All, &filter, &Page::default()).await.unwrap();
        listed.items.into_iter().map(|row| row.position).collect::<Vec<_>>()
    };
    assert_eq!(found(AuditFilter { newest_first: true, ..AuditFilter::default() }).await, [6, 5, 4, 3, 2, 1]);
    assert_eq!(found(AuditFilter { since: Some(between), ..AuditFilter::default() }).await, [3, 4, 5, 6]);
    assert_eq!(found(AuditFilter { until: Some(between), ..AuditFilter::default() }).await, [1, 2]);
    let types = vec![EventType::EnvironmentCreated, EventType::OrganizationCreated];
    assert_eq!(found(AuditFilter { event_types: types, ..AuditFilter::default() }).await, [1, 4, 5]);
    assert_eq!(found(AuditFilter { tenant_id: Some(tenant("t-1")), ..AuditFilter::default() }).await, [2]);
}
