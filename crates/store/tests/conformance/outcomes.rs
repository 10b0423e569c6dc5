//! Results of attempts: every attempt is logged, and a delivery takes a result only from the process that has its lane.

use crate::harness::{Bench, full, on_both, tenant};
use serde_json::json;
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::delivery::{AttemptOutcome, Delivery, DeliveryAttempt, DeliveryState, delivery_id, slot};
use tenancy_core::event::EventType;
use tenancy_core::ids::{AuditId, TenantId, WebhookId};
use tenancy_core::lane::Lane;
use tenancy_store::database::Database;
use tenancy_store::upkeep::{Dispatched, LaneReturn, Move, Outcome, Recorded, Wake};

on_both!(
    an_attempt_whose_lease_was_lost_must_be_logged_and_change_nothing_else,
    a_delivery_that_is_asked_for_again_during_an_attempt_must_stay_due,
    results_that_are_written_twice_must_be_counted_once,
    an_attempt_must_not_be_kept_when_its_webhook_is_removed_at_the_same_time,
    a_lane_that_is_due_must_keep_its_place_before_those_that_become_due_later,
    due_deliveries_must_be_read_on_in_order_from_where_the_last_read_ended,
);

const LEASE: Duration = Duration::from_secs(30);

fn webhook(number: usize) -> WebhookId {
    WebhookId::known(format!("whk_{number:03}"))
}

fn delivery(bench: &Bench, webhook: &WebhookId, tenant: Option<&TenantId>) -> Delivery {
    let (now, audit_id) = (bench.store.now(), AuditId::known(bench.context().audit_id().to_string()));
    Delivery {
        delivery_id: delivery_id(&audit_id, webhook),
        webhook_id: webhook.clone(),
        tenant_id: tenant.cloned(),
        audit_id,
        position: 1,
        event_type: EventType::TenancyUpdated,
        state: DeliveryState::Waiting,
        attempts: 0,
        tries: 0,
        due_at: now,
        last_status: None,
        last_error: None,
        last_attempt_at: None,
        created_at: now,
    }
}

async fn dispatch(bench: &Bench, made: &Dispatched) {
    let lease = bench.store.lease_dispatch("test", LEASE).await.expect("leased").expect("free");
    assert!(
        bench
            .store
            .dispatch(Move { epoch: lease.epoch, from: lease.position, to: lease.position }, made)
            .await
            .expect("dispatched")
    );
}

fn woken(ids: &[WebhookId]) -> Vec<Wake> {
    ids.iter().map(|id| Wake { webhook_id: id.clone(), now: false }).collect()
}

/// Makes a delivery and claims its lane. Returns both as they are read.
async fn in_hand(bench: &Bench, webhook: &WebhookId, tenant: Option<&TenantId>) -> (Delivery, Lane) {
    let made = delivery(bench, webhook, tenant);
    let wakes = woken(std::slice::from_ref(webhook));
    dispatch(bench, &Dispatched { deliveries: vec![made], wakes, ..Dispatched::default() }).await;
    let lane = bench.store.claim_lanes("first", 1, LEASE).await.expect("claimed").pop().expect("due");
    (bench.store.due_deliveries(webhook, None, 1).await.expect("read").pop().expect("due"), lane)
}

/// The result of an attempt that ended this many milliseconds later.
fn outcome(before: &Delivery, lane: &Lane, (status, later): (i64, i64)) -> Outcome {
    let ended = before.created_at.checked_add(jiff::SignedDuration::from_millis(later)).expect("in range");
    let outcome = if status == 204 { AttemptOutcome::Delivered } else { AttemptOutcome::Failed };
    let state = if status == 204 { DeliveryState::Delivered } else { DeliveryState::Waiting };
    let delivery = Delivery {
        state,
        attempts: before.attempts + 1,
        tries: before.tries + 1,
        due_at: ended.checked_add(Duration::from_secs(5)).expect("in range"),
        last_status: Some(status),
        last_attempt_at: Some(ended),
        ..before.clone()
    };
    let attempt = DeliveryAttempt {
        delivery_id: before.delivery_id.clone(),
        attempt: delivery.attempts,
        slot: slot(ended),
        webhook_id: before.webhook_id.clone(),
        tenant_id: before.tenant_id.clone(),
        started_at: ended,
        outcome,
        status: Some(status),
        connect_ms: None,
        total_ms: 1,
        answer_start: "said by the receiver".to_owned(),
        error: None,
        detail: None,
        next_at: None,
    };
    Outcome { lease_epoch: lane.lease_epoch, was_due_at: before.due_at, delivery, attempt }
}

async fn record(bench: &Bench, outcomes: Vec<Outcome>, lane: &Lane) -> Vec<(WebhookId, i64)> {
    let recorded = Recorded { outcomes, lanes: vec![lane.clone()] };
    bench.store.record_outcomes(&recorded).await.expect("recorded")
}

