//! PgBouncer in front of a real server pools transactions and forgets session state.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use tenancy_testkit::{PgBouncer, Postgres, Proxy};
use tokio_postgres::{Client, NoTls};

async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.unwrap();
    tokio::spawn(async { drop(connection.await) });
    client
}

#[tokio::test]
async fn transactions_of_many_clients_must_share_few_connections() {
    let postgres = Postgres::shared();
    let (database, bouncer) = (postgres.database("pooled"), PgBouncer::start(postgres));
    let mut clients = Vec::new();
    for _ in 0..30 {
        let client = connect(&bouncer.url(&database)).await;
        client.batch_execute("BEGIN; SELECT 1; COMMIT").await.unwrap();
        clients.push(client);
    }
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE datname = '{}'", database.name());
    // The session of this query, and that of the pool.
    assert!(database.value(&sessions).parse::<u32>().unwrap() <= 3, "transaction pooling");
}

#[tokio::test]
async fn any_role_must_get_through() {
    let postgres = Postgres::shared();
    let (database, bouncer) = (postgres.database("roles"), PgBouncer::start(postgres));
    database.execute("CREATE ROLE somebody LOGIN");
    let url = bouncer.url(&database).replace("postgres@", "somebody@");
    let row = connect(&url).await.simple_query("SELECT current_user").await.unwrap();
    assert!(format!("{row:?}").contains("somebody"), "{row:?}");
}

#[tokio::test]
async fn unnamed_statements_must_work_and_start_up_options_be_refused() {
    let postgres = Postgres::shared();
    let (database, bouncer) = (postgres.database("unnamed"), PgBouncer::start(postgres));
    let client = connect(&bouncer.url(&database)).await;
    for n in 0..10_i32 {
        let rows = client.query_typed("SELECT $1", &[(&n, tokio_postgres::types::Type::INT4)]).await.unwrap();
        assert_eq!(rows[0].get::<_, i32>(0), n);
    }
    let with_options = format!("{}?options=-c%20lock_timeout%3D2s", bouncer.url(&database));
    assert!(tokio_postgres::connect(&with_options, NoTls).await.is_err());
}

#[tokio::test]
async fn a_proxy_must_work_on_either_side() {
    let postgres = Postgres::shared();
    let database = postgres.database("either side");
    let behind = Proxy::start(postgres.address());
    let bouncer = PgBouncer::start_in_front_of(behind.address());
    let before = Proxy::start(bouncer.address());
    let client = connect(&before.url(&database)).await;
    client.batch_execute("SELECT 1").await.unwrap();
    assert_eq!(before.frontend_messages(), 1);
    behind.cut();
    while client.batch_execute("SELECT 1").await.is_err() {
        assert!(!client.is_closed(), "PgBouncer keeps its client and makes a new connection");
    }
}
