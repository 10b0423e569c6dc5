//! What the encryption of private data costs a registration on PostgreSQL: no statement of its own.

use crate::harness::{Bench, small};
use futures_util::future::join_all;
use serde_json::json;
use std::sync::Arc;
use tenancy_store::database::Database;
use tenancy_testkit::{Postgres, Settings};
use tenancy_vault::Vault;
use tenancy_vault::directory::Directory;

/// The statements that a server has executed, from its log.
fn executed(log: &str) -> Vec<&str> {
    log.lines().filter_map(|line| Some(line.split_once("LOG:  execute ")?.1.split_once(": ")?.1)).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_store_the_data_keys_of_registrations_in_the_statement_of_their_tenants() {
    const TENANTS: usize = 40;
    let postgres = Postgres::start_with(Settings::default().fsync_off().parameter("log_statement", "all"));
    let database = Database::Postgres(postgres.database("statements").url());
    database.migrate(false).await.unwrap();
    let keys = tempfile::tempdir().unwrap();
    let keys = Directory::create(&keys.path().join("keys")).unwrap();
    let bench = Bench::with(&database, Vault::new(Arc::new(keys), 100)).await.unwrap();
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-first", "acme")).await.unwrap();
    let before = postgres.log().len();
    let decided: Vec<_> =
        (0..TENANTS).map(|number| bench.registration(&small(&format!("t-{number}"), "acme"))).collect();
    for committed in join_all(decided.into_iter().map(|decision| bench.commit(decision.changes))).await {
        committed.unwrap();
    }
    let log = postgres.log().split_off(before);
    let statements = executed(&log);
    let batches = statements.iter().filter(|sql| sql.contains("INSERT INTO log_batches")).count();
    let of_keys: Vec<_> = statements.iter().filter(|sql| sql.contains("data_keys")).collect();
    assert!((1..TENANTS).contains(&batches), "{batches} batches of {TENANTS} registrations");
    assert_eq!(of_keys.len(), batches, "{of_keys:#?}");
    assert!(of_keys.iter().all(|sql| sql.contains("INSERT INTO tenants ")), "{of_keys:#?}");
    // One statement inserts all rows, another one appends to the log.
    let inserts = statements.iter().filter(|sql| sql.contains("INSERT INTO")).count();
    assert_eq!(inserts, 2 * batches, "{statements:#?}");
}
