//! What a batch is presumed to find, and another process has changed meanwhile.

use crate::cuts::large_of;
use crate::harness::{Bench, small};
use crate::history::whole;
use crate::rig::{Rig, together, wait_until_a_session_is_blocked};
use crate::rivals::processes;
use crate::world::Member;
use serde_json::json;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::apikey::Role;
use tenancy_core::ids::OrganizationId;
use tenancy_core::json::sha256_hex;
use tenancy_core::organization::{Organization, Usage};
use tenancy_core::rules::lifecycle::Suspension;
use tenancy_core::rules::organizations::{self, OrganizationManifest};
use tenancy_core::rules::{keys, lifecycle};
use tenancy_testkit::{Fault, Message, Postgres};

/// Two processes. The first knows the organization, which has two tenants: it reads nothing for the next batch.
async fn knowing(hint: &str, room: u32) -> (tenancy_testkit::Database, [Bench; 2]) {
    let (database, [one, two]) = processes(hint).await;
    one.organization("acme", json!({"tenants": room})).await;
    for id in ["t-1", "t-2"] {
        one.register(&small(id, "acme")).await.unwrap();
    }
    (database, [one, two])
}

async fn acme(bench: &Bench) -> Organization {
    bench.store.organization(&OrganizationId::known("acme")).await.unwrap().unwrap().organization
}

async fn raise(bench: &Bench, tenants: u32) {
    let document = json!({"organization_id": "acme", "caps": {"tenants": tenants}});
    let (raised, _) = OrganizationManifest::parse(&bench.declared, &document).unwrap();
    let raised =
        organizations::change(&acme(bench).await, &[], &Usage::default(), &raised, &mut bench.context()).unwrap();
    bench.commit(raised.changes).await.unwrap();
}

/// That the server's log names the row that was not as the first process expected it.
fn named(row: &str) {
    let log = Postgres::shared().log();
    assert!(log.contains(row) && !log.contains("division by zero"), "{row}: {log}");
}

fn code<T>(answer: Result<T, Error>) -> &'static str {
    answer.err().map_or("in", |error| error.code())
}

#[tokio::test]
async fn must_count_what_another_process_added_though_the_rows_in_between_are_gone() {
    let (_database, [one, two]) = knowing("added", 4).await;
    two.register(&small("t-3", "acme")).await.unwrap();
    two.register(&small("t-4", "acme")).await.unwrap();
    // The usage row with the next number was removed with it.
    assert_ne!(two.store.remove_expired().await.unwrap(), 0);
    assert_eq!(code(one.register(&small("t-5", "acme")).await), "organization_cap_exceeded");
    named("organization_usage: acme is not at serial 2");
}

#[tokio::test]
async fn must_add_no_tenant_to_an_organization_that_another_process_closed() {
    let (database, [one, two]) = knowing("closed", 3).await;
    let closed = organizations::close(&acme(&two).await, &[], &mut two.context()).unwrap();
    two.commit(closed.changes).await.unwrap();
    assert_eq!(code(one.register(&small("t-3", "acme")).await), "organization_closed");
    named("organizations: acme is not as expected");
    whole(&database);
}

#[tokio::test]
async fn must_refuse_nobody_on_the_strength_of_what_was_not_read() {
    let (database, [one, two]) = knowing("raised", 3).await;
    one.register(&small("t-3", "acme")).await.unwrap();
    raise(&two, 4).await;
    assert_eq!(code(one.register(&small("t-4", "acme")).await), "in");
    assert_eq!(code(one.register(&small("t-5", "acme")).await), "organization_cap_exceeded");
    whole(&database);
}

#[tokio::test]
async fn must_register_no_tenant_that_another_process_has_registered() {
    let (database, [one, two]) = knowing("taken", 5).await;
    two.register(&small("t-3", "acme")).await.unwrap();
    assert_eq!(code(one.register(&small("t-3", "acme")).await), "tenant_exists");
    whole(&database);
}

#[tokio::test]
async fn must_change_no_tenant_that_another_process_has_suspended() {
    let (database, [one, two]) = knowing("moved", 3).await;
    let before = one.snapshot("t-1").await;
    // The counter changes and the version does not.
    let suspension = Suspension { hold: None, reason: Some("unpaid".to_owned()), until: None };
    let suspended = lifecycle::suspend(&two.declared, &before, &suspension, &mut two.context()).unwrap();
    two.commit(suspended.changes).await.unwrap();
    let mut renamed = small("t-1", "acme");
    renamed["display_name"] = json!("Another");
    let renamed = one.change(&before, &renamed, &[]).unwrap();
    assert_eq!(code(one.commit(renamed.changes).await), "stale_version");
    named("tenants: t-1 is not as expected");
    whole(&database);
}

