//! The log is append-only, for every role and every statement.

use crate::harness::{Bench, small};
use serde_json::json;
use tenancy_core::Error;
use tenancy_core::decision_context::least_audit_id;
use tenancy_store::DatabaseHealth;
use tenancy_store::database::Database;
use tenancy_store::upkeep::Expired;
use tenancy_testkit::Postgres;

/// Returns the error of a statement. Panics if it succeeds.
async fn refused(client: &tokio_postgres::Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => panic!("not refused: {sql}"),
        Err(error) => error.as_db_error().unwrap().message().to_owned(),
    }
}

#[tokio::test]
async fn must_refuse_to_change_the_log_on_postgres() {
    let database = Postgres::shared().database("appended");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let rows =
        "SELECT 'tenant', t::text FROM tenant_audit t UNION ALL SELECT 'platform', p::text FROM platform_audit p";
    let before = database.rows(rows);
    assert_eq!(before.len(), 2);
    let partition = database.value("SELECT tableoid::regclass FROM tenant_audit");
    let client = database.connect().await;
    for table in ["tenant_audit", partition.as_str(), "platform_audit"] {
        for sql in [
            format!("UPDATE {table} SET actor = 'nobody'"),
            format!("DELETE FROM {table}"),
            format!("TRUNCATE {table}"),
            format!("TRUNCATE {table} CASCADE"),
            format!("MERGE INTO {table} t USING (SELECT 1) s ON true WHEN MATCHED THEN DELETE"),
            format!("INSERT INTO {table} SELECT * FROM {table} ON CONFLICT (audit_id) DO UPDATE SET actor = 'nobody'"),
        ] {
            let why = refused(&client, &sql).await;
            assert!(why.contains("append-only"), "{sql}: {why}");
        }
        let why = refused(&client, &format!("INSERT INTO {table} SELECT * FROM {table}")).await;
        assert!(why.contains("duplicate key"), "{why}");
    }
    // All partitions, including those of future months.
    for row in database.rows("SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass") {
        let partition = row[0].clone().unwrap();
        assert!(refused(&client, &format!("TRUNCATE {partition}")).await.contains("append-only"), "{partition}");
    }
    assert_eq!(database.rows(rows), before);
}

/// As after a restore that missed a table.
#[tokio::test]
async fn must_commit_nothing_without_a_position_for_its_events() {
    for table in ["log_batches", "log_head"] {
        let database = Postgres::shared().database("positions");
        let url = Database::Postgres(database.url());
        url.migrate(false).await.unwrap();
        let bench = Bench::on(&url).await;
        bench.organization("acme", json!({})).await;
        database.execute(&format!("DELETE FROM {table}"));
        for _ in 0..2 {
            let refused = bench.register(&small("t-1", "acme")).await;
            assert!(matches!(refused, Err(Error::Internal(_))), "without {table}: {refused:?}");
        }
        assert_eq!(database.value("SELECT count(*) FROM tenants"), "0");
    }
}

#[tokio::test]
async fn must_make_and_drop_nothing_but_partitions_of_the_log() {
    let database = Postgres::shared().database("partitions");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let count = || database.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass");
    let (before, newest) = (count(), database.value("SELECT tableoid::regclass FROM tenant_audit"));
    let client = database.connect().await;
    assert!(refused(&client, &format!("SELECT log_drop_partition('{newest}')")).await.contains("not expired"));
    let months = ["2026_00", "2026_13", "2026_1", "1999_12", "2100_01"].map(|month| format!("tenant_audit_{month}"));
    for name in ["tenants", "tenant_audit", ""].into_iter().chain(months.iter().map(String::as_str)) {
        for function in ["log_add_partition", "log_drop_partition"] {
            let why = refused(&client, &format!("SELECT {function}('{name}')")).await;
            assert!(why.contains("not a partition"), "{function}({name}): {why}");
        }
    }
    assert_eq!(database.value("SELECT log_drop_partition('tenant_audit_2001_12')"), "f");
    assert_eq!(count(), before);
    // The function derives the month only from the name.
    assert_eq!(database.value("SELECT log_add_partition('tenant_audit_2001_12')"), "t");
    assert_eq!(database.value("SELECT log_add_partition('tenant_audit_2001_12')"), "f");
    let bounds =
        database.value("SELECT pg_get_expr(relpartbound, oid) FROM pg_class WHERE relname = 'tenant_audit_2001_12'");
    let [least, past] = ["2001-12-01T00:00:00Z", "2002-01-01T00:00:00Z"].map(|at| least_audit_id(at.parse().unwrap()));
    assert_eq!(bounds, format!("FOR VALUES FROM ('{least}') TO ('{past}')"));
    for sql in ["UPDATE log_floor SET audit_id = ''", "DELETE FROM log_floor", "TRUNCATE log_floor"] {
        database.execute("UPDATE log_floor SET audit_id = 'aud_0'");
        assert!(refused(&client, sql).await.contains("only moves up"), "{sql}");
    }
}

