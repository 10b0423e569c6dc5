//! A synchronous standby: what was answered survives a failover, however long the standby was away before.

use crate::harness::{Bench, small};
use crate::history::{Answer, History};
use crate::outage::register;
use crate::world::Member;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_store::Store;
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;
use tokio::sync::mpsc;

/// How long the servers may be silent in these tests.
const SILENCE: Duration = Duration::from_secs(1);
/// Longer than a batch is tried whose COMMIT gets no answer.
const LONG: Duration = Duration::from_secs(12);
const CLIENTS: u64 = 6;

/// A primary, its synchronous standby, and a store on the primary.
struct Pair {
    primary: Postgres,
    standby: Postgres,
    database: tenancy_testkit::Database,
    bench: Arc<Bench>,
}

impl Pair {
    async fn new(hint: &str) -> Self {
        // The variable runs these tests with the limits of the product and with longer absences.
        if away().is_none() {
            Store::shorten_silence(SILENCE);
        }
        let primary = Postgres::start();
        let database = primary.database(hint);
        let url = Database::Postgres(database.url());
        url.migrate(false).await.unwrap();
        database.execute("CREATE ROLE serving LOGIN");
        url.grant("serving").await.unwrap();
        // The store is open before the standby is declared: the setting can change at any time.
        let bench = Arc::new(Bench::on(&Database::Postgres(database.url_as("serving"))).await);
        bench.organization("acme", json!({})).await;
        let standby = primary.standby();
        database.execute("ALTER SYSTEM SET synchronous_standby_names = '*'");
        database.execute("SELECT pg_reload_conf()");
        let pair = Self { primary, standby, database, bench };
        pair.until_the_standby_follows().await;
        pair
    }

    async fn until_the_standby_follows(&self) {
        let follows = "SELECT count(*) FROM pg_stat_replication WHERE sync_state IN ('sync', 'quorum')";
        while self.database.value(follows) != "1" {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        while !self.bench.store.health().await.unwrap().wrong.is_empty() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn registration(&self, id: &str) -> Member {
        let decision = self.bench.registration(&small(id, "acme"));
        Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) }
    }

    async fn until_a_commit_waits(&self) -> String {
        let waits = "SELECT coalesce(min(pid)::text, '') FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        loop {
            match self.database.value(waits) {
                pid if pid.is_empty() => tokio::time::sleep(Duration::from_millis(10)).await,
                pid => return pid,
            }
        }
    }

    /// The primary is lost, the standby takes over, and everything that was answered is there, in its place.
    async fn fails_over(mut self, history: History) {
        tokio::task::block_in_place(|| {
            self.primary.kill();
            if !self.standby.is_running() {
                self.standby.restart();
            }
            self.standby.promote();
        });
        let database = self.standby.same(&self.database);
        database.execute("ALTER SYSTEM RESET synchronous_standby_names");
        database.execute("SELECT pg_reload_conf()");
        let bench = Bench::on(&Database::Postgres(database.url())).await;
        let mut history = history.in_database(&database);
        let (decision, after) = (bench.registration(&small("after", "acme")), "after the failover");
        let member = Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) };
        let answer = bench.store.commit(member.changes.clone()).await;
        assert!(answer.is_ok(), "{after}: {answer:?}");
        history.told(member, answer);
        history.check(&bench.store).await;
        history.each_position_once();
    }
}

/// How long the standby is away.
fn away() -> Option<Duration> {
    Some(Duration::from_secs(std::env::var("TENANCY_STANDBY_AWAY_SECONDS").ok()?.parse().unwrap()))
}

