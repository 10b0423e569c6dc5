//! Two roles on PostgreSQL: what the serving role cannot do to the log, however it tries.

use crate::harness::{Bench, full, small};
use serde_json::json;
use tenancy_store::Condition;
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_serve_under_a_role_that_can_only_read_and_append_the_log() {
    let cluster = Postgres::start();
    let database = cluster.database("roles");
    database.execute("CREATE ROLE serving LOGIN");
    let owner = Database::Postgres(database.url().to_owned());
    owner.migrate(false).await.unwrap();
    owner.grant("serving").await.unwrap();
    owner.grant("serving").await.unwrap();

    let bench = Bench::on(&Database::Postgres(database.url_as("serving"))).await;
    bench.organization("acme", json!({"tenants": 5})).await;
    bench.register(&full("acme-eu", "acme")).await.unwrap();
    bench.register(&small("acme-us", "acme")).await.unwrap();
    bench.drain().await;
    assert_eq!(bench.store.top_up_log().await, Ok(0));
    assert_eq!(bench.store.condition().await, Ok(Condition::default()));
    let months = "SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
                  WHERE inhparent = 'tenant_audit'::regclass ORDER BY 1";
    let before = database.rows(months);
    for lost in before.iter().rev().take(5) {
        database.execute(&format!("DROP TABLE {}", lost[0].as_ref().unwrap()));
    }
    let few = bench.store.condition().await.unwrap();
    assert!(few.wrong.is_empty() && few.warnings[0].ends_with("lie ahead: 1"), "{few:?}");
    assert_eq!(bench.store.top_up_log().await, Ok(5));
    assert_eq!(database.rows(months), before);
    assert_eq!(bench.store.condition().await, Ok(Condition::default()));
    bench.store.remove_expired().await.unwrap();

    let client = database.connect().await;
    client.batch_execute("SET ROLE serving").await.unwrap();
    let partition = database.value(
        "SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
         WHERE inhparent = 'tenant_audit'::regclass ORDER BY 1 LIMIT 1",
    );
    for forbidden in [
        "UPDATE tenant_audit SET actor = 'nobody'".to_owned(),
        "DELETE FROM tenant_audit".to_owned(),
        "TRUNCATE tenant_audit".to_owned(),
        "DELETE FROM platform_audit".to_owned(),
        format!("DELETE FROM {partition}"),
        format!("TRUNCATE {partition}"),
        format!("ALTER TABLE tenant_audit DETACH PARTITION {partition}"),
        format!("SELECT log_drop_partition('{partition}')"),
        "UPDATE log_floor SET audit_id = 'aud_f'".to_owned(),
        "ALTER TABLE tenant_audit DISABLE TRIGGER ALL".to_owned(),
        "UPDATE log_batches SET last_position = 0".to_owned(),
        "DELETE FROM log_batches".to_owned(),
    ] {
        let refused = client.batch_execute(&forbidden).await.expect_err(&forbidden);
        assert_eq!(refused.code().map(tokio_postgres::error::SqlState::code), Some("42501"), "{forbidden}");
    }
    // A table of its own session does not stand before the log's for what runs as the owner.
    let add = "SELECT log_add_partition('tenant_audit_2041_01')";
    let own = "CREATE TEMP TABLE tenant_audit (id text); CREATE TEMP TABLE tenant_audit_2041_01 (id text)";
    client.batch_execute(&format!("{own}; {add}")).await.unwrap();
    let newest = database.rows(months).pop().unwrap();
    assert_eq!(newest[0].as_deref(), Some("tenant_audit_2041_01"));
}
