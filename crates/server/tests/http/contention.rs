//! Many changes of one tenant at one moment: each of them is decided again until it is committed.

use crate::house::{House, On, acme_eu, on_both};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Guard};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::event::{Event, EventType};
use tenancy_core::ids::{CorrelationId, TenantId};
use tenancy_server::authentication::Caller;
use tenancy_server::operations::{Command, Decided, Done};
use tenancy_server::tenancy::{RequestContext, Tenancy};

const PATH: &str = "/v1/tenants/acme-eu";

on_both!(a_change_that_loses_many_times_in_a_row_must_succeed);

async fn renamed(house: &House, name: &str) -> u16 {
    house.send("PATCH", PATH, &[("if-match", "*")], json!({"display_name": name})).await.status.as_u16()
}

/// A change of a tenant that somebody else changes after each of its first decisions.
struct Overtaken {
    house: Arc<House>,
    losses: u64,
    decided: AtomicU64,
}

impl Command for Overtaken {
    type Outcome = u64;

    async fn decide(
        &self,
        tenancy: &Tenancy,
        _: &Caller,
        context: &mut DecisionContext,
    ) -> Result<Decided<Self::Outcome>, Error> {
        let id = TenantId::parse("acme-eu").expect("an id");
        let now = tenancy.store.snapshot(&id).await?.expect("there").tenant;
        let mut changes = Changes::new(Event::new(context, None, EventType::KeyRevoked, json!({})));
        changes.guard(Guard::TenantAt(id, now.terms.version, now.facts.counter));
        let decided = self.decided.fetch_add(1, Ordering::SeqCst);
        if decided < self.losses {
            assert_eq!(renamed(&self.house, &format!("rival {decided}")).await, 200);
        }
        Ok(Decided { outcome: decided, changes: Some(changes) })
    }
}

async fn a_change_that_loses_many_times_in_a_row_must_succeed(on: On) {
    let house = Arc::new(House::new(on).await);
    house.furnish().await;
    let command = Overtaken { house: Arc::clone(&house), losses: 40, decided: AtomicU64::new(0) };
    let request = RequestContext::by_part("test", CorrelationId::known("c-1"));
    // Its rivals need the queue, too, as soon as they have lost; inline, this change is the only one that loses.
    let done = house.server.tenancy.decide_and_commit(&command, &request, None).await;
    assert!(matches!(done, Ok(Done::Now(40))), "{done:?}");
}

/// Three processes, one tenant.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_of_many_changes_at_one_moment_must_succeed_over_three_processes() {
    let house = House::new(On::Postgres).await;
    house.post("/v1/organizations", json!({"organization_id": "acme"})).await.ok(201);
    house.post("/v1/tenants", acme_eu()).await.ok(201);
    let (second, third) = (house.beside().await, house.beside().await);
    let houses = [&house, &second, &third];
    let version = house.get(PATH).await.body["version"].as_u64().expect("a version");
    let sent = (0..300).map(|number| renamed_by(houses[number % 3], number));
    let statuses = join_all(sent).await;
    let failed: Vec<_> = statuses.iter().filter(|status| **status != 200).collect();
    assert!(failed.is_empty(), "{failed:?}");
    assert_eq!(house.get(PATH).await.body["version"].as_u64(), Some(version + 300));
}

async fn renamed_by(house: &House, number: usize) -> u16 {
    renamed(house, &format!("name {number}")).await
}
