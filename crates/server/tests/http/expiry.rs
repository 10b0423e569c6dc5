//! Time-driven work is done completely, whatever its amount.

use crate::house::{House, On};
use std::time::Duration;
use tenancy_server::expiry::remove_expired;

#[tokio::test]
async fn all_that_expired_must_go_in_one_go() {
    let house = House::new(On::Postgres).await;
    let database = house.postgres.as_ref().expect("on PostgreSQL");
    database.execute(
        "INSERT INTO idempotency_records SELECT 'digest ' || n, '', 201, '{}', '', '2020-01-01Z', '2020-01-02Z' \
         FROM generate_series(1, 25000) n",
    );
    let stopped = house.server.stop.clone();
    assert_eq!(remove_expired(&house.server.tenancy, &stopped).await, Ok(25_000));
    assert_eq!(database.value("SELECT count(*) FROM idempotency_records"), "0");
}

#[tokio::test]
async fn the_months_ahead_must_be_topped_up_daily() {
    let house = House::new(On::Postgres).await;
    let (database, tenancy) = (house.postgres.as_ref().expect("on PostgreSQL"), &house.server.tenancy);
    let ahead = || database.value("SELECT count(*) FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass");
    let lose = || {
        let last = "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass";
        database.execute(&format!("DROP TABLE {}", database.value(last)));
    };
    let all = ahead();
    let background = &house.server.background;
    for is_run in [true, false, true] {
        lose();
        if is_run {
            background.run_once("log-partitions").await;
        }
        assert_eq!(ahead() == all, is_run);
        tenancy.store.top_up_log().await.expect("made");
    }
    let status = background.status().find(|status| status.name == "log-partitions").expect("it is registered");
    assert_eq!((status.period, status.figures().runs), (Duration::from_hours(24), 2));
}
