//! What the dispatcher of webhooks and its replays read and write, also when something else has broken a row.

use crate::harness::{Bench, small, tenant};
use serde_json::json;
use std::time::Duration;
use tenancy_core::delivery::{Delivery, DeliveryState, delivery_id};
use tenancy_core::event::EventType;
use tenancy_core::ids::{AuditId, WebhookId};
use tenancy_core::lane::Lane;
use tenancy_store::database::Database;
use tenancy_store::upkeep::{Dispatched, EventHeads, Move, Replay, Wake};
use tenancy_testkit::Postgres;

const LEASE: Duration = Duration::from_secs(20);

/// A database whose rows somebody else can change, past its triggers.
struct Open {
    bench: Bench,
    execute: Box<dyn Fn(&str) + Send + Sync>,
    _directory: Option<tempfile::TempDir>,
}

async fn sqlite() -> Open {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenancy.db");
    let database = Database::Sqlite(path.clone());
    database.migrate(false).await.unwrap();
    let execute = move |sql: &str| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        connection.execute_batch("DROP TRIGGER IF EXISTS tenant_audit_no_update").unwrap();
        connection.execute_batch(sql).unwrap();
    };
    Open { bench: Bench::on(&database).await, execute: Box::new(execute), _directory: Some(directory) }
}

async fn postgres() -> Open {
    let database = Postgres::shared().database("dispatch");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let execute = move |sql: &str| database.execute(&format!("SET session_replication_role = replica; {sql}"));
    Open { bench: Bench::on(&url).await, execute: Box::new(execute), _directory: None }
}

macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::sqlite().await).await; })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::postgres().await).await; })+
        }
    };
}

on_both!(
    must_read_events_up_to_a_position_and_stop_before_a_type_of_a_newer_release,
    must_find_the_owners_of_webhooks_and_pass_over_a_webhook_that_cannot_be_read,
    must_write_nothing_of_a_replay_that_was_paused_or_replaced_or_whose_lease_is_lost,
    must_make_nothing_of_a_part_that_does_not_begin_at_the_position_of_the_database,
    must_return_replays_in_turn,
    must_end_the_leases_of_the_dispatcher_and_of_webhooks_after_a_restore,
);

fn positions(heads: &EventHeads) -> Vec<i64> {
    heads.events.iter().map(|event| event.position).collect()
}

async fn must_read_events_up_to_a_position_and_stop_before_a_type_of_a_newer_release(open: Open) {
    let (bench, store) = (&open.bench, &open.bench.store);
    bench.organization("acme", json!({})).await;
    for id in ["t-1", "t-2", "t-3"] {
        bench.register(&small(id, "acme")).await.unwrap();
    }
    let read = async |after, to, of: Option<&str>, limit| {
        let of = of.map(tenant);
        let heads = store.event_heads(after, to, of.as_ref(), limit).await.unwrap();
        assert_eq!(heads.newest, 4);
        (positions(&heads), heads.last, heads.is_end, heads.unknown)
    };
    assert_eq!(read(0, None, None, 2).await, (vec![1, 2], 2, false, None));
    assert_eq!(read(2, None, None, 9).await, (vec![3, 4], 4, true, None));
    assert_eq!(read(4, None, None, 9).await, (vec![], 4, true, None));
    assert_eq!(read(9, None, None, 9).await, (vec![], 9, true, None), "a position of a lost part of the log");
    assert_eq!(read(0, Some(3), None, 9).await, (vec![1, 2, 3], 3, true, None));
    assert_eq!(read(0, Some(3), None, 3).await, (vec![1, 2, 3], 3, false, None));
    assert_eq!(read(0, Some(4), Some("t-2"), 9).await, (vec![3], 4, true, None));
    (open.execute)("UPDATE tenant_audit SET event_type = 'TENANCY_TELEPORTED' WHERE position = 3");
    let unknown = Some("TENANCY_TELEPORTED".to_owned());
    assert_eq!(read(0, None, None, 9).await, (vec![1, 2], 2, false, unknown.clone()));
    assert_eq!(read(2, None, None, 9).await, (vec![], 2, false, unknown));
    assert_eq!(read(0, None, None, 2).await, (vec![1, 2], 2, false, None));
    assert_eq!(read(0, Some(4), Some("t-3"), 9).await, (vec![4], 4, true, None));
}