/// Returns the number and the status of each attempt, the first one first.
async fn attempts(bench: &Bench, delivery: &Delivery) -> Vec<(i64, Option<i64>)> {
    let all = bench.store.delivery_attempts(&delivery.delivery_id).await.expect("read");
    all.iter().rev().map(|attempt| (attempt.attempt, attempt.status)).collect()
}

async fn stands(bench: &Bench, delivery: &Delivery) -> Delivery {
    bench.store.delivery(&delivery.webhook_id, &delivery.delivery_id).await.expect("read").expect("there")
}

async fn an_attempt_whose_lease_was_lost_must_be_logged_and_change_nothing_else(bench: Bench) {
    let (before, lost) = in_hand(&bench, &webhook(1), None).await;
    bench.store.shift_clock(LEASE * 2);
    let held = bench.store.claim_lanes("second", 1, LEASE).await.expect("claimed").pop().expect("due");
    let lease = (webhook(1), lost.lease_epoch);
    assert_eq!(record(&bench, vec![outcome(&before, &lost, (503, 1))], &lost).await, vec![lease]);
    let after = stands(&bench, &before).await;
    assert_eq!((after.state, after.tries, after.due_at), (DeliveryState::Waiting, 0, before.due_at));
    assert_eq!((after.attempts, after.last_status), (1, None));
    // Two results of one delivery in one batch: the process has lost a lease, and has it again.
    let both = vec![outcome(&before, &lost, (500, 2)), outcome(&before, &held, (204, 3))];
    assert_eq!(record(&bench, both, &held).await, vec![]);
    let after = stands(&bench, &before).await;
    assert_eq!((after.state, after.attempts, after.last_status), (DeliveryState::Delivered, 3, Some(204)));
    assert_eq!(attempts(&bench, &before).await, [(1, Some(503)), (2, Some(500)), (3, Some(204))]);
}

async fn a_delivery_that_is_asked_for_again_during_an_attempt_must_stay_due(bench: Bench) {
    let (before, lane) = in_hand(&bench, &webhook(1), None).await;
    bench.store.shift_clock(Duration::from_secs(1));
    let resends = vec![(webhook(1), before.delivery_id.clone())];
    let wakes = woken(&[webhook(1)]);
    dispatch(&bench, &Dispatched { resends, wakes, ..Dispatched::default() }).await;
    assert_eq!(record(&bench, vec![outcome(&before, &lane, (204, 1))], &lane).await, vec![]);
    let again = bench.store.due_deliveries(&webhook(1), None, 1).await.expect("read").pop().expect("it is due again");
    assert_eq!((again.tries, again.attempts, again.last_status), (0, 1, Some(204)));
    record(&bench, vec![outcome(&again, &lane, (204, 2))], &lane).await;
    assert_eq!(stands(&bench, &before).await.state, DeliveryState::Delivered);
    assert_eq!(attempts(&bench, &before).await, [(1, Some(204)), (2, Some(204))]);
}

async fn results_that_are_written_twice_must_be_counted_once(bench: Bench) {
    let (before, lane) = in_hand(&bench, &webhook(1), None).await;
    for _ in 0..2 {
        record(&bench, vec![outcome(&before, &lane, (503, 1))], &lane).await;
    }
    let after = stands(&bench, &before).await;
    assert_eq!((after.attempts, after.tries, after.last_status), (1, 1, Some(503)));
    assert_eq!(attempts(&bench, &before).await, [(1, Some(503))]);
}

async fn an_attempt_must_not_be_kept_when_its_webhook_is_removed_at_the_same_time(bench: Bench) {
    for round in 0..20 {
        let id = webhook(round);
        let (before, lost) = in_hand(&bench, &id, None).await;
        bench.store.shift_clock(LEASE * 2);
        let held = bench.store.claim_lanes("second", 1, LEASE).await.expect("claimed").pop().expect("due");
        let lease = (id.clone(), held.lease_epoch);
        let removed = bench.store.remove_deliveries(&lease);
        let (removed, _) = tokio::join!(removed, record(&bench, vec![outcome(&before, &lost, (204, 1))], &lost));
        assert_eq!(removed, Ok(1));
        assert_eq!(attempts(&bench, &before).await, [], "round {round}");
        assert_eq!(bench.store.lane(&id).await, Ok(None));
    }
}

async fn a_lane_that_is_due_must_keep_its_place_before_those_that_become_due_later(bench: Bench) {
    let ids = [webhook(1), webhook(2)];
    for id in [&ids[0], &ids[1], &ids[0]] {
        dispatch(&bench, &Dispatched { wakes: woken(std::slice::from_ref(id)), ..Dispatched::default() }).await;
        bench.store.shift_clock(Duration::from_secs(1));
    }
    for id in ids {
        let lane = bench.store.claim_lanes("first", 1, LEASE).await.expect("claimed").pop().expect("due");
        assert_eq!(lane.webhook_id, id);
        let lease = (id, lane.lease_epoch);
        let back = LaneReturn { lease, wakes: lane.wakes, not_before: None, is_idle: true };
        bench.store.return_lane(&back).await.expect("returned");
    }
}

