//! The log is append-only, for everybody and by every way there is.

use crate::harness::{Bench, small};
use serde_json::json;
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;

/// Why a statement is refused; a panic when it is not.
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
    // Every partition, also those of months to come.
    for row in database.rows("SELECT inhrelid::regclass FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass") {
        let partition = row[0].clone().unwrap();
        assert!(refused(&client, &format!("TRUNCATE {partition}")).await.contains("append-only"), "{partition}");
    }
    assert_eq!(database.rows(rows), before);
}

#[tokio::test]
async fn must_drop_only_partitions_that_have_expired() {
    let database = Postgres::shared().database("expired");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    let count = || database.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass");
    let (before, newest) = (count(), database.value("SELECT tableoid::regclass FROM tenant_audit"));
    let bound = database.value(&format!(
        "SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \\(''(aud_[0-9a-f]+)''') FROM pg_class WHERE relname = '{newest}'"
    ));
    let client = database.connect().await;
    let zero = format!("aud_{}", "0".repeat(32));
    for (name, past, why) in [
        (newest.as_str(), zero.as_str(), "not expired"),
        ("tenants", bound.as_str(), "not a partition"),
        ("tenant_audit", bound.as_str(), "not a partition"),
        (newest.as_str(), "x", "not a partition"),
    ] {
        let refused = refused(&client, &format!("SELECT log_drop_partition('{name}', '{past}')")).await;
        assert!(refused.contains(why), "{refused}");
    }
    for sql in [
        format!("SELECT log_add_partition('tenants', '{zero}', '{bound}')"),
        format!("SELECT log_add_partition('tenant_audit_1970_01', '{bound}', '{zero}')"),
        format!("SELECT log_add_partition('tenant_audit_1970_01', '{zero}', 'x')"),
    ] {
        assert!(refused(&client, &sql).await.contains("not a partition"), "{sql}");
    }
    assert_eq!(count(), before);
    assert_eq!(database.value(&format!("SELECT log_drop_partition('{newest}', '{bound}')")), "t");
    assert_eq!(database.value("SELECT count(*) FROM tenant_audit"), "0");
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
        // Off, as another program would have it: then REPLACE deletes past the triggers that forbid DELETE.
        connection.pragma_update(None, "recursive_triggers", recursive).unwrap();
        for table in ["tenant_audit", "platform_audit"] {
            refused(&format!("UPDATE {table} SET actor = 'nobody'"), "append-only");
            refused(&format!("DELETE FROM {table}"), "append-only");
            refused(&format!("REPLACE INTO {table} SELECT * FROM {table}"), "append-only");
            refused(&format!("INSERT OR REPLACE INTO {table} SELECT * FROM {table}"), "append-only");
            refused(&format!("UPDATE OR REPLACE {table} SET audit_id = 'x'"), "append-only");
            let upsert = "ON CONFLICT (audit_id) DO UPDATE SET actor = 'nobody'";
            refused(&format!("INSERT INTO {table} SELECT * FROM {table} WHERE true {upsert}"), "append-only");
        }
        refused("DELETE FROM log_floor", "only moves up");
        refused("UPDATE log_floor SET position = -1", "only moves up");
        refused("REPLACE INTO log_floor VALUES (1, 0)", "only moves up");
        refused("INSERT OR REPLACE INTO log_floor VALUES (1, -5)", "only moves up");
    }
    // What has expired goes below the floor, and only there.
    connection.execute_batch("UPDATE log_floor SET position = 1").unwrap();
    refused("UPDATE log_floor SET position = 0", "only moves up");
    refused("REPLACE INTO log_floor VALUES (1, 5)", "only moves up");
    refused("DELETE FROM tenant_audit", "append-only");
    assert_eq!(connection.execute("DELETE FROM platform_audit", []).unwrap(), 1);
    let left: i64 = connection.query_row("SELECT count(*) FROM tenant_audit", [], |row| row.get(0)).unwrap();
    assert_eq!(left, 1);
}