async fn must_find_the_owners_of_webhooks_and_pass_over_a_webhook_that_cannot_be_read(open: Open) {
    let (bench, store) = (&open.bench, &open.bench.store);
    for organization in ["acme", "other"] {
        bench.organization(organization, json!({})).await;
    }
    let mut document = small("t-1", "acme");
    let declared = |name: &str| json!({"name": name, "url": "https://x.example", "events": ["*"]});
    document["webhooks"] = json!([declared("good"), declared("broken")]);
    bench.register(&document).await.unwrap();
    bench.register(&small("t-2", "other")).await.unwrap();
    let insert = |id: &str, organization: &str, events: &str| {
        let (now, yes) = if bench.name == "sqlite" { ("0", "1") } else { ("now()", "true") };
        (open.execute)(&format!(
            "INSERT INTO platform_webhooks (webhook_id, organization_id, name, full_name, url, events, retry_policy, \
             format, enabled, version, created_at, updated_at) VALUES ('{id}', {organization}, '{id}', '{id}', \
             'https://x.example', '{events}', '{{}}', 'standard', {yes}, 1, {now}, {now})"
        ));
    };
    for (id, organization, events) in [
        ("whk_p1", "NULL", "[\"*\"]"),
        ("whk_p2", "NULL", "{}"),
        ("whk_o1", "'other'", "[\"*\"]"),
        ("whk_o2", "'other'", "7"),
    ] {
        insert(id, organization, events);
    }
    let events = store.event_heads(0, None, None, 99).await.unwrap().events;
    let of = |id: &str| events.iter().find(|event| event.tenant_id == Some(tenant(id))).expect("an event");
    assert!(of("t-1").tenant_has_webhooks && of("t-1").organization_id.is_none());
    assert!(!of("t-2").tenant_has_webhooks && of("t-2").organization_id.is_some());
    (open.execute)("UPDATE tenant_webhooks SET events = '{}' WHERE name = 'broken'");
    let organizations = of("t-2").organization_id.clone().into_iter().collect();
    let mut found = store.subscribers(&[tenant("t-1")].into(), &organizations).await.unwrap();
    let ids = |found: &tenancy_store::endpoints::Subscribed| {
        let read: Vec<_> = found.subscribers.iter().map(|one| one.webhook.name.to_string()).collect();
        (read, found.unreadable.len(), found.unreadable.last().map(|one| one.id.clone()))
    };
    assert_eq!(ids(&found), (vec!["good".into(), "whk_o1".into()], 2, Some("whk_o2".into())));
    // One that cannot be read is not one that is gone, whose deliveries are removed.
    for unreadable in &found.unreadable {
        assert!(store.endpoint(&webhook(&unreadable.id)).await.is_err());
    }
    assert!(store.endpoint(&webhook("whk_none")).await.unwrap().is_none());
    found = store.platform_subscribers().await.unwrap();
    assert_eq!(ids(&found), (vec!["whk_p1".into()], 1, Some("whk_p2".into())));
    assert_eq!(found.unreadable[0].place, "platform_webhooks.events");
}

fn webhook(id: &str) -> WebhookId {
    WebhookId::known(id)
}

fn begin(id: &str, after: i64, to: i64) -> Dispatched {
    let replay = Replay::Begin { after, to, only_undelivered: false };
    Dispatched {
        wakes: vec![Wake { webhook_id: webhook(id), now: false }],
        replays: vec![(webhook(id), replay)],
        ..Dispatched::default()
    }
}

fn change(id: &str, replay: Replay) -> Dispatched {
    Dispatched { replays: vec![(webhook(id), replay)], ..Dispatched::default() }
}

