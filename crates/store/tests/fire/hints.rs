//! Hints that a job is queued and that the log has grown: immediate in the same process, soon in the others, and no
//! more than needed.

use crate::harness::{Bench, small};
use crate::rig::Rig;
use serde_json::json;
use std::time::{Duration, Instant};
use tenancy_store::Topic;
use tenancy_store::database::Database;
use tenancy_testkit::{Fault, PgBouncer, Postgres};

/// Much longer than a hint takes, and short enough for a test to wait.
const SOON: Duration = Duration::from_secs(30);

/// Waits until this many sessions listen to the database.
async fn listened_to(database: &tenancy_testkit::Database, sessions: &str) {
    let listening =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN %'";
    tokio::time::timeout(SOON, async {
        while database.value(listening) != sessions {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("sessions listen");
}

async fn registered(bench: &Bench) {
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
}

async fn hinted(bench: &Bench) {
    tokio::time::timeout(SOON, bench.store.notified(Topic::Jobs)).await.expect("a hint");
}

/// Waits for the log on `follows`, starting before `commits` makes a change elsewhere.
async fn follows(follows: &Bench, commits: impl Future<Output = ()>) {
    let grown = [follows.store.notified(Topic::Log), follows.store.notified(Topic::Log)];
    commits.await;
    for one in grown {
        tokio::time::timeout(SOON, one).await.expect("a hint for each waiting task");
    }
}

/// No job is queued here.
#[tokio::test]
async fn must_wake_all_followers_of_the_log_in_the_same_process_and_in_others() {
    for bench in [Bench::sqlite().await, Bench::model()] {
        follows(&bench, bench.organization("acme", json!({}))).await;
    }
    let database = Postgres::shared().database("hints-log");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let (one, other) = (Bench::on(&url).await, Bench::on(&url).await);
    listened_to(&database, "2").await;
    follows(&one, one.organization("acme", json!({}))).await;
    follows(&other, one.organization("beta", json!({}))).await;
}

#[tokio::test]
async fn must_wake_job_workers_in_the_same_process_and_in_others() {
    for bench in [Bench::sqlite().await, Bench::model()] {
        registered(&bench).await;
        hinted(&bench).await;
    }
    let database = Postgres::shared().database("hints");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let (one, other) = (Bench::on(&url).await, Bench::on(&url).await);
    listened_to(&database, "2").await;
    registered(&one).await;
    hinted(&one).await;
    hinted(&other).await;
}

#[tokio::test]
async fn must_listen_behind_a_pooler_where_it_has_a_url_for_that() {
    let postgres = Postgres::shared();
    let (database, pooler) = (postgres.database("hints-pooled"), PgBouncer::start(postgres));
    Database::Postgres(database.url()).migrate(false).await.unwrap();
    let pooled = format!("{}?pooler=transaction", pooler.url(&database));
    let listening = Bench::on(&Database::Postgres(format!("{pooled}&listen={}", database.url()))).await;
    listened_to(&database, "1").await;
    // It does not listen, and still sends hints to the others.
    let other = Bench::on(&Database::Postgres(pooled)).await;
    registered(&other).await;
    hinted(&listening).await;
}

#[tokio::test]
async fn must_listen_again_when_the_connection_was_lost() {
    let database = Postgres::shared().database("hints-lost");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let (one, other) = (Bench::on(&url).await, Bench::on(&url).await);
    listened_to(&database, "2").await;
    database.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity \
         WHERE datname = current_database() AND query LIKE 'LISTEN %'",
    );
    listened_to(&database, "2").await;
    registered(&one).await;
    hinted(&other).await;
}

/// Each NOTIFY takes a server-wide lock.
#[tokio::test]
async fn must_tell_others_once_for_many_jobs() {
    let rig = Rig::new("hints-many").await;
    rig.bench.organization("acme", json!({})).await;
    let told = rig.proxy.arm(
        Fault::delay(Duration::ZERO).when(|message| message.executes() && message.sql_contains("pg_notify")).repeated(),
    );
    let began = Instant::now();
    for number in 0..60 {
        rig.bench.register(&small(&format!("t-{number}"), "acme")).await.unwrap();
    }
    tokio::time::timeout(SOON, async {
        while told.fired() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    })
    .await
    .expect("told");
    let most = began.elapsed().as_millis() / 100 + 2;
    assert!(u128::from(told.fired()) <= most, "{} within {:?}", told.fired(), began.elapsed());
}
