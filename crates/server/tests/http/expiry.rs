//! What time brings is done, however much of it there is.

use crate::house::{House, On};
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