fn delivery(bench: &Bench, id: &str) -> Delivery {
    let (now, audit_id) = (bench.store.now(), AuditId::known("aud_1"));
    Delivery {
        delivery_id: delivery_id(&audit_id, &webhook(id)),
        webhook_id: webhook(id),
        tenant_id: None,
        audit_id,
        position: 1,
        event_type: EventType::OrganizationCreated,
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

/// Writes at the position 0, under a lease.
fn stay(epoch: i64) -> Move {
    Move { epoch, from: 0, to: 0 }
}

async fn must_make_nothing_of_a_part_that_does_not_begin_at_the_position_of_the_database(open: Open) {
    let (bench, store) = (&open.bench, &open.bench.store);
    let lease = store.lease_dispatch("a", LEASE).await.unwrap().unwrap();
    let epoch = lease.epoch;
    let made = Dispatched { deliveries: vec![delivery(bench, "whk_1")], ..begin("whk_1", 0, 9) };
    let waiting = async || store.count_deliveries(&webhook("whk_1"), DeliveryState::Waiting, 9).await.unwrap();
    // The database has lost the move from 0 to 3 in a crash.
    assert_eq!(store.dispatch(Move { epoch, from: 3, to: 5 }, &made).await, Ok(false));
    assert_eq!((waiting().await, store.lane(&webhook("whk_1")).await.unwrap()), (0, None));
    assert_eq!(store.lease_dispatch("a", LEASE).await.unwrap().map(|lease| lease.position), Some(0));
    assert_eq!(store.dispatch(Move { epoch, from: 0, to: 5 }, &made).await, Ok(true));
    assert_eq!(waiting().await, 1);
}

async fn must_write_nothing_of_a_replay_that_was_paused_or_replaced_or_whose_lease_is_lost(open: Open) {
    let (bench, store) = (&open.bench, &open.bench.store);
    let epoch = store.lease_dispatch("a", LEASE).await.unwrap().unwrap().epoch;
    let dispatch = async |epoch, made: Dispatched| assert!(store.dispatch(stay(epoch), &made).await.unwrap());
    let lane = async || store.lane(&webhook("whk_1")).await.unwrap().unwrap();
    let waiting = async || store.count_deliveries(&webhook("whk_1"), DeliveryState::Waiting, 9).await.unwrap();
    let deliveries = [delivery(bench, "whk_1")];
    dispatch(epoch, begin("whk_1", 0, 9)).await;
    let first = lane().await;
    let refused = async |epoch, of: &Lane| {
        let before = lane().await;
        assert_eq!(store.replay_part(epoch, of, &deliveries, Some(5)).await, Ok(false));
        assert_eq!((lane().await, waiting().await), (before, 0));
    };
    dispatch(epoch, change("whk_1", Replay::Pause)).await;
    refused(epoch, &first).await;
    dispatch(epoch, change("whk_1", Replay::Continue)).await;
    // It begins at the same position, and ends elsewhere.
    dispatch(epoch, begin("whk_1", 0, 7)).await;
    refused(epoch, &first).await;
    let second = lane().await;
    store.release_dispatch(epoch).await.unwrap();
    refused(epoch, &second).await;
    let epoch = store.lease_dispatch("b", LEASE).await.unwrap().unwrap().epoch;
    refused(epoch - 1, &second).await;
    assert_eq!(store.replay_part(epoch, &second, &deliveries, Some(5)).await, Ok(true));
    let third = lane().await;
    assert_eq!((third.replay_position, third.wakes, waiting().await), (Some(5), second.wakes + 1, 1));
    assert!(third.due_at.is_some());
    assert_eq!(store.replay_part(epoch, &second, &deliveries, Some(5)).await, Ok(false), "it was done before");
    assert_eq!(store.replay_part(epoch, &third, &[], None).await, Ok(true));
    let ended = lane().await;
    assert_eq!((ended.replay_position, ended.replay_to, ended.wakes), (None, None, third.wakes));
}

async fn must_return_replays_in_turn(open: Open) {
    let store = &open.bench.store;
    let epoch = store.lease_dispatch("a", LEASE).await.unwrap().unwrap().epoch;
    // The order does not follow from how far they are.
    for (id, after) in [("whk_1", 7), ("whk_2", 1), ("whk_3", 5), ("whk_4", 3), ("whk_5", 2)] {
        assert!(store.dispatch(stay(epoch), &begin(id, after, 9)).await.unwrap());
    }
    assert!(store.dispatch(stay(epoch), &change("whk_3", Replay::Pause)).await.unwrap());
    let turn = async |after: Option<&str>| {
        let lanes = store.replays(after.map(webhook).as_ref(), 2).await.unwrap();
        lanes.iter().map(|lane| lane.webhook_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(turn(None).await, ["whk_1", "whk_2"]);
    assert_eq!(turn(Some("whk_2")).await, ["whk_4", "whk_5"]);
    assert_eq!(turn(Some("whk_5")).await, Vec::<String>::new());
}

async fn must_end_the_leases_of_the_dispatcher_and_of_webhooks_after_a_restore(open: Open) {
    let store = &open.bench.store;
    let lost = store.lease_dispatch("lost", LEASE).await.unwrap().unwrap();
    for id in ["whk_1", "whk_2"] {
        assert!(store.dispatch(stay(lost.epoch), &begin(id, 0, 9)).await.unwrap());
    }
    let held = store.claim_lanes("lost", 1, LEASE).await.unwrap();
    let former = store.lane(&webhook("whk_2")).await.unwrap().unwrap();
    store.end_leases_after_restore().await.unwrap();
    assert_eq!(store.dispatch(Move { to: 5, ..stay(lost.epoch) }, &Dispatched::default()).await, Ok(false));
    let next = store.lease_dispatch("next", LEASE).await.unwrap().expect("it is free at once");
    // The process that is lost may have taken further leases after the backup.
    assert!(next.epoch > lost.epoch + 1_000_000 && next.position == 0, "{next:?}");
    let lease = (held[0].webhook_id.clone(), held[0].lease_epoch);
    assert_eq!(store.extend_lanes(&[lease], LEASE, LEASE).await, Ok(Vec::new()));
    let claimed = store.claim_lanes("next", 9, LEASE).await.unwrap();
    assert_eq!(claimed.len(), 2);
    assert!(claimed.iter().all(|lane| lane.lease_epoch > former.lease_epoch + 1_000_000), "{claimed:?}");
}
