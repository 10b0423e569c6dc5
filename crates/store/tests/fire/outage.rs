//! A database that stops under load: callers get correct answers, and work continues when it is back.

use crate::harness::{Bench, small, tenant};
use crate::history::{Answer, History};
use crate::rig::Rig;
use crate::world::Member;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_store::DatabaseHealth;
use tenancy_store::database::Database;
use tenancy_testkit::{Fault, Message, Postgres};
use tokio::sync::mpsc;

const CLIENTS: u64 = 12;

/// The network fails silently: TCP accepts data, and no answer comes back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_answer_when_the_network_says_nothing() {
    let mut rig = Rig::new("silent").await;
    rig.beside.organization("acme", json!({})).await;
    rig.beside.register(&small("there", "acme")).await.unwrap();
    rig.bench.snapshot("there").await;
    rig.proxy.freeze(true);
    let decision = rig.bench.registration(&small("asked", "acme"));
    let member = Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) };
    let within = tokio::time::timeout(std::time::Duration::from_secs(120), async {
        let there = tenant("there");
        let (committed, claimed, read) = tokio::join!(
            rig.bench.store.commit(member.changes.clone()),
            rig.bench.store.claim("us", 1, std::time::Duration::ZERO),
            rig.bench.store.snapshot(&there),
        );
        assert_eq!(claimed, Err(Error::Unavailable));
        assert_eq!(read, Err(Error::Unavailable));
        committed
    });
    let answer = within.await.expect("an answer");
    assert!(matches!(answer, Err(Error::Unavailable | Error::OutcomeUnknown)), "{answer:?}");
    rig.history.told(member, answer);
    rig.proxy.freeze(false);
    let decision = rig.bench.registration(&small("after", "acme"));
    let member = Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) };
    let answer = rig.bench.store.commit(member.changes.clone()).await;
    assert!(answer.is_ok(), "{answer:?}");
    rig.bench.snapshot("after").await;
    rig.history.told(member, answer);
    rig.check().await;
    assert!(!rig.bench.claim().await.is_empty());
}

#[tokio::test]
async fn must_read_by_key_through_any_cut() {
    let rig = Rig::new("reads").await;
    rig.beside.organization("acme", json!({})).await;
    let registered = rig.beside.register(&small("there", "acme")).await.unwrap();
    for fault in [Fault::cut_before, Fault::cut_after] {
        for nth in 1.. {
            let armed = rig.proxy.arm(fault().nth(nth));
            assert_eq!(rig.bench.snapshot("there").await, registered, "message {nth}");
            if armed.fired() == 0 {
                // Bind, execute and sync of the one statement.
                assert_eq!(nth, 4);
                rig.disarm();
                break;
            }
        }
    }
}

