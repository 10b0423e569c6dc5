//! Several processes on one PostgreSQL: each is a store with separate connections.

use crate::harness::{Bench, full, small};
use crate::history::{History, whole};
use crate::rig::{together, wait_until_a_session_is_blocked};
use crate::world::{Member, World};
use serde_json::json;
use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::apikey::Role;
use tenancy_core::changes::{Conflict, Guard};
use tenancy_core::json::sha256_hex;
use tenancy_core::rules::{keys, outcome};
use tenancy_store::database::Database;
use tenancy_testkit::Chance;
use tenancy_testkit::Postgres;

pub async fn processes<const N: usize>(hint: &str) -> (tenancy_testkit::Database, [Bench; N]) {
    let database = Postgres::shared().database(hint);
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let benches = futures_util::future::join_all((0..N).map(|_| Bench::on(&url))).await;
    (database, benches.try_into().ok().unwrap())
}

/// Tenants, aliases and key names that both processes write, in opposite orders.
fn wanted(bench: &Bench, round: u32, against: bool) -> Vec<Member> {
    let mut members = Vec::new();
    for number in 0..12 {
        let id = format!("t-{round}-{number:02}");
        let decision = bench.registration(&full(&id, "acme"));
        members.push(Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) });
        let mut document = small(&format!("{id}-{}", u32::from(against)), "acme");
        document["aliases"] = json!({"wanted": format!("{round}-{number}")});
        let decision = bench.registration(&document);
        members.push(Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) });
        let digest = sha256_hex(&[id.as_bytes(), &[u8::from(against)]]);
        let key = keys::create(
            &format!("key {round} {number}"),
            keys::Rights::unlimited(Role::Viewer),
            None,
            digest,
            &mut bench.context(),
        );
        members.push(Member { changes: key.unwrap().changes.unwrap(), after: None });
    }
    if against {
        // The order of the keys' ids, and so of their writes, is opposite to the order of their names.
        members.reverse();
        let mut ids: Vec<_> = members.iter().filter(|m| m.changes.tenant_id.is_none()).map(key_id).collect();
        ids.sort();
        for (member, id) in members.iter_mut().filter(|m| m.changes.tenant_id.is_none()).zip(ids) {
            let tenancy_core::changes::Write::InsertApiKey(key) = &mut member.changes.writes[0] else { unreachable!() };
            key.key_id = tenancy_core::ids::KeyId::known(id);
        }
    }
    members
}

fn key_id(member: &Member) -> String {
    match &member.changes.writes[0] {
        tenancy_core::changes::Write::InsertApiKey(key) => key.key_id.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn must_let_exactly_one_of_two_rival_processes_win() {
    let (database, [one, two]) = processes("wanted").await;
    one.organization("acme", json!({})).await;
    let mut history = History::of(&database);
    for round in 0..6 {
        let (ours, theirs) = (wanted(&one, round, false), wanted(&two, round, true));
        let (our_answers, their_answers) = tokio::join!(together(&one.store, &ours), together(&two.store, &theirs));
        for (ours, theirs) in our_answers.iter().zip(their_answers.iter().rev()) {
            let won = usize::from(ours.is_ok()) + usize::from(theirs.is_ok());
            assert_eq!(won, 1, "round {round}: {ours:?} and {theirs:?}");
        }
        for lost in our_answers.iter().chain(&their_answers).filter_map(|answer| answer.as_ref().err()) {
            use Conflict::{AliasTaken, ApiKeyExists, Several, TenantExists};
            let taken = |conflict: &_| matches!(conflict, AliasTaken(_) | ApiKeyExists(_) | TenantExists(_));
            match lost {
                Error::Conflict(Several(conflicts)) => assert!(conflicts.iter().all(taken), "{lost:?}"),
                Error::Conflict(conflict) => assert!(taken(conflict), "{lost:?}"),
                _ => panic!("{lost:?}"),
            }
        }
        history.told_all(ours, our_answers);
        history.told_all(theirs, their_answers);
    }
    history.check(&one.store).await;
}

#[tokio::test]
async fn must_let_go_of_its_rows_when_it_waits_in_a_circle() {
    let (database, [bench]) = processes("victim").await;
    bench.organization("acme", json!({})).await;
    let mut members = Vec::new();
    for id in ["t-1", "t-2"] {
        let snapshot = bench.register(&small(id, "acme")).await.unwrap();
        let mut document = small(id, "acme");
        document["display_name"] = json!("changed");
        let decision = bench.change(&snapshot, &document, &[]).unwrap();
        members.push(Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) });
    }
    let mut other = database.connect().await;
    // This session never looks for a deadlock, and so it is the batch that lets go.
    other.batch_execute("SET deadlock_timeout = '1h'").await.unwrap();
    let transaction = other.transaction().await.unwrap();
    let lock = "SELECT 1 FROM tenants WHERE tenant_id = $1 FOR UPDATE";
    transaction.query(lock, &[&"t-2"]).await.unwrap();
    let cross = async {
        // The batch holds t-1 now and waits for t-2.
        wait_until_a_session_is_blocked(&database).await;
        transaction.query(lock, &[&"t-1"]).await.expect("the batch has let go of it");
        transaction.rollback().await.unwrap();
    };
    let (answers, ()) = tokio::join!(together(&bench.store, &members), cross);
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let mut history = History::of(&database);
    history.told_all(members, answers);
    history.check(&bench.store).await;
}