/// Returns the partition of this month's events.
fn this_month(bench: &Bench) -> String {
    format!("tenant_audit_{}", bench.store.now().strftime("%Y_%m"))
}

#[tokio::test]
async fn must_say_that_it_is_not_ready_while_this_months_partition_is_not_attached() {
    let database = Postgres::shared().database("detached");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    let month = this_month(&bench);
    database.execute(&format!("ALTER TABLE tenant_audit DETACH PARTITION {month}"));
    bench.register(&small("t-1", "acme")).await.unwrap_err();
    let health = bench.store.health().await.unwrap();
    assert!(health.wrong.len() == 1 && health.wrong[0].contains(&month), "{health:?}");
    // A table with the name of a partition that is not part of the log must not be used as one.
    for refused in [bench.store.top_up_log().await.map(drop), url.migrate(false).await.map(drop)] {
        let Err(Error::Internal(why)) = refused else { panic!("{refused:?}") };
        assert!(why.contains(&format!("{month} is there, but is not attached")), "{why}");
    }
    database.execute(&format!("ALTER TABLE {month} RENAME TO aside"));
    let planned = url.migrate(true).await.unwrap();
    assert_eq!((planned.applied, planned.sql), (vec![], vec![format!("SELECT log_add_partition('{month}');")]));
    assert_eq!(bench.store.top_up_log().await, Ok(1));
    assert_eq!(bench.store.health().await, Ok(DatabaseHealth::default()));
    bench.register(&small("t-1", "acme")).await.unwrap();
}

#[tokio::test]
async fn must_make_a_partition_once_the_log_is_free_again() {
    let database = Postgres::shared().database("locked-log");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    database.execute(&format!("DROP TABLE {}", this_month(&bench)));
    let mut other = database.connect().await;
    let lock = other.transaction().await.unwrap();
    lock.execute("LOCK TABLE tenant_audit IN ACCESS EXCLUSIVE MODE", &[]).await.unwrap();
    let store = bench.store.clone();
    let topping_up = tokio::spawn(async move { store.top_up_log().await });
    let watch = database.connect().await;
    let begun = async || {
        let waits = "SELECT query_start::text FROM pg_stat_activity WHERE wait_event_type = 'Lock' \
             AND datname = current_database() AND query LIKE '%log_add_partition%'";
        loop {
            if let Some(row) = watch.query_opt(waits, &[]).await.unwrap() {
                return row.get::<_, String>(0);
            }
            assert!(!topping_up.is_finished(), "it is tried again");
            tokio::task::yield_now().await;
        }
    };
    // It waits and fails, then waits again.
    let first = begun().await;
    while begun().await == first {
        tokio::task::yield_now().await;
    }
    lock.commit().await.unwrap();
    assert_eq!(topping_up.await.unwrap(), Ok(1));
}

const OLD: &str = "aud_016f0000000070008000000000000000";
/// Number of tenants whose old event has private data: more than two portions.
const OLD_PRIVATE: usize = 25_000;
/// Event from 2019 with private data. The other columns come from an event of today.
const OLD_ROWS: &str = "INSERT INTO tenant_audit (audit_id, tenant_id, event_type, actor, payload, correlation_id, \
     occurred_at, position, event_version, on_behalf_of) SELECT 'OLD', tenant_id, event_type, actor, payload, \
     correlation_id, occurred_at, 0, event_version, on_behalf_of FROM tenant_audit LIMIT 1; \
     INSERT INTO audit_private WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 25000) \
     SELECT 't-' || i, 'OLD', 'salt', '{}' FROM n";

