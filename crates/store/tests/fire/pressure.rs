//! A slow database, and more commits than it can process.

use crate::harness::{Bench, small, tenant};
use crate::history::whole;
use crate::rig::{Rig, together};
use crate::world::Member;
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use serde_json::json;
use std::time::{Duration, Instant};
use tenancy_core::Error;
use tenancy_core::rules::organizations::{self, OrganizationManifest};
use tenancy_core::rules::outcome;
use tenancy_store::database::Database;
use tenancy_store::upkeep::Progress;
use tenancy_testkit::{Fault, Message, Postgres, Proxy};

/// Duration of a commit.
const SLOW: Duration = Duration::from_secs(2);
/// Shorter than the queued commits take.
const LEASE: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_keep_leases_while_every_commit_takes_two_seconds() {
    let rig = Rig::new("heartbeat").await;
    rig.beside.organization("acme", json!({})).await;
    for number in 0..20 {
        rig.beside.register(&small(&format!("t-{number:02}"), "acme")).await.unwrap();
    }
    rig.proxy.arm(Fault::delay(SLOW).when(Message::is_commit).repeated());
    let mut jobs = Vec::new();
    // The clocks of the two stores differ slightly: a job may become due a little later for this one.
    while jobs.len() < 20 {
        jobs.extend(rig.bench.store.claim("us", 20, 10 * LEASE).await.unwrap());
    }
    jobs.sort_by(|a, b| a.tenant_id.cmp(&b.tenant_id));
    // The queue is full of registrations and of the outcomes of some jobs, whose rows are locked meanwhile.
    let mut commits = Vec::new();
    for number in 0..600 {
        let changes = rig.bench.registration(&small(&format!("new-{number:03}"), "acme")).changes.unwrap();
        let store = rig.bench.store.clone();
        commits.push(tokio::spawn(async move { store.commit(changes).await }));
        if number % 100 == 0 {
            let job = &jobs[number / 100];
            let snapshot = rig.beside.snapshot(job.tenant_id.as_str()).await;
            let done = outcome::complete(&rig.bench.declared, &snapshot, job, &mut rig.bench.context()).unwrap();
            let store = rig.bench.store.clone();
            commits.push(tokio::spawn(async move { store.commit(done.changes.unwrap()).await }));
        }
    }
    let working: Vec<_> = jobs.iter().map(|job| (job.job_id.clone(), job.lease_epoch)).collect();
    let began = Instant::now();
    while began.elapsed() < LEASE + SLOW {
        // Other upkeep waits for the lock of a job that is being finished; heartbeats do not wait behind it.
        let (store, locked) = (rig.bench.store.clone(), working[0].clone());
        let progress = Progress { progress: 0.5, steps: Vec::new(), log: String::new() };
        drop(tokio::spawn(async move { store.progress(&locked, progress).await }));
        let beat = Instant::now();
        let held = rig.bench.store.heartbeat(&working, LEASE, LEASE).await.unwrap();
        for lease in &working[6..] {
            assert!(held.contains(lease), "a lease is lost after {:?}", began.elapsed());
        }
        assert!(beat.elapsed() < LEASE / 2, "a heartbeat took {:?}", beat.elapsed());
        let others = rig.beside.store.claim("others", 100, LEASE).await.unwrap();
        assert!(!others.iter().any(|job| working.contains(&(job.job_id.clone(), job.lease_epoch - 1))), "taken over");
        // Commits are slow in real time, so the leases must run in real time as well.
        tokio::time::sleep(LEASE / 12).await;
    }
    rig.disarm();
    for commit in commits {
        commit.await.unwrap().unwrap();
    }
    for job in &jobs[..6] {
        let ended = rig.beside.store.job(&job.tenant_id, &job.job_id).await.unwrap().unwrap();
        assert!(!ended.is_open(), "{ended:?}");
    }
}

