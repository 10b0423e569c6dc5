//! Placements, and the slots of the places on them.

use crate::harness::{Bench, full, on_both, on_model, on_pooled, tenant};
use serde_json::json;
use tenancy_core::Error;
use tenancy_core::changes::{Changes, Conflict};
use tenancy_core::ids::PlacementName;
use tenancy_core::job::Job;
use tenancy_core::placement::{Chosen, Intent, Place, Placement, PlacementKind};
use tenancy_core::rules::placement_manifest::PlacementManifest;
use tenancy_core::rules::placements::{Taken, change, create, delete};
use tenancy_core::rules::step::announced;
use tenancy_store::page::Page;

on_both!(
    must_read_back_a_placement_and_refuse_a_change_of_an_older_version,
    must_give_each_slot_to_one_place,
    must_not_put_a_place_on_a_placement_that_is_gone,
    must_not_delete_a_placement_under_a_place,
);

on_pooled!(
    must_read_back_a_placement_and_refuse_a_change_of_an_older_version,
    must_give_each_slot_to_one_place,
    must_not_put_a_place_on_a_placement_that_is_gone,
);

on_model!(must_read_back_a_placement_and_refuse_a_change_of_an_older_version);

fn manifest(bench: &Bench, cap: i64) -> PlacementManifest {
    let document = json!({
        "name": "disk-1", "place_kind": "sqlite", "region": "eu-west-1", "max_environments": cap,
        "address": {"host": "db.example", "port": 5432}, "profiles": ["st-dedicated"], "isolation_levels": ["strict"],
    });
    PlacementManifest::parse(&bench.declared, &document, None).unwrap()
}

async fn created(bench: &Bench) -> Placement {
    let decision = create(&manifest(bench, 7), 0, &mut bench.context()).unwrap();
    bench.commit(decision.changes).await.unwrap();
    decision.placement
}

/// A running job of a new tenant.
async fn working(bench: &Bench, id: &str) -> Job {
    bench.register(&full(id, "acme")).await.unwrap();
    let jobs = bench.claim().await;
    jobs.into_iter().find(|job| job.tenant_id == tenant(id)).unwrap()
}

/// Changes that record a place with this slot for the first environment of the job's tenant.
async fn placing(bench: &Bench, job: &Job, slot: &str) -> Changes {
    let snapshot = bench.snapshot(job.tenant_id.as_str()).await;
    let env_id = snapshot.environments[0].env_id.clone();
    let place = Place { kind: PlacementKind::Sqlite, location: env_id.to_string(), fingerprint: "made".to_owned() };
    let placement = Some(PlacementName::known("disk-1"));
    let intent = Intent::Make(Chosen { placement, slot: Some(slot.to_owned()), place });
    announced(&bench.declared, &snapshot, job, (&env_id, &intent), &mut bench.context()).unwrap().changes.unwrap()
}

async fn must_read_back_a_placement_and_refuse_a_change_of_an_older_version(bench: Bench) {
    let first = created(&bench).await;
    let read = async || bench.store.all_placements().await.unwrap();
    assert_eq!(read().await, std::slice::from_ref(&first));
    let again = create(&manifest(&bench, 7), 1, &mut bench.context()).unwrap();
    let exists = Conflict::PlacementExists(first.name.clone());
    assert_eq!(bench.commit(again.changes).await, Err(Error::Conflict(exists)));
    let second = change(&first, &manifest(&bench, 8), &mut bench.context()).unwrap();
    bench.commit(second.changes).await.unwrap();
    assert_eq!(read().await, std::slice::from_ref(&second.placement));
    let stale = change(&first, &manifest(&bench, 9), &mut bench.context()).unwrap();
    let moved = || Err(Error::Conflict(Conflict::PlacementMoved(first.name.clone())));
    assert_eq!(bench.commit(stale.changes).await, moved());
    let gone = delete(&second.placement, 0, &mut bench.context()).unwrap();
    bench.commit(gone.changes.clone()).await.unwrap();
    assert_eq!(read().await, []);
    let twice = delete(&second.placement, 0, &mut bench.context()).unwrap();
    assert_eq!(bench.commit(twice.changes).await, moved());
}

async fn must_give_each_slot_to_one_place(bench: Bench) {
    bench.organization("acme", json!({})).await;
    created(&bench).await;
    let (one, other) = (working(&bench, "acme-eu").await, working(&bench, "acme-us").await);
    let (first, second) = (placing(&bench, &one, "disk-1/3").await, placing(&bench, &other, "disk-1/3").await);
    let both = futures_util::join!(bench.commit(Some(first)), bench.commit(Some(second)));
    let taken = Err(Error::Conflict(Conflict::SlotTaken("disk-1/3".to_owned())));
    assert!(both.0.is_ok() && both.1 == taken || both.1.is_ok() && both.0 == taken, "{both:?}");
    let loser = if both.0.is_ok() { &other } else { &one };
    bench.commit(Some(placing(&bench, loser, "disk-1/4").await)).await.unwrap();
}

async fn must_not_put_a_place_on_a_placement_that_is_gone(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let job = working(&bench, "acme-eu").await;
    let missing = Conflict::PlacementMissing(PlacementName::known("disk-1"));
    assert_eq!(bench.commit(Some(placing(&bench, &job, "disk-1/1").await)).await, Err(Error::Conflict(missing)));
    assert_eq!(bench.snapshot("acme-eu").await.placements, []);
}

async fn must_not_delete_a_placement_under_a_place(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let placement = created(&bench).await;
    let job = working(&bench, "acme-eu").await;
    bench.commit(Some(placing(&bench, &job, "disk-1/1").await)).await.unwrap();
    assert_eq!(bench.store.count_places(&placement.name, 10).await.unwrap(), 1);
    let taken = bench.store.taken(&placement.name).await.unwrap();
    assert_eq!(taken, Taken { numbers: [1].into(), others: 0 });
    // Who deletes it has counted before the place was there.
    let gone = delete(&placement, 0, &mut bench.context()).unwrap();
    assert!(bench.commit(gone.changes).await.is_err());
    assert_eq!(bench.store.placements(&Page::default()).await.unwrap().items, [placement]);
    bench.organization("beta", json!({})).await;
}