async fn must_remove_what_expired(bench: &Bench, gone: Expired, none: Expired, left: impl AsyncFn() -> Vec<String>) {
    let before = left().await;
    assert!(before.iter().filter(|id| *id == OLD).count() == 1 + OLD_PRIVATE);
    let start = "2020-01-01T00:00:00Z".parse().unwrap();
    bench.store.raise_log_floor(start).await.unwrap();
    assert_eq!(left().await, before);
    assert_eq!(bench.store.remove_expired_log(start).await, Ok(gone));
    assert_eq!(bench.store.remove_expired_log(start).await, Ok(none));
    let kept: Vec<_> = before.into_iter().filter(|id| id != OLD).collect();
    assert!(!kept.is_empty());
    assert_eq!(left().await, kept);
    bench.register(&small("t-2", "acme")).await.unwrap();
}

const IDS: &str = "SELECT audit_id FROM tenant_audit UNION ALL SELECT audit_id FROM platform_audit \
     UNION ALL SELECT audit_id FROM audit_private ORDER BY 1";

#[tokio::test]
async fn must_remove_what_expired_on_postgres() {
    let database = Postgres::shared().database("expired");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    database.execute("SELECT log_add_partition('tenant_audit_2019_12')");
    database.execute(&OLD_ROWS.replace("OLD", OLD));
    let left = async || database.rows(IDS).into_iter().flatten().flatten().collect::<Vec<_>>();
    must_remove_what_expired(&bench, Expired::Partitions(1), Expired::Partitions(0), left).await;
}

#[tokio::test]
async fn must_remove_what_expired_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenancy.db");
    let url = Database::Sqlite(path.clone());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(&OLD_ROWS.replace("OLD", OLD)).unwrap();
    let left = async || {
        let mut statement = connection.prepare(IDS).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect::<Vec<String>>()
    };
    must_remove_what_expired(&bench, Expired::Events(1), Expired::Events(0), left).await;
}

#[tokio::test]
async fn must_refuse_to_change_the_log_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenancy.db");
    let url = Database::Sqlite(path.clone());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    bench.store.close().await;
    let connection = rusqlite::Connection::open(&path).unwrap();
    let refused = |sql: &str, why: &str| {
        let error = connection.execute_batch(sql).expect_err(sql).to_string();
        assert!(error.contains(why), "{sql}: {error}");
    };
    for recursive in [true, false] {
        // Off, as another program may set it: then REPLACE deletes rows without firing the triggers that forbid DELETE.
        connection.pragma_update(None, "recursive_triggers", recursive).unwrap();
        for table in ["tenant_audit", "platform_audit"] {
            refused(&format!("UPDATE {table} SET actor = 'nobody'"), "append-only");
            refused(&format!("DELETE FROM {table}"), "append-only");
            refused(&format!("REPLACE INTO {table} SELECT * FROM {table}"), "append-only");
            refused(&format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table}"), "append-only");
            refused(&format!("UPDATE OR REPLACE {table} SET audit_id = 'x'"), "append-only");
            let upsert = "ON CONFLICT (audit_id) DO UPDATE SET actor = 'nobody'";
            refused(&format!("INSERT INTO {table} SELECT * FROM {table} WHERE true {upsert}"), "append-only");
            // There is no other unique key by which a row could be replaced.
            let columns = format!("SELECT group_concat(name) FROM pragma_table_info('{table}')");
            let columns: String = connection.query_row(&columns, [], |row| row.get(0)).unwrap();
            let forged = columns.replace("audit_id", "'aud_forged'");
            for rowid in ["rowid", "_rowid_", "oid"] {
                refused(&format!("REPLACE INTO {table} ({rowid}, {columns}) SELECT 1, {forged} FROM {table}"), rowid);
            }
        }
        refused("DELETE FROM log_floor", "only moves up");
        refused("REPLACE INTO log_floor VALUES (1, '')", "only moves up");
        refused("INSERT OR REPLACE INTO log_floor VALUES (1, 'aud_f')", "only moves up");
    }
    // Expired events can be deleted below the floor, and only there.
    connection.execute_batch("UPDATE log_floor SET audit_id = 'aud_0'").unwrap();
    refused("UPDATE log_floor SET audit_id = ''", "only moves up");
    refused("REPLACE INTO log_floor VALUES (1, 'aud_1')", "only moves up");
    refused("DELETE FROM tenant_audit", "append-only");
    connection.execute_batch("UPDATE log_floor SET audit_id = 'aud_f'").unwrap();
    assert_eq!(connection.execute("DELETE FROM tenant_audit", []).unwrap(), 1);
    refused("DELETE FROM platform_audit", "append-only");
}
