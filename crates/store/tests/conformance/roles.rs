//! Two roles on PostgreSQL: the serving role cannot change the log in any way.

use crate::harness::{Bench, full, small};
use serde_json::json;
use tenancy_core::Error;
use tenancy_store::DatabaseHealth;
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
    assert_eq!(bench.store.health().await, Ok(DatabaseHealth::default()));
    let months = "SELECT c.relname FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid \
                  WHERE inhparent = 'tenant_audit'::regclass ORDER BY 1";
    let before = database.rows(months);
    for lost in before.iter().rev().take(5) {
        database.execute(&format!("DROP TABLE {}", lost[0].as_ref().unwrap()));
    }
    let few = bench.store.health().await.unwrap();
    assert!(few.wrong.is_empty() && few.warnings[0].contains("only 1 of at least 2 months ahead"), "{few:?}");
    assert_eq!(bench.store.top_up_log().await, Ok(5));
    assert_eq!(database.rows(months), before);
    assert_eq!(bench.store.health().await, Ok(DatabaseHealth::default()));
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

/// A cluster and a database that the role `owner` migrated, with a role `serving`.
async fn two_roles() -> (Postgres, tenancy_testkit::Database, Database) {
    let cluster = Postgres::start();
    let database = cluster.database("two_roles");
    database.execute("CREATE ROLE owner LOGIN; CREATE ROLE serving LOGIN; GRANT CREATE ON SCHEMA public TO owner");
    let owner = Database::Postgres(database.url_as("owner"));
    owner.migrate(false).await.unwrap();
    (cluster, database, owner)
}

/// Objects that the serving role creates in its session's schema, so that they are mistaken for the log, with a
/// function that would then run as the owner. An expression index is copied with the table, and an immutable function
/// is called immediately.
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
async fn must_grant_no_partition_by_default_privileges() {
    let (_cluster, database, owner) = two_roles().await;
    owner.grant("serving").await.unwrap();
    database.execute("ALTER DEFAULT PRIVILEGES FOR ROLE owner GRANT ALL ON TABLES TO serving, PUBLIC");
    database.execute("SELECT log_add_partition('tenant_audit_2041_01')");
    let rights = "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a \
        WHERE c.relname = 'tenant_audit_2041_01' AND a.grantee <> c.relowner";
    assert_eq!(database.value(rights), "0");
    owner.grant("serving").await.unwrap();
}

#[tokio::test]
async fn must_take_from_the_serving_role_what_it_had_before() {
    let (_cluster, database, owner) = two_roles().await;
    database.execute("GRANT ALL ON ALL TABLES IN SCHEMA public TO serving WITH GRANT OPTION");
    database.execute("GRANT ALL ON ALL FUNCTIONS IN SCHEMA public TO serving WITH GRANT OPTION");
    database.execute("CREATE ROLE friend; SET ROLE serving; GRANT DELETE ON tenant_audit TO friend");
    owner.grant("serving").await.unwrap();
    let rights = "SELECT string_agg(a.privilege_type, ' ' ORDER BY a.privilege_type) FROM pg_class c, aclexplode(c.relacl) a \
        WHERE a.grantee <> c.relowner AND c.relname ";
    for (tables, left) in [
        ("IN ('tenant_audit')", "INSERT SELECT"),
        ("IN ('platform_audit')", "INSERT SELECT"),
        ("IN ('log_batches')", "INSERT SELECT"),
        ("IN ('log_head')", "SELECT UPDATE"),
        ("IN ('log_seals')", "INSERT SELECT"),
        ("IN ('schema_migrations')", "SELECT"),
        ("IN ('log_floor')", "SELECT"),
        ("IN ('api_keys')", "DELETE INSERT SELECT UPDATE"),
    ] {
        assert_eq!(database.value(&format!("{rights} {tables}")), left, "{tables}");
    }
    for none in ["LIKE 'tenant_audit_2%'", "IN ('schema_lock')"] {
        assert_eq!(database.rows(&format!("{rights} {none}")), [[None::<String>]], "{none}");
    }
    let calls = "SELECT has_function_privilege('serving', 'log_drop_partition(text)', 'EXECUTE')";
    assert_eq!(database.value(calls), "f");
}

/// How each refused role gets to be able to change the log, and the reason in the error.
const COULD: &[(&str, &str, &str)] = &[
    ("owner", "", "it owns"),
    ("postgres", "", "it is a superuser"),
    ("super", "CREATE ROLE super SUPERUSER", "it is a superuser"),
    ("member", "CREATE ROLE member NOINHERIT IN ROLE owner", "as a member of owner it owns"),
    ("under", "CREATE ROLE under IN ROLE super", "as a member of super it can change"),
    ("maker", "CREATE ROLE maker CREATEROLE", "CREATEROLE"),
    ("writer", "CREATE ROLE writer IN ROLE pg_write_all_data", "can change"),
    (
        "keeper",
        "CREATE ROLE keeper; CREATE ROLE desk; GRANT DELETE ON log_batches TO desk; GRANT desk TO keeper",
        "as a member of desk it can change log_batches",
    ),
    (
        "columns",
        "CREATE ROLE columns; CREATE ROLE one; GRANT UPDATE (actor) ON platform_audit TO one; GRANT one TO columns",
        "can change platform_audit",
    ),
    (
        "mover",
        "CREATE ROLE mover; CREATE ROLE up; GRANT UPDATE ON log_floor TO up; GRANT up TO mover",
        "can change log_floor",
    ),
    (
        "dropper",
        "CREATE ROLE dropper; CREATE ROLE drop; GRANT EXECUTE ON FUNCTION log_drop_partition TO drop; GRANT drop TO dropper",
        "can call log_drop_partition",
    ),
    (
        "builder",
        "CREATE ROLE builder; GRANT CREATE ON SCHEMA public TO builder",
        "can create tables and functions in the schema public",
    ),
    // The following rights are granted to PUBLIC, and apply to all later roles.
    ("puller", "CREATE ROLE puller; GRANT TRIGGER ON api_keys TO PUBLIC", "it can create triggers on api_keys"),
    ("serving", "GRANT TRUNCATE ON tenant_audit TO PUBLIC", "it can change tenant_audit"),
];

#[tokio::test]
async fn must_refuse_to_let_a_role_serve_that_could_change_the_log() {
    let (_cluster, database, owner) = two_roles().await;
    let rights = "SELECT string_agg(relacl::text, ' ' ORDER BY relname) FROM pg_class";
    for (role, how, why) in COULD {
        database.execute(how);
        let before = database.value(rights);
        match owner.grant(role).await {
            Err(Error::NotNow(said)) => assert!(said.starts_with(role) && said.contains(why), "{role}: {said}"),
            other => panic!("{role}: {other:?}"),
        }
        assert_eq!(database.value(rights), before, "{role}: no right was granted");
    }
    match owner.grant("nobody").await {
        Err(Error::NotNow(said)) => assert!(said.contains("no role nobody exists"), "{said}"),
        other => panic!("{other:?}"),
    }
}