/// Another process holds the log's head for its revocation while this process writes its changes, which wait for it.
async fn revoked_meanwhile(hint: &str, in_its_name: &[bool]) {
    let (database, [bench]) = processes(hint).await;
    bench.organization("acme", json!({})).await;
    let made = keys::create(
        "gateway",
        keys::Rights::unlimited(Role::Operator),
        None,
        sha256_hex(&[b"gateway"]),
        &mut bench.context(),
    )
    .unwrap();
    bench.commit(made.changes).await.unwrap();
    let mut members = Vec::new();
    for (number, in_its_name) in in_its_name.iter().enumerate() {
        let decision = bench.registration(&small(&format!("t-{number}"), "acme"));
        let mut changes = decision.changes.unwrap();
        if *in_its_name {
            changes.guard(Guard::CallerAt(made.key.key_id.clone(), made.key.version));
        }
        members.push(Member { changes, after: Some(decision.snapshot) });
    }
    let mut other = database.connect().await;
    let transaction = other.transaction().await.unwrap();
    transaction.batch_execute("SELECT 1 FROM log_head FOR NO KEY UPDATE").await.unwrap();
    let revoked = async {
        wait_until_a_session_is_blocked(&database).await;
        let revoke = "UPDATE api_keys SET version = version + 1, revoked_at = created_at WHERE key_id = $1";
        transaction.execute(revoke, &[&made.key.key_id.as_str()]).await.unwrap();
        transaction.commit().await.unwrap();
    };
    let (answers, ()) = tokio::join!(together(&bench.store, &members), revoked);
    let refused = Error::Conflict(Conflict::ApiKeyMoved(made.key.key_id.clone()));
    for (answer, in_its_name) in answers.iter().zip(in_its_name) {
        assert_eq!(answer.as_ref().err(), in_its_name.then_some(&refused), "{answers:?}");
    }
    // They ran again together, and not one by one.
    let batches = "SELECT count(DISTINCT xmin::text) FROM tenant_audit";
    assert_eq!(database.value(batches), if in_its_name.contains(&false) { "1" } else { "0" });
    let said = format!("api_keys: {} is not at version {}", made.key.key_id, made.key.version);
    let log = Postgres::shared().log();
    assert!(log.contains(&said) && !log.contains("duplicate key"), "{log}");
    whole(&database);
}

#[tokio::test]
async fn must_log_nothing_behind_the_revocation_of_its_callers_key_by_another_process() {
    revoked_meanwhile("revoked", &[false, true, true, false]).await;
    revoked_meanwhile("revoked-alone", &[true]).await;
}

