//! A copy from SQLite to PostgreSQL has every row.

use crate::harness::{Bench, full, small, tenant};
use jiff::SignedDuration;
use serde_json::json;
use tenancy_core::Error;
use tenancy_core::rules::organizations::{self, OrganizationManifest};
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;

/// A SQLite database with a history that began more than a year ago.
async fn original(
    directory: &std::path::Path,
) -> (Database, std::collections::BTreeMap<&'static str, Vec<Vec<String>>>) {
    let database = Database::Sqlite(directory.join("tenancy.db"));
    database.migrate(false).await.unwrap();
    let bench = Bench::on(&database).await;
    bench.store.jump_clock(SignedDuration::from_hours(-24 * 400));
    bench.organization("acme", json!({"tenants": 100})).await;
    bench.register(&full("old", "acme")).await.unwrap();
    bench.drain().await;
    bench.store.jump_clock(SignedDuration::from_hours(24 * 400));
    // More rows than a batch has.
    let created = |number: usize| {
        let document = json!({"organization_id": format!("org-{number}")});
        let (manifest, _) = OrganizationManifest::parse(&bench.declared, &document).unwrap();
        organizations::create(&manifest, &mut bench.context()).unwrap().changes.unwrap()
    };
    for first in (0..1200).step_by(100) {
        let together = bench.store.commit_together((first..first + 100).map(created).collect()).await;
        assert!(together.iter().all(Result::is_ok));
    }
    bench.register(&full("new", "acme")).await.unwrap();
    bench.store.mark("served").await.unwrap();
    let tables = bench.store.tables().await.unwrap();
    bench.store.close().await;
    (database, tables)
}

async fn migrated() -> (tenancy_testkit::Database, Database) {
    let place = Postgres::shared().database("copied");
    let database = Database::Postgres(place.url());
    database.migrate(false).await.unwrap();
    (place, database)
}

#[track_caller]
fn refused<T: std::fmt::Debug>(done: &Result<T, Error>, why: &str) {
    assert!(matches!(done, Err(Error::NotNow(message)) if message.contains(why)), "{done:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_copy_every_row_with_its_id_version_and_position() {
    let directory = tempfile::tempdir().unwrap();
    let (from, mut expected) = original(directory.path()).await;
    let (place, to) = migrated().await;
    let mut told = 0;
    let copied = from.copy_to(&to, |_| told += 1).await.unwrap();
    assert_eq!(told, copied.len());
    let count = |table: &str| copied.iter().find(|one| one.table == table).map(|one| one.rows);
    assert_eq!((count("tenants"), count("organizations"), count("marks")), (Some(2), Some(1201), Some(2)));
    let bench = Bench::on(&to).await;
    let mut tables = bench.store.tables().await.unwrap();
    for name in ["log_batches", "log_epochs"] {
        // The migrations of both databases wrote these first rows; their times differ.
        tables.get_mut(name).unwrap().remove(0);
        expected.get_mut(name).unwrap().remove(0);
    }
    for (name, rows) in &expected {
        assert_eq!(&tables[name], rows, "{name}");
    }
    assert_eq!(place.value("SELECT count(DISTINCT tableoid) FROM tenant_audit"), "2", "the old month has a partition");
    let next = i64::try_from(tables["tenant_audit"].len() + tables["platform_audit"].len()).unwrap() + 1;
    let changes = bench.registration(&small("next", "acme")).changes;
    assert_eq!(bench.commit(changes).await.unwrap().position, next, "positions go on");
    assert_eq!(bench.snapshot("old").await.tenant.tenant_id, tenant("old"));

    refused(&from.copy_to(&to, |_| ()).await, "is in use: its table organizations has rows");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_copy_nothing_from_or_to_what_is_not_ready() {
    let directory = tempfile::tempdir().unwrap();
    let (from, _) = original(directory.path()).await;
    let bare = Database::Postgres(Postgres::shared().database("bare").url());
    refused(&from.copy_to(&bare, |_| ()).await, "lacks migrations");
    let (place, to) = migrated().await;
    let none = Database::Sqlite(directory.path().join("none.db"));
    refused(&none.copy_to(&to, |_| ()).await, "there is no database");
    assert!(!directory.path().join("none.db").exists());
    refused(&to.copy_to(&from, |_| ()).await, "only a SQLite database can be copied");
    let open = from.open_for_test().await.unwrap();
    refused(&from.copy_to(&to, |_| ()).await, "is open in process");
    open.close().await;
    drop(open);
    // A row that does not fit leaves nothing behind.
    place.execute("ALTER TABLE tenant_jobs ADD CONSTRAINT never CHECK (job_id = '')");
    refused(&from.copy_to(&to, |_| ()).await, "nothing was copied");
    assert_eq!(place.value("SELECT count(*) FROM tenants"), "0");
    place.execute("ALTER TABLE tenant_jobs DROP CONSTRAINT never");
    from.copy_to(&to, |_| ()).await.unwrap();
}