/// Start-up options do not reach the server behind a pooler, so each transaction sets the limits and planner settings.
#[tokio::test]
async fn must_read_by_key_within_its_limits_behind_a_pooler() {
    let (_pooler, rig) = Rig::pooled("limits").await;
    rig.beside.organization("acme", json!({})).await;
    let registered = rig.beside.register(&small("there", "acme")).await.unwrap();
    let limited = |message: &Message| {
        ["READ ONLY", "statement_timeout", "lock_timeout", "enable_seqscan"]
            .iter()
            .all(|word| message.sql_contains(word))
    };
    let armed = rig.proxy.arm(Fault::delay(Duration::ZERO).when(limited));
    assert_eq!(rig.bench.snapshot("there").await, registered);
    assert_eq!(armed.fired(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_list_within_its_limits_behind_a_pooler() {
    let (_pooler, rig) = Rig::pooled("list-limits").await;
    rig.disarm();
    let limited = |message: &Message| {
        !message.sql_contains("READ ONLY")
            && ["BEGIN", "statement_timeout", "lock_timeout"].iter().all(|word| message.sql_contains(word))
    };
    let armed = rig.proxy.arm(Fault::delay(Duration::ZERO).when(limited).repeated());
    // Many reads on few connections: none runs in the transaction of another.
    let asked = futures_util::future::join_all((0..30).map(|_| rig.bench.store.health())).await;
    assert!(asked.iter().all(|answer| answer == &Ok(DatabaseHealth::default())), "{asked:?}");
    assert!(armed.fired() >= 30, "{}", armed.fired());
}

/// An administrator sets this to stop writes; some services set it when a disk is nearly full.
#[tokio::test]
async fn must_not_write_to_a_database_that_is_set_to_read_only() {
    let database = Postgres::shared().database("brake");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let brake = |set: &str| format!("ALTER DATABASE {} {set}", database.name());
    Bench::on(&url).await.organization("acme", json!({})).await;
    database.execute(&brake("SET default_transaction_read_only = on"));
    let bench = Bench::on(&url).await;
    let registration = bench.registration(&small("t-1", "acme")).changes.unwrap();
    assert_eq!(bench.store.commit(registration.clone()).await, Err(Error::Unavailable));
    let released = brake("RESET default_transaction_read_only");
    database.execute(&format!("BEGIN READ WRITE; {released}; COMMIT"));
    assert!(bench.store.commit(registration).await.is_ok());
}

/// Another program holds the lock on the file for longer than the busy timeout.
#[tokio::test]
async fn must_refuse_a_batch_at_once_when_the_file_is_locked() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenancy.db");
    let url = Database::Sqlite(path.clone());
    url.migrate(false).await.unwrap();
    let bench = Bench::on(&url).await;
    bench.organization("acme", json!({})).await;
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let registration = |number| bench.registration(&small(&format!("t-{number}"), "acme")).changes.unwrap();
    let began = std::time::Instant::now();
    let answers = futures_util::future::join_all((0..20).map(|number| bench.store.commit(registration(number)))).await;
    assert!(answers.iter().all(|answer| *answer == Err(Error::Unavailable)), "{answers:?}");
    // Usually twice 5 s, for the batch that is tried and for the batch that arrived meanwhile; not 5 s for each member.
    assert!(began.elapsed() < std::time::Duration::from_secs(60), "{:?}", began.elapsed());
    assert_eq!(bench.store.health().await.unwrap().warnings.len(), 1);
    other.execute_batch("ROLLBACK").unwrap();
    let again = bench.store.commit_together((0..20).map(registration).collect()).await;
    assert!(again.iter().all(Result::is_ok), "{again:?}");
    assert_eq!(bench.store.health().await, Ok(DatabaseHealth::default()));
}

/// Registers tenants one after the other until it is told to stop.
pub async fn register(
    bench: Arc<Bench>,
    client: u64,
    stop: Arc<AtomicBool>,
    told: mpsc::UnboundedSender<(Member, Answer)>,
) {
    let number = AtomicU64::new(0);
    while !stop.load(Ordering::SeqCst) {
        let id = format!("c{client}-{}", number.fetch_add(1, Ordering::Relaxed));
        let decision = bench.registration(&small(&id, "acme"));
        let member = Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) };
        let answer = bench.store.commit(member.changes.clone()).await;
        told.send((member, answer)).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_say_unavailable_while_the_database_is_away_and_go_on_when_it_is_back() {
    let mut postgres = Postgres::start();
    let database = postgres.database("outage");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let bench = Arc::new(Bench::on(&url).await);
    bench.organization("acme", json!({})).await;
    let mut history = History::of(&database);
    for kill in [true, false] {
        let stop = Arc::new(AtomicBool::new(false));
        let (told, mut answers) = mpsc::unbounded_channel();
        for client in 0..CLIENTS {
            let client = client + CLIENTS * u64::from(kill);
            tokio::spawn(register(Arc::clone(&bench), client, Arc::clone(&stop), told.clone()));
        }
        drop(told);
        let mut until = async |so: &dyn Fn(&Answer) -> bool| {
            while let Some((member, answer)) = answers.recv().await {
                let found = so(&answer);
                history.told(member, answer);
                if found {
                    return;
                }
            }
        };
        until(&|answer| answer.is_ok()).await;
        tokio::task::block_in_place(|| if kill { postgres.kill() } else { postgres.stop() });
        until(&|answer| matches!(answer, Err(Error::Unavailable | Error::OutcomeUnknown))).await;
        until(&|answer| matches!(answer, Err(Error::Unavailable))).await;
        tokio::task::block_in_place(|| postgres.restart());
        until(&|answer| answer.is_ok()).await;
        stop.store(true, Ordering::SeqCst);
        until(&|_| false).await;
    }
    let other = history.count(|answer| !matches!(answer, Ok(_) | Err(Error::Unavailable | Error::OutcomeUnknown)));
    assert_eq!(other, 0, "no other answers");
    history.check(&bench.store).await;
}