/// A database may make every transaction serializable by default; ours set their isolation level.
#[tokio::test]
async fn must_keep_to_its_own_isolation() {
    let (database, [owner]) = processes("isolation").await;
    owner.organization("acme", json!({})).await;
    let name = database.name();
    database.execute(&format!("ALTER DATABASE {name} SET default_transaction_isolation TO 'serializable'"));
    let url = Database::Postgres(database.url());
    let mut history = History::of(&database);
    let benches = [Bench::on(&url).await, Bench::on(&url).await, Bench::on(&url).await];
    for round in 0..5 {
        let asked = benches.each_ref().map(async |bench| {
            let members: Vec<_> = (0..10)
                .map(|number| bench.registration(&small(&format!("t-{round}-{number}"), "acme")))
                .map(|decision| Member { changes: decision.changes.unwrap(), after: Some(decision.snapshot) })
                .collect();
            let answers = together(&bench.store, &members).await;
            (members, answers)
        });
        for (members, answers) in futures_util::future::join_all(asked).await {
            history.told_all(members, answers);
        }
    }
    let odd = history.count(|answer| !matches!(answer, Ok(_) | Err(Error::Conflict(_))));
    assert_eq!((odd, history.count(Result::is_ok)), (0, 50));
    // Other tests of this process may share the server, but none of them uses serializable transactions.
    assert!(!Postgres::shared().log().contains("could not serialize"), "{}", Postgres::shared().log());
    history.check(&benches[0].store).await;
}

