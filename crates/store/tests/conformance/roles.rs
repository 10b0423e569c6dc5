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
}

/// The cluster and its database, migrated by the role `owner`, with a role `serving`.
async fn two_roles() -> (Postgres, tenancy_testkit::Database, Database) {
    let cluster = Postgres::start();
    let database = cluster.database("two_roles");
    database.execute("CREATE ROLE owner LOGIN; CREATE ROLE serving LOGIN; GRANT CREATE ON SCHEMA public TO owner");
    let owner = Database::Postgres(database.url_as("owner"));
    owner.migrate(false).await.unwrap();
    (cluster, database, owner)
}

/// What the serving role puts in its own session's schema so that it is taken for the log, with a function that would run as
/// the owner then: an index on a call is copied with the table, and what is immutable is called at once.
const TRAP: &str = "CREATE FUNCTION pg_temp.trap(text) RETURNS integer LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN \
    IF current_user <> 'serving' THEN RAISE EXCEPTION 'trapped: %', current_user; END IF; RETURN 1; END $$; \
    CREATE TEMP TABLE tenant_audit (LIKE public.tenant_audit INCLUDING ALL); \
    GRANT ALL ON pg_temp.tenant_audit TO PUBLIC; \
    CREATE INDEX ON pg_temp.tenant_audit ((pg_temp.trap('owner'))); \
    CREATE TEMP TABLE tenant_audit_2041_02 (id text)";

#[tokio::test]
async fn must_take_no_table_of_a_session_for_the_log_in_what_runs_as_its_owner() {
    let (_cluster, database, owner) = two_roles().await;
    owner.grant("serving").await.unwrap();
    let client = database.connect().await;
    client.batch_execute("SET SESSION AUTHORIZATION serving").await.unwrap();
    client.batch_execute(TRAP).await.unwrap();
    for month in ["tenant_audit_2041_01", "tenant_audit_2041_02"] {
        let made = client.query_one(&format!("SELECT log_add_partition('{month}')"), &[]).await.unwrap();
        assert!(made.get::<_, bool>(0), "{month}");
        let attached =
            format!("SELECT inhparent::regclass FROM pg_inherits WHERE inhrelid = 'public.{month}'::regclass");
        assert_eq!(database.value(&attached), "tenant_audit");
    }
    for table in ["tenant_audit", "platform_audit"] {
        let refused = client.batch_execute(&format!("DELETE FROM public.{table}")).await.expect_err("refused");
        assert!(refused.as_db_error().unwrap().message().contains("permission denied"), "{refused:?}");
    }
}

#[tokio::test]
async fn must_give_no_partition_to_who_is_given_new_tables_by_default() {
    let (_cluster, database, owner) = two_roles().await;
    owner.grant("serving").await.unwrap();
    database.execute("ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON TABLES TO serving, PUBLIC");
    database.execute("SELECT log_add_partition('tenant_audit_2041_01')");
    let rights = "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a \
        WHERE c.relname = 'tenant_audit_2041_01' AND a.grantee <> c.relowner";
    assert_eq!(database.value(rights), "0");
    owner.grant("serving").await.unwrap();
}
