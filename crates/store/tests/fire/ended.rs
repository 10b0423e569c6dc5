//! A thread of a store that has ended: the store must report that it accepts no changes.

use crate::harness::{Bench, small};
use serde_json::json;
use tenancy_store::Next;

/// Problems that a store reports after one of its threads has panicked during this work.
async fn wrong_after(bench: Bench, next: Next) -> Vec<String> {
    bench.organization("acme", json!({})).await;
    let wrong = || async { bench.store.health().await.unwrap().wrong };
    assert_eq!(wrong().await, [""; 0]);
    bench.store.panic_over(&next).await;
    if next == Next::Change {
        assert!(bench.register(&small("t-1", "acme")).await.is_err());
    }
    // The thread may still be ending.
    let said = async {
        while wrong().await.is_empty() {
            tokio::task::yield_now().await;
        }
        wrong().await
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), said).await.expect("it says that something is wrong")
}

fn assert_restart(wrong: &[String], what: &str) {
    assert!(wrong.len() == 1 && wrong[0].contains(what) && wrong[0].contains("restart"), "{wrong:?}");
}

#[tokio::test]
async fn must_report_a_lost_writer_on_sqlite() {
    for next in [Next::Change, Next::Upkeep] {
        assert_restart(&wrong_after(Bench::sqlite().await, next).await, "sqlite-writer");
    }
}

#[tokio::test]
async fn must_report_a_lost_committer_or_reader_on_postgres() {
    for (next, what) in [(Next::Change, "postgres-commits"), (Next::Read, "postgres-reads")] {
        assert_restart(&wrong_after(Bench::postgres().await, next).await, what);
    }
}

#[tokio::test]
async fn must_report_no_problem_after_close() {
    for bench in [Bench::sqlite().await, Bench::postgres().await] {
        bench.organization("acme", json!({})).await;
        bench.store.close().await;
        assert_eq!(bench.store.health().await.unwrap().wrong, [""; 0]);
    }
}
