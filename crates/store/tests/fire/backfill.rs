//! The migration that infers which environments follow their tenant, and counts what environments alone have.

use crate::harness::{Bench, organization};
use serde_json::{Value, json};
use tempfile::TempDir;
use tenancy_core::organization::Usage;
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;

/// Names that count, and names and values that do not.
fn documents() -> [Value; 3] {
    let document = |id: &str, own: Value, environments: Value| {
        json!({"tenant_id": id, "organization_id": "acme", "region": "eu-west-1", "quotas": own,
            "environments": environments})
    };
    let most = 1_i64 << 40;
    let odd = json!({"a b": 1, "é\u{a0}": 2, "tab\t": 3, "\u{1680}": 4, "ü": 5, "": 6, "half": 0.5, "text": "x",
        "below": -1, "above": most + 1, "most": most, "quote\"d": 7});
    [
        document(
            "t-1",
            json!({"storageGiB": 500, "seats": "many"}),
            json!([
                {"name": "dev", "quotas": {"storageGiB": 50, "seats": 3, "concurrentJobs": 2}},
                {"name": "prod", "region": "eu-central-1", "quotas": {"seats": 4, "concurrentJobs": 5}},
            ]),
        ),
        document("t-2", json!({}), json!([{"name": "dev", "quotas": odd}, {"name": "prod", "quotas": {"most": 1}}])),
        document("t-3", json!({"ü": 1}), json!([{"name": "dev", "region": "eu-west-1"}])),
    ]
}

async fn furnish(bench: &Bench) -> Usage {
    bench.organization("acme", json!({})).await;
    bench.organization("other", json!({})).await;
    for document in documents() {
        bench.register(&document).await.unwrap();
    }
    usage(bench).await
}

async fn usage(bench: &Bench) -> Usage {
    bench.store.organization(&organization("acme")).await.unwrap().unwrap().usage
}

async fn given(bench: &Bench) -> Vec<(String, String, bool)> {
    let mut found = Vec::new();
    for id in ["t-1", "t-2", "t-3"] {
        for environment in bench.snapshot(id).await.environments {
            found.push((id.to_owned(), environment.name, environment.region_given));
        }
    }
    found
}

/// What the migration infers: an environment in the region of its tenant follows it.
async fn check(bench: &Bench, before: &Usage) {
    assert_eq!(&usage(bench).await, before);
    let own: Vec<_> = given(bench).await.into_iter().filter(|(_, _, given)| *given).collect();
    assert_eq!(own, [("t-1".to_owned(), "prod".to_owned(), true)]);
    // The tenants leave nothing behind: what is counted by the migration is what a change subtracts.
    for document in documents() {
        let id = document["tenant_id"].as_str().unwrap().to_owned();
        let mut bare = document.clone();
        bare["environments"] = json!([]);
        bare["quotas"] = json!({});
        let changes = bench.change(&bench.snapshot(&id).await, &bare, &["remove-environment"]).unwrap().changes;
        bench.commit(changes).await.unwrap();
    }
    assert_eq!(usage(bench).await, Usage { tenants: 3, ..Usage::default() });
}

/// The sums before the migration: the tenants' own quotas alone, in one row.
const UNDO: &str = "DELETE FROM organization_usage; \
    INSERT INTO organization_usage (organization_id, serial, tenants, quotas) \
    VALUES ('acme', 1, 1, '{\"storageGiB\":500}'), ('acme', 2, 3, '{\"storageGiB\":500,\"ü\":1}'); \
    ALTER TABLE environments DROP COLUMN region_given; \
    DELETE FROM schema_migrations WHERE name = '0008_follows_and_counts'";

#[tokio::test]
async fn must_count_on_sqlite_what_environments_alone_have_and_infer_what_follows() {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("tenancy.db");
    let url = Database::Sqlite(path.clone());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    let before = furnish(&bench).await;
    bench.store.close().await;
    drop(bench);
    rusqlite::Connection::open(&path).unwrap().execute_batch(UNDO).unwrap();
    url.migrate(false).await.unwrap();
    check(&Bench::on(&url).await, &before).await;
}

#[tokio::test]
async fn must_count_on_postgres_what_environments_alone_have_and_infer_what_follows() {
    let database = Postgres::shared().database("backfill");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    let before = furnish(&bench).await;
    bench.store.close().await;
    drop(bench);
    database.execute(UNDO);
    url.migrate(false).await.unwrap();
    check(&Bench::on(&url).await, &before).await;
}
