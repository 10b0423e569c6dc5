//! The faulty proxy in front of a real server: every fault works as documented, each time.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::cell::Cell;
use std::time::{Duration, Instant};

use tenancy_testkit::{Database, Fault, Message, Postgres, Proxy};
use tokio_postgres::{Client, Error, NoTls};

const TABLE: &str = "CREATE TABLE t (a int PRIMARY KEY)";
const MOMENT: Duration = Duration::from_millis(600);

fn database(hint: &str) -> Database {
    let database = Postgres::shared().database(hint);
    database.execute(TABLE);
    database
}

fn proxy() -> Proxy {
    Proxy::start(Postgres::shared().address())
}

async fn try_connect(proxy: &Proxy, database: &Database) -> Result<Client, Error> {
    let url = format!("{}?application_name=under-test", proxy.url(database));
    let (client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    tokio::spawn(async { drop(connection.await) });
    Ok(client)
}

async fn connect(proxy: &Proxy, database: &Database) -> Client {
    try_connect(proxy, database).await.unwrap()
}

/// BEGIN, a prepared INSERT, and COMMIT as a prepared statement: messages of every kind.
async fn insert(client: &mut Client, a: i32) -> Result<(), Error> {
    let transaction = client.transaction().await?;
    transaction.execute("INSERT INTO t VALUES ($1)", &[&a]).await?;
    let commit = transaction.prepare("COMMIT").await?;
    transaction.execute(&commit, &[]).await?;
    Ok(())
}

fn is_stored(database: &Database, a: i32) -> bool {
    database.value(&format!("SELECT count(*) FROM t WHERE a = {a}")) == "1"
}

#[tokio::test]
async fn what_is_not_told_to_fail_must_pass() {
    let (database, proxy) = (database("pass"), proxy());
    let mut client = connect(&proxy, &database).await;
    insert(&mut client, 1).await.unwrap();
    let long = "x".repeat(3_000_000);
    let row = client.query_one("SELECT length($1), $1", &[&long]).await.unwrap();
    assert_eq!((row.get::<_, i32>(0), row.get::<_, &str>(1).len()), (3_000_000, 3_000_000));
    assert_eq!(proxy.connections(), 1);
    drop(client);
    while proxy.connections() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_cut_at_any_message_must_keep_the_transaction_whole() {
    let (database, proxy) = (database("every message"), proxy());
    let mut client = connect(&proxy, &database).await;
    let before = proxy.frontend_messages();
    insert(&mut client, 0).await.unwrap();
    let messages = proxy.frontend_messages() - before;
    assert!(messages > 8, "BEGIN, and parse, bind, execute, sync twice: {messages}");

    let mut stored = Vec::new();
    for n in 1..=messages {
        for after in [false, true] {
            let a = i32::try_from(2 * n).unwrap() + i32::from(after);
            let mut client = connect(&proxy, &database).await;
            let armed = if after { proxy.cut_after(n) } else { proxy.cut_before(n) };
            let outcome = insert(&mut client, a).await;
            assert_eq!(armed.fired(), 1, "message {n}, after: {after}");
            // The client may not notice a cut after COMMIT's execute (at a sync, or at the close of a statement).
            let there = is_stored(&database, a);
            assert!(there || outcome.is_err(), "message {n}, after: {after}: confirmed but not stored");
            stored.push(there);
        }
    }
    // A cut before COMMIT's execute stores nothing; from then on the row is stored.
    assert!(stored.is_sorted() && !stored[0] && stored[stored.len() - 1], "{stored:?}");
}

#[tokio::test]
async fn a_prepared_commit_must_be_recognised_when_it_runs() {
    let (database, proxy) = (database("commit"), proxy());
    for (a, fault, stored) in [(1, Fault::cut_before(), false), (2, Fault::cut_after(), true)] {
        let mut client = connect(&proxy, &database).await;
        let armed = proxy.arm(fault.when(Message::is_commit));
        insert(&mut client, a).await.unwrap_err();
        armed.wait().await;
        assert_eq!(is_stored(&database, a), stored);
        assert!(client.is_closed());
    }
}

#[tokio::test]
async fn a_simple_commit_must_be_recognised_too_and_other_applications_left_alone() {
    let (database, proxy) = (database("simple"), proxy());
    let commits_of_the_one = |message: &Message| message.is_commit() && &*message.application == "under-test";
    let armed = proxy.arm(Fault::cut_after().when(commits_of_the_one));
    let sql = "BEGIN; INSERT INTO t VALUES (1)";
    let (other, connection) = tokio_postgres::connect(&proxy.url(&database), NoTls).await.unwrap();
    tokio::spawn(async { drop(connection.await) });
    other.batch_execute(sql).await.unwrap();
    other.batch_execute("COMMIT").await.unwrap();
    assert_eq!(armed.fired(), 0);

    let client = connect(&proxy, &database).await;
    client.batch_execute("BEGIN; INSERT INTO t VALUES (2)").await.unwrap();
    client.batch_execute("COMMIT").await.unwrap_err();
    assert!(is_stored(&database, 2));
    other.batch_execute("SELECT 1").await.unwrap();
}

#[tokio::test]
async fn a_message_delivered_late_must_take_effect_after_the_client_is_back() {
    let (database, proxy) = (database("late"), proxy());
    let mut client = connect(&proxy, &database).await;
    proxy.arm(Fault::cut_and_deliver(MOMENT).when(Message::is_commit));
    let began = Instant::now();
    insert(&mut client, 1).await.unwrap_err();
    assert!(began.elapsed() < MOMENT, "the client is cut at once");
    let again = connect(&proxy, &database).await;
    assert!(again.query("SELECT a FROM t", &[]).await.unwrap().is_empty());
    // Waits for the lock that the late transaction still holds, then finds its row.
    again.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap_err();
    assert!(began.elapsed() >= MOMENT && is_stored(&database, 1));
}

#[tokio::test]
async fn bytes_must_pass_up_to_the_limit_only() {
    let (database, proxy) = (database("bytes"), proxy());
    let client = connect(&proxy, &database).await;
    let armed = proxy.arm(Fault::cut_after_bytes(20_000));
    client.batch_execute(&format!("/*{}*/", "x".repeat(10_000))).await.unwrap();
    assert_eq!(armed.fired(), 0);
    let cut = format!("/*{}*/ INSERT INTO t VALUES (1)", "x".repeat(10_000));
    client.batch_execute(&cut).await.unwrap_err();
    assert_eq!(armed.fired(), 1);
    assert!(!is_stored(&database, 1));
}

#[tokio::test]
async fn a_delay_must_hold_only_what_matches_and_with_it_the_locks() {
    let (database, proxy) = (database("delay"), proxy());
    let mut client = connect(&proxy, &database).await;
    let armed = proxy.arm(Fault::delay(MOMENT).when(Message::is_commit).repeated());
    for (a, times) in [(1, 1), (2, 2)] {
        let began = Instant::now();
        let transaction = client.transaction().await.unwrap();
        transaction.execute("INSERT INTO t VALUES ($1)", &[&a]).await.unwrap();
        assert!(began.elapsed() < MOMENT, "only the commit waits");
        let (committed, ()) = tokio::join!(transaction.commit(), async {
            while armed.fired() < times {
                tokio::task::yield_now().await;
            }
            assert!(!is_stored(&database, a), "the commit has not reached the server");
        });
        committed.unwrap();
        assert!(began.elapsed() >= MOMENT);
    }
    assert_eq!(armed.fired(), 2);
    proxy.disarm();
    let began = Instant::now();
    insert(&mut client, 3).await.unwrap();
    assert!(began.elapsed() < MOMENT);
}

#[tokio::test]
async fn a_delayed_answer_must_come_after_the_effect() {
    let (database, proxy) = (database("answer"), proxy());
    let mut client = connect(&proxy, &database).await;
    proxy.arm(Fault::delay_answer(MOMENT).when(Message::is_commit));
    let began = Instant::now();
    let answered = Cell::new(false);
    let inserted = async {
        insert(&mut client, 1).await.unwrap();
        answered.set(true);
    };
    tokio::join!(inserted, async {
        while !is_stored(&database, 1) {
            tokio::task::yield_now().await;
        }
        assert!(!answered.get(), "the commit is done, only its answer waits");
    });
    assert!(began.elapsed() >= MOMENT);
}

#[tokio::test]
async fn a_cut_must_close_every_connection_and_let_new_ones_in() {
    let (database, proxy) = (database("cut"), proxy());
    let clients = [connect(&proxy, &database).await, connect(&proxy, &database).await];
    clients[0].batch_execute("BEGIN; INSERT INTO t VALUES (1)").await.unwrap();
    proxy.cut();
    assert_eq!(proxy.connections(), 0);
    for client in &clients {
        client.batch_execute("SELECT 1").await.unwrap_err();
    }
    connect(&proxy, &database).await.execute("INSERT INTO t VALUES (1)", &[]).await.unwrap();
}

#[tokio::test]
async fn refused_clients_must_fail_until_they_are_let_in_again() {
    let (database, proxy) = (database("refuse"), proxy());
    let open = connect(&proxy, &database).await;
    proxy.refuse(true);
    assert!(try_connect(&proxy, &database).await.is_err());
    open.batch_execute("SELECT 1").await.unwrap();
    proxy.refuse(false);
    connect(&proxy, &database).await;
}

#[tokio::test]
async fn a_frozen_connection_must_hang_and_then_go_on() {
    let (database, proxy) = (database("freeze"), proxy());
    let client = connect(&proxy, &database).await;
    proxy.freeze(true);
    let mut query = std::pin::pin!(client.execute("INSERT INTO t VALUES (1)", &[]));
    assert!(tokio::time::timeout(MOMENT, &mut query).await.is_err(), "no answer, and no error either");
    assert!(!is_stored(&database, 1));
    proxy.freeze(false);
    query.await.unwrap();
    assert!(is_stored(&database, 1));
}

#[tokio::test]
async fn a_server_that_is_gone_must_look_gone_through_the_proxy() {
    let mut postgres = Postgres::start();
    let (proxy, database) = (Proxy::start(postgres.address()), postgres.database("gone"));
    let client = connect(&proxy, &database).await;
    postgres.kill();
    client.batch_execute("SELECT 1").await.unwrap_err();
    assert!(try_connect(&proxy, &database).await.is_err());
    postgres.restart();
    connect(&proxy, &database).await.batch_execute("SELECT 1").await.unwrap();
}