/// SQLite has one writer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_that_write_many_lanes_must_not_wait_for_each_other() {
    let database = Database::Postgres(tenancy_testkit::Postgres::shared().database("lanes").url());
    database.migrate(false).await.expect("migrated");
    let (bench, other) = (Bench::on(&database).await, Bench::on(&database).await);
    let ids: Vec<_> = (0..64).map(webhook).collect();
    let deliveries: Vec<_> = ids.iter().map(|id| delivery(&bench, id, None)).collect();
    dispatch(&bench, &Dispatched { deliveries: deliveries.clone(), wakes: woken(&ids), ..Dispatched::default() }).await;
    let mut lanes = bench.store.claim_lanes("first", 64, Duration::from_secs(600)).await.expect("claimed");
    lanes.sort_by(|one, other| other.webhook_id.cmp(&one.webhook_id));
    let resends: Vec<_> = deliveries.iter().map(|one| (one.webhook_id.clone(), one.delivery_id.clone())).collect();
    let (wakes, lanes, deliveries) = (woken(&ids), &lanes, &deliveries);
    let records = async {
        for round in 0..50 {
            let of = |lane: &Lane| deliveries.iter().find(|one| one.webhook_id == lane.webhook_id).expect("of each");
            let outcomes = lanes.iter().map(|lane| outcome(of(lane), lane, (503, round))).collect();
            let recorded = Recorded { outcomes, lanes: lanes.clone() };
            bench.store.record_outcomes(&recorded).await.expect("recorded");
        }
    };
    let dispatches = async {
        for _ in 0..50 {
            let (resends, wakes) = (resends.clone(), wakes.clone());
            dispatch(&other, &Dispatched { resends, wakes, ..Dispatched::default() }).await;
        }
    };
    tokio::join!(records, dispatches);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_receiver_said_must_not_outlive_a_purge_that_commits_at_the_same_time() {
    let database = tenancy_testkit::Postgres::shared().database("outcomes");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.expect("migrated");
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&full("acme-eu", "acme")).await.expect("registered");
    let of = tenant("acme-eu");
    let (before, lane) = in_hand(&bench, &webhook(1), Some(&of)).await;
    record(&bench, vec![outcome(&before, &lane, (503, 1))], &lane).await;
    // The statements of a purge that concern it, in the order in which a commit writes them.
    let mut client = database.connect().await;
    let purge = client.transaction().await.expect("begun");
    let now = Timestamp::now().to_string();
    let statements = format!(
        "UPDATE tenants SET purged_at = '{now}' WHERE tenant_id = 'acme-eu'; \
         UPDATE data_keys SET wrapped = '' WHERE tenant_id = 'acme-eu'; \
         DELETE FROM webhook_attempts WHERE tenant_id = 'acme-eu'"
    );
    purge.batch_execute(&statements).await.expect("written");
    let late = stands(&bench, &before).await;
    let late = record(&bench, vec![outcome(&late, &lane, (503, 2))], &lane);
    tokio::pin!(late);
    let watch = database.connect().await;
    let waits = "SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    let is_waiting = async { while watch.query(waits, &[]).await.expect("read").is_empty() {} };
    tokio::select! {
        _ = &mut late => {}
        () = is_waiting => {
            purge.commit().await.expect("committed");
            late.await;
        }
    }
    let kept = bench.store.delivery_attempts(&before.delivery_id).await.expect("read");
    let said: Vec<_> = kept.iter().map(|attempt| attempt.answer_start.as_str()).collect();
    assert_eq!(said, [""], "the attempt is logged without what was said");
}

async fn due_deliveries_must_be_read_on_in_order_from_where_the_last_read_ended(bench: Bench) {
    let lists = (1..=7).map(|position| Delivery { position, ..delivery(&bench, &webhook(1), None) });
    // The clock stands still: those with the same time are in the order of their events.
    let mut made: Vec<_> = lists.collect();
    made[6].due_at = made[0].due_at.checked_sub(jiff::SignedDuration::from_secs(1)).expect("in range");
    let wakes = woken(&[webhook(1)]);
    dispatch(&bench, &Dispatched { deliveries: made, wakes, ..Dispatched::default() }).await;
    let (mut after, mut read) = (None, Vec::new());
    loop {
        let part = bench.store.due_deliveries(&webhook(1), after, 3).await.expect("read");
        let Some(last) = part.last() else { break };
        after = Some((last.due_at, last.position));
        read.extend(part.iter().map(|delivery| delivery.position));
    }
    assert_eq!(read, [7, 1, 2, 3, 4, 5, 6]);
}
