//! Several processes on one PostgreSQL.

use super::agree;
use super::load::{End, Worker, prepare};
use super::place::{Place, cluster};
use super::server::{PATIENCE, Server, until};
use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};
use tenancy_testkit::Chance;
use tenancy_testkit::{Database, Fault, Proxy};

/// Workers per process.
const WORKERS: usize = 3;

/// Application name of the process that will be killed.
const DIES: &str = "dies";

/// Maximum time until other processes continue the jobs of a crashed one.
const TAKEN_OVER: Duration = Duration::from_secs(15);

#[test]
fn must_share_one_database_between_three_processes() {
    let chance = Chance::new(2_026);
    let postgres = cluster();
    let database = postgres.database("shared");
    let place = Place::on(&database);
    // Connection of the process that will be killed.
    let proxy = Proxy::start(postgres.address());
    let way = format!("{}?application_name={DIES}", proxy.url(&database));
    let (dies, stops, stays) = (place.through(way), place.serve(), place.serve());
    let dies_at = dies.serve();
    prepare(&mut stays.client());
    let mut workers: Vec<_> = (0..3 * WORKERS as u64).map(|number| Worker::new(number, &chance)).collect();
    let (first, rest) = workers.split_at_mut(WORKERS);
    let (second, third) = rest.split_at_mut(WORKERS);

    let end_of_all = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for worker in first.iter_mut() {
            let (mut client, mut elsewhere) = (dies_at.client(), stays.client());
            let end_of_all = &end_of_all;
            scope.spawn(move || {
                worker.work(&mut client, end_of_all);
                worker.work(&mut elsewhere, end_of_all);
            });
        }
        for worker in second.iter_mut() {
            let mut client = stops.client();
            scope.spawn(move || worker.work(&mut client, &AtomicBool::new(false)));
        }
        for worker in third.iter_mut() {
            let (mut client, end_of_all) = (stays.client(), &end_of_all);
            scope.spawn(move || worker.work(&mut client, end_of_all));
        }
        let end = End(&end_of_all);
        until("all three work jobs", PATIENCE, || (holders(&database).len() == 3).then_some(()));
        take_over_what_was_killed(&database, &proxy, &dies_at);
        // The load continues.
        let pid = stops.pid();
        stops.stop();
        let held = held_by(pid);
        assert_eq!(database.value(&format!("SELECT count(*) {held}")), "0", "a lease was not released");
        drop(end);
    });
    drop(dies_at);

    let mut client = stays.client();
    for worker in second.iter_mut() {
        let answered = worker.replayed;
        worker.settle(&mut client);
        assert_eq!(worker.replayed, answered, "a stopped process executed a request without a response");
    }
    for worker in &mut workers {
        worker.settle(&mut client);
        assert!(worker.failures.is_empty(), "{:?}", worker.failures);
    }
    in_each_others_way(&workers);
    agree::at_rest(&mut client);
    agree::whole(&mut client, &workers);
    stays.assert_no_errors();
    stays.stop();
    let log = postgres.log();
    let deadlock = log.lines().find(|line| line.contains("deadlock"));
    assert!(deadlock.is_none(), "{deadlock:?}");
}

/// Checks that the writers have conflicted; without conflicts, the test proves nothing.
fn in_each_others_way(workers: &[Worker]) {
    let sum = |of: fn(&Worker) -> usize| workers.iter().map(of).sum::<usize>();
    let (answered, stale, full) =
        (sum(|worker| worker.answered.len()), sum(|worker| worker.stale), sum(|worker| worker.full));
    println!("{answered} changes were answered; {stale} came too late, {full} found no room");
    assert!(stale > 0 && full > 0, "{stale} came too late, {full} found no room");
}

/// Returns the processes that have ended jobs.
fn holders(database: &Database) -> BTreeSet<String> {
    let sql = "SELECT DISTINCT actor FROM tenant_audit WHERE actor LIKE 'controller:%'";
    database.rows(sql).into_iter().flatten().flatten().collect()
}

fn held_by(pid: u32) -> String {
    format!("FROM tenant_jobs WHERE state = 'running' AND lease_holder LIKE 'runner-{pid}-%'")
}

/// Kills a process that has blocked jobs, and waits until other processes have ended them.
fn take_over_what_was_killed(database: &Database, proxy: &Proxy, server: &Server) {
    let slow = Fault::delay(Duration::from_secs(120)).when(|message| message.sql_contains("SET progress"));
    let slow = proxy.arm(slow.repeated());
    let held = held_by(server.pid());
    until("it has jobs", PATIENCE, || (slow.fired() > 0).then_some(()));
    server.kill();
    let killed = Instant::now();
    // A commit that was already sent can still end a job; that job is not taken over.
    proxy.cut();
    let sessions = format!("SELECT count(*) FROM pg_stat_activity WHERE application_name = '{DIES}'");
    until("the database is done with what it sent", PATIENCE, || (database.value(&sessions) == "0").then_some(()));
    let jobs: Vec<_> = database.rows(&format!("SELECT job_id {held}")).into_iter().flatten().flatten().collect();
    assert!(!jobs.is_empty());
    let list = jobs.iter().map(|job| format!("'{job}'")).collect::<Vec<_>>().join(", ");
    until("its jobs end elsewhere", TAKEN_OVER, || {
        let sql = format!(
            "SELECT count(*) FROM tenant_jobs WHERE job_id IN ({list}) AND state = 'completed' AND attempt > 1"
        );
        (database.value(&sql) == jobs.len().to_string()).then_some(())
    });
    println!("{} jobs were taken over within {:?}", jobs.len(), killed.elapsed());
}