#[tokio::test]
async fn must_revoke_no_key_that_another_process_has_revoked() {
    let (database, [one, two]) = knowing("revoked", 3).await;
    let made =
        keys::create("once", keys::Rights::unlimited(Role::Viewer), None, sha256_hex(&[b"once"]), &mut one.context())
            .unwrap();
    one.commit(made.changes).await.unwrap();
    let revoked = keys::revoke(&made.key, &[], &mut one.context()).unwrap();
    two.commit(keys::revoke(&made.key, &[], &mut two.context()).unwrap().changes).await.unwrap();
    assert_eq!(code(one.commit(revoked.changes).await), "key_moved");
    named(&format!("api_keys: {} is not as expected", made.key.key_id));
    whole(&database);
}

/// The batch behind presumes what the first would have left, and its number is that of the other process.
#[tokio::test]
async fn must_not_take_the_usage_of_another_process_for_that_of_a_batch_that_failed() {
    let (database, [one, _two]) = knowing("quicker", 10).await;
    let mut other = database.connect().await;
    let transaction = other.transaction().await.unwrap();
    transaction.batch_execute("SELECT 1 FROM organizations FOR NO KEY UPDATE").await.unwrap();
    let behind = one.registration(&small("t-3", "acme"));
    let members =
        vec![large_of(&one, "acme", 1), Member { changes: behind.changes.unwrap(), after: Some(behind.snapshot) }];
    let quicker = async {
        wait_until_a_session_is_blocked(&database).await;
        let add = "INSERT INTO organization_usage SELECT organization_id, serial + 1, tenants + 3, quotas \
                   FROM organization_usage ORDER BY serial DESC LIMIT 1";
        transaction.batch_execute(add).await.unwrap();
        transaction.commit().await.unwrap();
    };
    let (answers, ()) = tokio::join!(together(&one.store, &members), quicker);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let newest = "SELECT tenants FROM organization_usage ORDER BY serial DESC LIMIT 1";
    assert_eq!(database.value(newest), (2 + 3 + 2).to_string());
}

fn aliased(id: &str, organization: &str) -> serde_json::Value {
    let mut document = small(id, organization);
    document["aliases"] = json!({"host": ["a.example.com"]});
    document
}

/// Rows of aliases go before others are inserted, so no unique key would tell.
#[tokio::test]
async fn must_give_no_alias_to_a_member_before_the_member_that_drops_it() {
    let (database, [bench]) = processes("dropped").await;
    bench.organization("acme", json!({})).await;
    let owner = bench.register(&aliased("t-1", "acme")).await.unwrap();
    bench.register(&small("t-2", "acme")).await.unwrap();
    let takes = bench.registration(&aliased("t-3", "acme"));
    let drops = bench.change(&owner, &small("t-1", "acme"), &[]).unwrap();
    let members =
        [takes, drops].map(|decision| Member { after: Some(decision.snapshot), changes: decision.changes.unwrap() });
    let answers = together(&bench.store, &members).await;
    assert_eq!(answers.into_iter().map(code).collect::<Vec<_>>(), ["alias_taken", "in"]);
    whole(&database);
}

/// All of a presumed batch may be on its way while the client is back already, and it holds no lock until it arrives.
#[tokio::test]
async fn must_not_bring_what_was_refused_when_it_arrives_late() {
    let rig = Rig::new("late").await;
    for organization in ["acme", "beta"] {
        rig.beside.organization(organization, json!({})).await;
    }
    let mut warm = aliased("w-0", "acme");
    for number in 0..2 {
        warm["tenant_id"] = json!(format!("w-{number}"));
        warm["aliases"] = json!({"host": [format!("w{number}.example.com")]});
        rig.bench.register(&warm).await.unwrap();
    }
    let committer = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND query = 'COMMIT' \
                     ORDER BY query_start DESC LIMIT 1";
    let committer = rig.value(committer);
    let owner = rig.beside.register(&aliased("t-1", "beta")).await.unwrap();
    let begins = |message: &Message| message.executes() && message.sql_contains("BEGIN ISOLATION");
    let armed = rig.proxy.arm(Fault::cut_and_deliver(Duration::from_secs(1)).when(begins));
    assert_eq!(code(rig.bench.register(&aliased("t-9", "acme")).await), "alias_taken");
    assert_eq!(armed.fired(), 1);
    let dropped = rig.beside.change(&owner, &small("t-1", "beta"), &[]).unwrap();
    rig.beside.commit(dropped.changes).await.unwrap();
    // The session ends when it is terminated, or after it has run the late messages.
    while rig.value(&format!("SELECT count(*) FROM pg_stat_activity WHERE pid = {committer}")) != "0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(rig.value("SELECT count(*) FROM tenants WHERE tenant_id = 't-9'"), "0");
    rig.check().await;
}