/// Changes data and runs jobs for twelve rounds, and records everything in the history.
async fn work(
    bench: Arc<Bench>,
    worker: usize,
    mut chance: Chance,
    history: Arc<Mutex<History>>,
    claims: Arc<Mutex<HashSet<(String, i64)>>>,
) {
    for _ in 0..12 {
        let mut members = World::read(&bench).await.members(&bench, &mut chance, 4);
        if chance.one_in(2) {
            let jobs = bench.store.claim(&format!("worker {worker}"), 2, Duration::from_secs(30)).await.unwrap();
            for job in jobs {
                let new = claims.lock().unwrap().insert((job.job_id.to_string(), job.lease_epoch));
                assert!(new, "claimed twice: {job:?}");
                let snapshot = bench.snapshot(job.tenant_id.as_str()).await;
                // The job may have changed since; then there is nothing to commit.
                let Ok(done) = outcome::complete(&bench.declared, &snapshot, &job, &mut bench.context()) else {
                    continue;
                };
                members.push(Member { changes: done.changes.unwrap(), after: Some(done.snapshot) });
            }
        }
        let answers = together(&bench.store, &members).await;
        history.lock().unwrap().told_all(members, answers);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_lose_no_update_between_three_processes() {
    let (database, benches) = processes::<3>("three").await;
    let history = Arc::new(Mutex::new(History::of(&database)));
    let claims = Arc::default();
    let mut chance = Chance::new(7_000);
    let mut workers = Vec::new();
    for (number, bench) in benches.into_iter().enumerate() {
        let bench = Arc::new(bench);
        for worker in 0..3 {
            let (worker, chance) = (number * 10 + worker, chance.fork());
            workers.push(tokio::spawn(work(
                Arc::clone(&bench),
                worker,
                chance,
                Arc::clone(&history),
                Arc::clone(&claims),
            )));
        }
    }
    for worker in workers {
        worker.await.unwrap();
    }
    let bench = Bench::on(&Database::Postgres(database.url())).await;
    let history = Arc::into_inner(history).unwrap().into_inner().unwrap();
    let mut codes = BTreeMap::<_, u32>::new();
    history.each(|answer| *codes.entry(answer.as_ref().map_or_else(Error::code, |_| "in")).or_default() += 1);
    println!("{codes:?}");
    let odd = history.count(|answer| !matches!(answer, Ok(_) | Err(Error::Conflict(_))));
    assert_eq!(odd, 0, "{codes:?}");
    // Without any conflict the test proves nothing.
    let stale = codes.get("stale_version").copied().unwrap_or_default();
    assert!(codes["in"] > 60 && stale > 30, "{codes:?}");
    history.check(&bench.store).await;
}

/// The `number`-th tenant of a process. Tenants take 10, 15 and 20 GiB in turn.
fn taking(process: usize, number: usize) -> (serde_json::Value, usize) {
    let storage = 10 + number % 3 * 5;
    let mut document = small(&format!("t-{process}-{number}"), "acme");
    document["quotas"] = json!({"storageGiB": storage});
    (document, storage)
}

/// Three processes register 40 tenants each in an organization with these caps. Returns the final usage.
async fn filled(hint: &str, most_tenants: usize, most_storage: usize) -> (usize, usize) {
    let (database, benches) = processes::<3>(hint).await;
    let caps = json!({"tenants": most_tenants, "quotas": {"storageGiB": most_storage}});
    benches[0].organization("acme", caps).await;
    let asked = benches.iter().enumerate().map(|(process, bench)| {
        let registration = move |number| async move {
            let (document, storage) = taking(process, number);
            (storage, bench.store.commit(bench.registration(&document).changes.unwrap()).await)
        };
        futures_util::future::join_all((0..40).map(registration))
    });
    let answers: Vec<_> = futures_util::future::join_all(asked).await.into_iter().flatten().collect();
    let usage = "SELECT tenants, quotas::jsonb->>'storageGiB' FROM organization_usage ORDER BY serial DESC LIMIT 1";
    let usage = database.rows(usage).remove(0).into_iter().map(|n| n.unwrap().parse().unwrap()).collect::<Vec<usize>>();
    let (tenants, storage) = (usage[0], usage[1]);
    assert!(tenants <= most_tenants && storage <= most_storage, "{usage:?}");
    assert_eq!(answers.iter().filter(|(_, answer)| answer.is_ok()).count(), tenants);
    for (asked, answer) in answers.iter().filter(|(_, answer)| answer.is_err()) {
        assert!(matches!(answer, Err(Error::Conflict(Conflict::CapsExceeded { .. }))), "{answer:?}");
        // No tenant is refused that would fit below the cap.
        assert!(tenants == most_tenants || storage + asked > most_storage, "{asked} more than {usage:?}");
    }
    whole(&database);
    (tenants, storage)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_keep_caps_exact_between_three_processes() {
    let (tenants, _) = filled("caps-storage", 120, 700).await;
    assert!(tenants < 120, "the cap on storage was reached first");
    assert_eq!(filled("caps-number", 30, 10_000).await.0, 30);
}

#[tokio::test]
async fn must_not_wait_for_a_process_that_removes_the_same() {
    let (database, [bench]) = processes("expired").await;
    bench.organization("acme", json!({})).await;
    for number in 0..4 {
        bench.register(&small(&format!("t-{number}"), "acme")).await.unwrap();
    }
    database.execute(
        "INSERT INTO idempotency_records SELECT 'digest ' || n, '', 201, '{}', '', '2020-01-01Z', '2020-01-02Z' \
         FROM generate_series(1, 5) n",
    );
    let mut other = database.connect().await;
    let transaction = other.transaction().await.unwrap();
    let removing = "DELETE FROM idempotency_records WHERE digest = 'digest 2'; \
        DELETE FROM organization_usage WHERE serial = 2";
    transaction.batch_execute(removing).await.unwrap();
    // Three usage rows are outdated, and the other session is removing one of them.
    assert_eq!(bench.store.remove_expired().await, Ok(4 + 2));
    transaction.rollback().await.unwrap();
    assert_eq!(bench.store.remove_expired().await, Ok(1 + 1));
    let left = "SELECT (SELECT count(*) FROM idempotency_records), (SELECT string_agg(serial::text, ' ') \
        FROM organization_usage)";
    assert_eq!(database.rows(left), [[Some("0".to_owned()), Some("4".to_owned())]]);
}
