//! Rows that a session of others holds: members that need one wait in a lane of their own, and everybody else is committed.

use crate::harness::{Bench, small, tenant};
use crate::history::whole;
use crate::rig::together;
use crate::rivals::processes;
use crate::world::Member;
use futures_util::future::{join, join_all};
use serde_json::json;
use std::time::{Duration, Instant};
use tenancy_core::Error;
use tenancy_core::changes::Changes;
use tenancy_core::manifest::Manifest;

/// A change of a tenant that is registered, with an environment.
async fn renamed(bench: &Bench, id: &str, name: &str) -> Changes {
    let snapshot = bench.snapshot(id).await;
    let mut document = Manifest::of(&snapshot).document();
    document["display_name"] = json!(name);
    bench.change(&snapshot, &document, &[]).unwrap().changes.unwrap()
}

/// While `lock` holds a row of the tenant `kept`, four writers change that tenant, and registrations of the same organization
/// must not notice.
async fn must_go_on_beside(hint: &str, lock: &str) {
    let (database, [bench]) = processes(hint).await;
    bench.organization("acme", json!({})).await;
    let mut document = small("kept", "acme");
    document["environments"] = json!([{"name": "dev", "isolation_level": "shared"}]);
    bench.register(&document).await.unwrap();
    let mut other = database.connect().await;
    let transaction = other.transaction().await.unwrap();
    transaction.batch_execute(lock).await.unwrap();
    document["environments"][0]["quotas"] = json!({"storageGiB": 1});
    let snapshot = bench.snapshot("kept").await;
    let began = Instant::now();
    let change = || bench.change(&snapshot, &document, &[]).unwrap().changes.unwrap();
    let writers = join_all((0..4).map(|_| bench.store.commit(change())));
    let registrations = async {
        for number in 0..200 {
            bench.register(&small(&format!("t-{number}"), "acme")).await.unwrap();
        }
        began.elapsed()
    };
    let (answers, took) = join(writers, registrations).await;
    assert!(answers.iter().all(|answer| *answer == Err(Error::Locked)), "{hint}: {answers:?}");
    // One after the other. If each waited for the row, it would be 200 times a tenth of a second.
    println!("{hint}: 200 registrations in {took:?}");
    assert!(took < Duration::from_secs(10), "{hint}: {took:?}");
    // A member that comes later is set aside without a wait of the others.
    let late = renamed(&bench, "kept", "late").await;
    let late = tokio::spawn({
        let store = bench.store.clone();
        async move { store.commit(late).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    transaction.rollback().await.unwrap();
    late.await.unwrap().unwrap();
    assert_eq!(bench.snapshot("kept").await.tenant.terms.display_name.as_deref(), Some("late"));
    whole(&database);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_go_on_beside_a_tenant_whose_row_is_locked() {
    must_go_on_beside("row", "SELECT 1 FROM tenants WHERE tenant_id = 'kept' FOR UPDATE").await;
    must_go_on_beside("savepoint", "SAVEPOINT s; UPDATE tenants SET tenant_id = tenant_id WHERE tenant_id = 'kept'")
        .await;
}

/// No guard names the row of an environment.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_go_on_beside_a_tenant_whose_environment_is_locked() {
    must_go_on_beside("environment", "SELECT 1 FROM environments WHERE tenant_id = 'kept' FOR UPDATE").await;
}

/// Two rows are held: the one that is freed is committed although the other is not.
#[tokio::test]
async fn must_not_wait_for_one_held_row_because_of_another() {
    let (database, [bench]) = processes("two").await;
    bench.organization("acme", json!({})).await;
    let (mut members, mut locks) = (Vec::new(), Vec::new());
    for id in ["kept", "freed"] {
        bench.register(&small(id, "acme")).await.unwrap();
        members.push(Member { changes: renamed(&bench, id, "new").await, after: None });
        let client = database.connect().await;
        client
            .batch_execute(&format!("BEGIN; SELECT 1 FROM tenants WHERE tenant_id = '{id}' FOR UPDATE"))
            .await
            .unwrap();
        locks.push(client);
    }
    let freed = async {
        tokio::time::sleep(Duration::from_millis(500)).await;
        locks[1].batch_execute("ROLLBACK").await.unwrap();
        let began = Instant::now();
        while bench.snapshot("freed").await.tenant.terms.version == 1 {
            assert!(began.elapsed() < Duration::from_secs(3), "still not committed");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let (answers, ()) = tokio::join!(together(&bench.store, &members), freed);
    assert!(matches!(&answers[..], [Err(Error::Locked), Ok(_)]), "{answers:?}");
}

/// Rows that another process of ours holds are waited for: it commits them soon.
#[tokio::test]
async fn must_wait_for_a_row_that_a_process_of_ours_holds() {
    let (database, [bench]) = processes("ours").await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("kept", "acme")).await.unwrap();
    let change = renamed(&bench, "kept", "new").await;
    let client = database.connect().await;
    let lock = "SET application_name = 'tenancy'; BEGIN; SELECT 1 FROM tenants WHERE tenant_id = 'kept' FOR UPDATE";
    client.batch_execute(lock).await.unwrap();
    let registration = Member { changes: bench.registration(&small("t-1", "acme")).changes.unwrap(), after: None };
    let members = [Member { changes: change, after: None }, registration];
    let freed = async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        assert!(bench.store.snapshot(&tenant("t-1")).await.unwrap().is_none(), "they are one batch");
        client.batch_execute("ROLLBACK").await.unwrap();
    };
    let (answers, ()) = tokio::join!(together(&bench.store, &members), freed);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
}