/// Clients register while the standby goes away and while it is away, and then the primary is lost.
async fn must_keep_what_was_answered(hint: &str, goes: fn(&mut Postgres)) {
    let mut pair = Pair::new(hint).await;
    let mut history = History::of(&pair.database);
    let stop = Arc::new(AtomicBool::new(false));
    let (told, mut answers) = mpsc::unbounded_channel();
    for client in 0..CLIENTS {
        tokio::spawn(register(Arc::clone(&pair.bench), client, Arc::clone(&stop), told.clone()));
    }
    drop(told);
    let before = async {
        for _ in 0..50 {
            let (member, answer) = answers.recv().await.unwrap();
            assert!(answer.is_ok(), "{answer:?}");
            history.told(member, answer);
        }
    };
    before.await;
    tokio::task::block_in_place(|| goes(&mut pair.standby));
    tokio::time::sleep(away().unwrap_or(LONG)).await;
    let health = pair.bench.store.health().await.unwrap();
    assert!(health.wrong.iter().any(|wrong| wrong.contains("synchronous standby")), "{health:?}");
    stop.store(true, Ordering::SeqCst);
    if pair.standby.is_running() {
        tokio::task::block_in_place(|| pair.standby.kill_at_once());
    }
    let mut unknown = 0;
    while let Some((member, answer)) = answers.recv().await {
        let good = matches!(&answer, Ok(_) | Err(Error::Unavailable | Error::Busy | Error::OutcomeUnknown));
        assert!(good, "{answer:?}");
        unknown += usize::from(answer == Err(Error::OutcomeUnknown));
        history.told(member, answer);
    }
    assert!(unknown > 0, "nothing waited for the standby");
    pair.fails_over(history).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_keep_what_was_answered_while_the_standby_is_stopped() {
    must_keep_what_was_answered("stopped", Postgres::stop).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_keep_what_was_answered_while_the_standby_is_frozen() {
    must_keep_what_was_answered("frozen", Postgres::freeze).await;
}

/// Somebody cancels or ends a session that waits for the standby. PostgreSQL then answers COMMIT as if all was well, and
/// everybody sees the change.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_not_answer_a_commit_whose_wait_for_the_standby_was_cancelled() {
    for end in ["pg_cancel_backend", "pg_terminate_backend"] {
        let mut pair = Pair::new(end).await;
        let mut history = History::of(&pair.database);
        let member = pair.registration("t-1");
        tokio::task::block_in_place(|| pair.standby.stop());
        let ended = async {
            let pid = pair.until_a_commit_waits().await;
            pair.database.execute(&format!("SELECT {end}({pid})"));
            while pair.bench.store.snapshot(&crate::harness::tenant("t-1")).await.unwrap().is_none() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            // A repeated request reads its stored answer, which may be lost as well.
            assert_eq!(pair.bench.store.confirm().await, Err(Error::OutcomeUnknown));
        };
        let (answer, ()) = tokio::join!(pair.bench.store.commit(member.changes.clone()), ended);
        assert_eq!(answer, Err(Error::OutcomeUnknown), "{end}");
        history.told(member, answer);
        pair.fails_over(history).await;
    }
}

/// The standby is away for a shorter or longer time and comes back: writes are answered again, and nothing is there twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_go_on_when_the_standby_comes_back() {
    let mut pair = Pair::new("back").await;
    let mut history = History::of(&pair.database);
    let mut answered = Vec::<Answer>::new();
    for (number, away) in [SILENCE / 2, 3 * SILENCE, LONG].into_iter().enumerate() {
        let member = pair.registration(&format!("t-{number}"));
        tokio::task::block_in_place(|| pair.standby.stop());
        let bench = Arc::clone(&pair.bench);
        let back = async {
            tokio::time::sleep(away).await;
            tokio::task::block_in_place(|| pair.standby.restart());
        };
        let (answer, ()) = tokio::join!(bench.store.commit(member.changes.clone()), back);
        answered.push(answer.clone());
        history.told(member, answer);
        pair.until_the_standby_follows().await;
        assert_eq!(pair.bench.store.confirm().await, Ok(()));
        let member = pair.registration(&format!("after-{number}"));
        let answer = pair.bench.store.commit(member.changes.clone()).await;
        assert!(answer.is_ok(), "{answer:?}");
        history.told(member, answer);
    }
    assert!(matches!(&answered[..], [Ok(_), Ok(_), Err(Error::OutcomeUnknown)]), "{answered:?}");
    pair.fails_over(history).await;
}
