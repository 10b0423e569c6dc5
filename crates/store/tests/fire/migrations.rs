//! Migrations: two at once, a database that is behind, and one that another build has migrated.

use crate::harness::{Bench, small};
use crate::rig::together;
use crate::world::Member;
use serde_json::json;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::Path;
use tenancy_core::Error;
use tenancy_store::DatabaseHealth;
use tenancy_store::database::{Database, Migrated};
use tenancy_testkit::{PgBouncer, Postgres};

fn says(refused: Result<impl Sized, Error>, words: &[&str]) {
    match refused {
        Err(Error::NotNow(message)) => assert!(words.iter().all(|word| message.contains(word)), "{message}"),
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("not refused: {words:?}"),
    }
}

#[tokio::test]
async fn must_migrate_once_when_several_processes_do_at_once() {
    for round in 0..4 {
        let database = Postgres::shared().database("migrate");
        let url = Database::Postgres(database.url());
        let all = futures_util::future::join_all((0..5).map(|_| url.migrate(false))).await;
        let all: Vec<Migrated> = all.into_iter().map(Result::unwrap).collect();
        assert_eq!(
            all.iter().filter(|done| !done.applied.is_empty()).count(),
            1,
            "round {round}: one does, the others wait"
        );
        let applied: usize = all.iter().map(|done| done.applied.len()).sum();
        assert_eq!(database.value("SELECT count(*) FROM schema_migrations"), applied.to_string());
        assert_eq!(database.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass"), "8");
        url.open_for_test().await.unwrap();
        assert_eq!(url.migrate(false).await, Ok(Migrated::default()));
    }
}

#[tokio::test]
async fn must_wait_for_the_lock_of_another_migration() {
    let database = Postgres::shared().database("waits");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let mut other = database.connect().await;
    let transaction = other.transaction().await.unwrap();
    transaction.query("SELECT only_row FROM schema_lock FOR UPDATE", &[]).await.unwrap();
    let migration = tokio::spawn(async move { url.migrate(false).await });
    let waiting =
        "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    let watch = database.connect().await;
    while watch.query_one(waiting, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!migration.is_finished());
    transaction.commit().await.unwrap();
    migration.await.unwrap().unwrap();
}

/// A newer release expands the schema while this one serves: rows are sent as rows of the table, which now has one more
/// column.
#[tokio::test]
async fn must_commit_on_when_another_release_adds_columns() {
    let database = Postgres::shared().database("expanded");
    let pooler = PgBouncer::start_in_front_of(Postgres::shared().address());
    Database::Postgres(database.url()).migrate(false).await.unwrap();
    let direct = Bench::on(&Database::Postgres(database.url())).await;
    let pooled = Bench::on(&Database::Postgres(format!("{}?pooler=transaction", pooler.url(&database)))).await;
    direct.organization("acme", json!({})).await;
    database.execute("CREATE DOMAIN later_domain AS text");
    for round in 0..3 {
        for (bench, name) in [(&direct, "direct"), (&pooled, "pooled")] {
            let made = bench.register(&small(&format!("{name}-{round}"), "acme")).await.unwrap();
            let renamed = json!({"tenant_id": made.tenant.tenant_id, "organization_id": "acme", "region": "eu-west-1",
                "display_name": "Renamed"});
            bench.commit(bench.change(&made, &renamed, &[]).unwrap().changes).await.unwrap();
        }
        for table in ["tenants", "tenant_audit", "organization_usage", "audit_private"] {
            // The last column has a type of the server's own that the driver does not know.
            database.execute(&format!(
                "ALTER TABLE {table} ADD COLUMN later_{round} text, ADD COLUMN domain_{round} later_domain, \
                 ADD COLUMN unknown_{round} pg_class"
            ));
        }
    }
    assert_eq!(database.value("SELECT count(*) FROM tenants WHERE version = 2 AND display_name = 'Renamed'"), "6");
}

#[tokio::test]
async fn must_refuse_to_open_postgres_that_is_behind_or_of_another_build() {
    let database = Postgres::shared().database("behind");
    let url = Database::Postgres(database.url());
    says(url.open_for_test().await, &["0001_record", "tenancy db migrate"]);
    let planned = url.migrate(true).await.unwrap();
    assert_eq!(planned.applied[0], "0001_record");
    assert!(planned.sql.concat().contains("CREATE TABLE tenants"));
    assert_eq!(database.value("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0", "dry run only");
    url.migrate(false).await.unwrap();
    url.open_for_test().await.unwrap();
    database.execute("INSERT INTO schema_migrations VALUES ('9999_next', 'x', '0.1.0', '2026-01-01Z')");
    url.open_for_test().await.unwrap();
    database.execute("UPDATE schema_migrations SET oldest_release = '99.0.0' WHERE name = '9999_next'");
    says(url.open_for_test().await, &["9999_next", "99.0.0", "upgrade"]);
    database.execute("DELETE FROM schema_migrations WHERE name = '9999_next'");
    database.execute("UPDATE schema_migrations SET checksum = 'other'");
    says(url.open_for_test().await, &["0001_record", "another build"]);
    says(url.migrate(false).await, &["0001_record", "another build"]);
}

#[tokio::test]
async fn must_refuse_to_open_sqlite_that_is_behind_or_of_another_build() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenancy.db");
    let url = Database::Sqlite(path.clone());
    assert_eq!(url.migrate(true).await.unwrap().applied[0], "0001_record");
    assert!(!path.exists(), "dry run only");
    says(url.open_for_test().await, &["0001_record", "tenancy db migrate"]);
    url.migrate(false).await.unwrap();
    url.open_for_test().await.unwrap().close().await;
    let change = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    change("INSERT INTO schema_migrations VALUES ('9999_next', 'x', '99.0.0', 0)");
    says(url.open_for_test().await, &["9999_next", "99.0.0", "upgrade"]);
    change("DELETE FROM schema_migrations WHERE name = '9999_next'; UPDATE schema_migrations SET checksum = 'other'");
    says(url.open_for_test().await, &["0001_record", "another build"]);
    says(url.migrate(false).await, &["0001_record", "another build"]);
}

#[tokio::test]
async fn must_refuse_a_second_process_on_one_sqlite_file_with_the_name_of_the_first() {
    let directory = tempfile::tempdir().unwrap();
    let url = Database::Sqlite(directory.path().join("tenancy.db"));
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    let holder = format!("process {}", std::process::id());
    says(url.open_for_test().await, &[&holder, "only one process can open a SQLite file"]);
    says(url.migrate(false).await, &[&holder]);
    says(url.open_for_test().await, &[&holder]);
    bench.organization("acme", json!({})).await;
    bench.store.close().await;
    drop(bench);
    let again = Bench::on(&url).await;
    again.register(&small("t-1", "acme")).await.unwrap();
}

#[tokio::test]
async fn must_print_in_a_dry_run_all_that_brings_postgres_up() {
    let database = Postgres::shared().database("printed");
    let url = Database::Postgres(database.url());
    let planned = url.migrate(true).await.unwrap();
    database.execute(&planned.sql.join("\n\n"));
    assert_eq!(url.look().await, Ok(DatabaseHealth::default()));
    assert_eq!(url.migrate(true).await, Ok(Migrated::default()));
    assert_eq!(database.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass"), "8");
    assert_eq!(url.migrate(false).await, Ok(Migrated::default()));
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    // The migrations' own rows are the same except for their times.
    let migrated = Postgres::shared().database("migrated");
    Database::Postgres(migrated.url()).migrate(false).await.unwrap();
    let rows = "SELECT name, checksum, oldest_release, applied_at > '2026-01-01Z' FROM schema_migrations";
    assert_eq!(database.rows(rows), migrated.rows(rows));
    let lock = "SELECT count(*) FROM schema_lock";
    assert_eq!(database.value(lock), migrated.value(lock));
}

#[tokio::test]
async fn must_print_in_a_dry_run_all_that_brings_sqlite_up() {
    let directory = tempfile::tempdir().unwrap();
    let [printed, migrated] = ["printed.db", "migrated.db"].map(|name| directory.path().join(name));
    let url = Database::Sqlite(printed.clone());
    let planned = url.migrate(true).await.unwrap();
    let open = |path: &Path| rusqlite::Connection::open(path).unwrap();
    open(&printed).execute_batch(&planned.sql.join("\n\n")).unwrap();
    assert_eq!(url.look().await, Ok(DatabaseHealth::default()));
    assert_eq!(url.migrate(true).await, Ok(Migrated::default()));
    assert_eq!(url.migrate(false).await, Ok(Migrated::default()));
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    Database::Sqlite(migrated.clone()).migrate(false).await.unwrap();
    let rows = "SELECT name || checksum || oldest_release || (applied_at > 1767225600000000) FROM schema_migrations";
    let row = |path: &Path| open(path).query_row(rows, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(row(&printed), row(&migrated));
}

/// Names and contents of the files in a directory.
fn contents(directory: &Path) -> BTreeMap<OsString, Vec<u8>> {
    let entries = std::fs::read_dir(directory).unwrap().map(Result::unwrap);
    entries.map(|entry| (entry.file_name(), std::fs::read(entry.path()).unwrap())).collect()
}

#[tokio::test]
async fn must_look_at_sqlite_without_changing_anything_also_while_a_server_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("100% #1?.db");
    let url = Database::Sqlite(path.clone());
    says(url.look().await, &["0001_record"]);
    assert_eq!(url.migrate(true).await.unwrap().applied[0], "0001_record");
    assert!(contents(directory.path()).is_empty(), "nothing is created");
    // As another program leaves it: without a write-ahead log.
    rusqlite::Connection::open(&path).unwrap().execute_batch("CREATE TABLE other (a integer)").unwrap();
    let before = contents(directory.path());
    says(url.look().await, &["0001_record"]);
    assert_eq!(url.migrate(true).await.unwrap().applied[0], "0001_record");
    assert_eq!(contents(directory.path()), before);
    url.migrate(false).await.unwrap();
    let before = contents(directory.path());
    assert_eq!(url.look().await, Ok(DatabaseHealth::default()));
    assert_eq!(url.migrate(true).await, Ok(Migrated::default()));
    assert_eq!(contents(directory.path()), before);
    let bench = Bench::on(&url).await;
    let served = rusqlite::Connection::open(&path).unwrap();
    served.execute_batch("UPDATE schema_migrations SET checksum = 'other'").unwrap();
    says(url.look().await, &["another build"]);
    says(url.migrate(true).await, &["another build"]);
    bench.organization("acme", json!({})).await;
}

#[cfg(unix)]
#[tokio::test]
async fn must_refuse_a_second_process_by_whatever_name_it_opens_the_file() {
    let directory = tempfile::tempdir().unwrap();
    let [path, link, name] = ["tenancy.db", "link.db", "name.db"].map(|name| directory.path().join(name));
    let [url, linked, named] = [&path, &link, &name].map(|path| Database::Sqlite(path.clone()));
    // A link to a file that does not exist yet.
    std::os::unix::fs::symlink(&path, &link).unwrap();
    linked.migrate(false).await.unwrap();
    let holder = format!("process {}", std::process::id());
    let bench = Bench::on(&url).await;
    says(linked.open_for_test().await, &[&holder, "only one process can open a SQLite file"]);
    says(linked.migrate(false).await, &[&holder]);
    bench.store.close().await;
    drop(bench);
    let bench = Bench::on(&linked).await;
    says(url.open_for_test().await, &[&holder]);
    std::fs::hard_link(&path, &name).unwrap();
    says(named.open_for_test().await, &["2 names", "hard links"]);
    says(named.migrate(false).await, &["2 names"]);
    bench.organization("acme", json!({})).await;
    bench.store.close().await;
    drop(bench);
    says(url.open_for_test().await, &["2 names"]);
    std::fs::remove_file(&name).unwrap();
    url.open_for_test().await.unwrap();
}

/// Another release widens a column, which changes the types of a prepared statement, while this process runs.
#[tokio::test]
async fn must_go_on_when_another_release_migrates_under_it() {
    let database = Postgres::shared().database("under");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    let members = |round: u32| -> Vec<Member> {
        let decision = |number| bench.registration(&small(&format!("t-{round}-{number}"), "acme"));
        (0..3).map(decision).map(|d| Member { changes: d.changes.unwrap(), after: Some(d.snapshot) }).collect()
    };
    for round in 0..3 {
        let answers = together(&bench.store, &members(round)).await;
        assert!(answers.iter().all(Result::is_ok), "round {round}: {answers:?}");
        let there = bench.store.snapshot(&crate::harness::tenant(&format!("t-{round}-0"))).await;
        assert!(there.unwrap().is_some());
        bench.claim().await;
        let width = 100 + round;
        database.execute(&format!(
            "ALTER TABLE tenants ALTER tenant_id TYPE varchar({width}), ALTER display_name TYPE varchar({}); \
             ALTER TABLE organizations ALTER organization_id TYPE varchar({width}); \
             ALTER TABLE organization_usage ALTER organization_id TYPE varchar({width}); \
             ALTER TABLE tenants ADD COLUMN new_{round} text",
            300 + round
        ));
    }
}