#[tokio::test]
async fn must_refuse_what_is_beyond_a_full_queue_at_once() {
    let bench = Bench::postgres().await;
    let new = |number: usize| {
        let document = json!({"organization_id": format!("org-{number}")});
        let manifest = OrganizationManifest::parse(&bench.declared, &document).unwrap().0;
        organizations::create(&manifest, &mut bench.context()).unwrap().changes.unwrap()
    };
    let held = bench.store.hold_commits().await;
    // The committer may already have taken one from the queue.
    let mut asked = Box::pin(join_all((0..4096).map(|number| bench.store.commit(new(number)))));
    assert!((&mut asked).now_or_never().is_none());
    let mut beyond = Box::pin(join_all((5000..5002).map(|number| bench.store.commit(new(number)))));
    let refused = match (&mut beyond).now_or_never() {
        Some(answers) => answers,
        None => {
            drop(held);
            beyond.await
        }
    };
    assert_eq!(refused.last(), Some(&Err(Error::Busy)), "{refused:?}");
    assert!(asked.await.iter().all(Result::is_ok));
    assert_eq!(bench.store.waiting(), 0);
    bench.store.commit(new(5001)).await.unwrap();
}

#[tokio::test]
async fn must_finish_what_a_caller_left_behind() {
    let bench = Bench::postgres().await;
    bench.organization("acme", json!({})).await;
    let decision = bench.registration(&small("left", "acme"));
    let left = bench.store.commit(decision.changes.unwrap()).now_or_never();
    assert_eq!(left, None, "the caller is gone");
    let after = bench.registration(&small("after", "acme"));
    let after = Member { changes: after.changes.unwrap(), after: None };
    together(&bench.store, &[after]).await.remove(0).unwrap();
    assert!(bench.store.snapshot(&tenant("left")).await.unwrap().is_some());
}

#[tokio::test]
async fn must_commit_what_waits_before_it_closes_and_nothing_after() {
    for bench in [Bench::postgres().await, Bench::sqlite().await] {
        bench.organization("acme", json!({})).await;
        let members: Vec<_> = (0..300)
            .map(|number| bench.registration(&small(&format!("t-{number}"), "acme")).changes.unwrap())
            .collect();
        let mut asked = Box::pin(join_all(members.into_iter().map(|changes| bench.store.commit(changes))));
        assert!((&mut asked).now_or_never().is_none());
        let (answers, ()) = tokio::join!(asked, bench.store.close());
        assert!(answers.iter().all(Result::is_ok), "{}", bench.name);
        let late = bench.registration(&small("late", "acme")).changes.unwrap();
        assert_eq!(bench.store.commit(late).await, Err(Error::Unavailable));
    }
}

/// Three processes, one organization, and a database on which two commits take longer than the lock timeout.
#[tokio::test]
async fn must_share_a_slow_database_between_processes() {
    let postgres = Postgres::shared();
    let database = postgres.database("slow");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let beside = Bench::on(&url).await;
    beside.organization("acme", json!({})).await;
    let proxies: Vec<_> = (0..3).map(|_| Proxy::start(postgres.address())).collect();
    let benches = join_all(proxies.iter().map(async |proxy| {
        let bench = Bench::on(&Database::Postgres(proxy.url(&database))).await;
        proxy.arm(Fault::delay(Duration::from_millis(2200)).when(Message::is_commit).repeated());
        bench
    }))
    .await;
    let began = Instant::now();
    let asked = benches.iter().enumerate().map(async |(process, bench)| {
        let new = |number| bench.registration(&small(&format!("t-{process}-{number:03}"), "acme")).changes.unwrap();
        let members: Vec<_> = (0..60).map(|n| Member { changes: new(n), after: None }).collect();
        together(&bench.store, &members).await
    });
    let answers: Vec<_> = join_all(asked).await.into_iter().flatten().collect();
    let good = answers.iter().filter(|answer| answer.is_ok()).count();
    println!("{good} of {} in {:?}", answers.len(), began.elapsed());
    let refused = answers.iter().find(|answer| answer.is_err());
    assert_eq!(good, answers.len(), "one of them: {refused:?}");
    whole(&database);
}
