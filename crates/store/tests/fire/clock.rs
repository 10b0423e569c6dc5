//! Time is the database's time, whatever the clock of this machine says.

use crate::harness::{Bench, small};
use serde_json::json;
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_store::database::Database;

/// Opens a database whose clock differs by `seconds` from this machine's; the database has a replacement for the time
/// function.
async fn off_by(seconds: i64) -> Bench {
    let database = tenancy_testkit::Postgres::shared().database("clock");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    database.execute(&format!(
        "CREATE SCHEMA shifted; \
         CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql \
         AS $$ SELECT pg_catalog.clock_timestamp() + interval '{seconds} s' $$; \
         DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, shifted, pg_catalog', \
         current_database()); END $$"
    ));
    Bench::on(&url).await
}

#[tokio::test]
async fn must_bind_the_databases_time_cut_to_microseconds() {
    for seconds in [-3, 3] {
        let bench = off_by(seconds).await;
        let off = bench.store.now().duration_since(Timestamp::now()).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "a small number")]
        let wanted = seconds as f64;
        assert!((off - wanted).abs() < 1.0, "{off}");
        assert_eq!(bench.store.now().subsec_nanosecond() % 1000, 0);
        bench.organization("acme", json!({})).await;
        let made = bench.register(&small("t-1", "acme")).await.unwrap().tenant.created_at;
        assert_eq!(bench.snapshot("t-1").await.tenant.created_at, made, "no truncation");
        assert!((made.duration_since(Timestamp::now()).as_secs_f64() - wanted).abs() < 1.5, "{made}");
        // Due by the database's time.
        let jobs = bench.store.claim("us", 1, Duration::from_secs(10)).await.unwrap();
        assert_eq!(jobs.len(), 1);
        assert!(bench.store.health().await.unwrap().wrong.is_empty());
    }
}

#[tokio::test]
async fn must_not_be_ready_with_a_clock_more_than_five_seconds_off() {
    for (seconds, ready) in [(4, true), (-4, true), (6, false), (-6, false)] {
        let wrong = off_by(seconds).await.store.health().await.unwrap().wrong;
        assert_eq!(wrong.is_empty(), ready, "{seconds} s: {wrong:?}");
        if !ready {
            assert!(wrong[0].contains("s off the database's, more than 5 s: synchronize them"), "{wrong:?}");
        }
    }
}
