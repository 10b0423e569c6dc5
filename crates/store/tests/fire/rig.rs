//! A store behind the faulty proxy, a second store that observes, and detection of the committer's connections.

use crate::harness::Bench;
use crate::history::{Answer, History};
use crate::world::Member;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};
use tenancy_store::Store;
use tenancy_store::database::Database;
use tenancy_testkit::{Armed, Fault, Message, PgBouncer, Postgres, Proxy, Settings};

pub struct Rig {
    pub proxy: Proxy,
    /// Store that commits through the proxy.
    pub bench: Bench,
    /// Store that observes without the proxy.
    pub beside: Bench,
    pub history: History,
    database: tenancy_testkit::Database,
    committers: Committers,
}

/// Which connections belong to a committer, by their first message.
#[derive(Clone, Default)]
struct Committers(Arc<Mutex<HashMap<u64, bool>>>);

impl Committers {
    fn sent(&self, message: &Message) -> bool {
        let others = ["pg_notify", "LISTEN", "clock_timestamp"];
        let mut known = self.0.lock().unwrap();
        *known.entry(message.connection).or_insert_with(|| !others.iter().any(|word| message.sql_contains(word)))
    }
}

impl Rig {
    /// Starts a rig on a server whose commits do not wait for the disk; these tests do not crash the machine.
    pub async fn new(hint: &str) -> Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        Self::before(SHARED.get_or_init(|| Postgres::start_with(Settings::default().fsync_off())), hint).await
    }

    /// Starts a rig on a server.
    pub async fn before(postgres: &Postgres, hint: &str) -> Self {
        let proxy = Proxy::start(postgres.address());
        let database = postgres.database(hint);
        let url = proxy.url(&database);
        Self::with(proxy, database, url).await
    }

    /// Starts a rig whose store is behind a pooler, which is behind the proxy.
    pub async fn pooled(hint: &str) -> (PgBouncer, Self) {
        let postgres = Postgres::shared();
        let proxy = Proxy::start(postgres.address());
        let pooler = PgBouncer::start_in_front_of(proxy.address());
        let database = postgres.database(hint);
        let url = format!("{}?pooler=transaction", pooler.url(&database));
        (pooler, Self::with(proxy, database, url).await)
    }

    async fn with(proxy: Proxy, database: tenancy_testkit::Database, url: String) -> Self {
        let direct = Database::Postgres(database.url());
        direct.migrate(false).await.unwrap();
        let committers = Committers::default();
        let bench = Bench::on(&Database::Postgres(url)).await;
        let beside = Bench::on(&direct).await;
        let history = History::of(&database);
        let rig = Self { proxy, bench, beside, history, database, committers };
        rig.disarm();
        rig
    }

    /// Injects a fault at the n-th message of a committer's batches from now on. Messages that prepare statements are
    /// not counted.
    pub fn arm(&self, fault: Fault, nth: u64) -> Armed {
        let committers = self.committers.clone();
        let last = Mutex::new(HashMap::new());
        let in_a_batch = move |message: &Message| {
            // A Sync belongs to the message before it.
            let last = last.lock().unwrap().insert(message.connection, message.kind);
            let prepares = matches!((last, message.kind), (_, 'P' | 'D') | (Some('D'), 'S'));
            committers.sent(message) && !prepares
        };
        self.proxy.arm(fault.when(in_a_batch).nth(nth))
    }

    /// Injects a fault at the next COMMIT of a committer.
    pub fn arm_commit(&self, fault: Fault) -> Armed {
        let committers = self.committers.clone();
        self.proxy.arm(fault.when(move |message| committers.sent(message) && message.is_commit()))
    }

    /// From now on every COMMIT takes this long in the server.
    pub fn slow_commits(&self, by: Duration) {
        self.database.execute(&format!(
            "CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep({}); RETURN NULL; END $$; \
             CREATE CONSTRAINT TRIGGER linger AFTER INSERT ON log_batches DEFERRABLE INITIALLY DEFERRED \
             FOR EACH ROW EXECUTE FUNCTION linger()",
            by.as_secs_f64()
        ));
    }

    /// Times of the next COMMIT of a committer, of its next BEGIN, and of the COMMIT of that transaction.
    pub fn commit_begin_commit(&self) -> Arc<Mutex<Vec<Instant>>> {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (times, committers) = (Arc::clone(&seen), self.committers.clone());
        let look = move |message: &Message| {
            let mut times = times.lock().unwrap();
            let begins = message.executes() && message.sql_contains("BEGIN ISOLATION");
            let awaited = [message.is_commit(), begins, message.is_commit()].get(times.len()).copied();
            if committers.sent(message) && awaited == Some(true) {
                times.push(Instant::now());
            }
            false
        };
        self.proxy.arm(Fault::delay(Duration::ZERO).when(look).repeated());
        seen
    }

    /// Removes all faults.
    pub fn disarm(&self) {
        self.proxy.disarm();
        let committers = self.committers.clone();
        let look = move |message: &Message| {
            committers.sent(message);
            false
        };
        self.proxy.arm(Fault::delay(Duration::ZERO).when(look).repeated());
    }

    /// Commits all members at once and records the answers. On a single-threaded runtime all are in the queue before
    /// the committer runs: they form one batch.
    pub async fn commit(&mut self, members: Vec<Member>) -> Vec<Answer> {
        let answers = together(&self.bench.store, &members).await;
        self.history.told_all(members, answers.clone());
        answers
    }

    /// Same, while the observing store commits other members.
    pub async fn commit_beside(&mut self, members: Vec<Member>, others: Vec<Member>) -> (Vec<Answer>, Vec<Answer>) {
        let (answers, to_others) =
            tokio::join!(together(&self.bench.store, &members), together(&self.beside.store, &others));
        self.history.told_all(members, answers.clone());
        self.history.told_all(others, to_others.clone());
        (answers, to_others)
    }

    /// Returns the single value that a query finds.
    pub fn value(&self, sql: &str) -> String {
        self.database.value(sql)
    }

    pub async fn check(&self) {
        self.history.check(&self.beside.store).await;
    }
}

/// Commits all members at once, as one batch.
pub async fn together(store: &Store, members: &[Member]) -> Vec<Answer> {
    store.commit_together(members.iter().map(|member| member.changes.clone()).collect()).await
}

/// Waits until a session waits for a lock.
pub async fn wait_until_a_session_is_blocked(database: &tenancy_testkit::Database) {
    let watch = database.connect().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()";
    while watch.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
}
