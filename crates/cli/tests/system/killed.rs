//! `kill -9` at any instant.

use super::agree;
use super::load::{Worker, prepare};
use super::place::{On, Place, on_both};
use std::sync::atomic::AtomicBool;
use tenancy_testkit::Chance;

on_both!(must_lose_nothing_that_was_answered_when_killed);

const WORKERS: u64 = 6;
const ROUNDS: u32 = 4;

/// Short leases, so that the jobs of a killed server are soon continued.
const SETTINGS: &[(&str, &str)] = &[("JOBS_LEASE_SECONDS", "2"), ("JOBS_HEARTBEAT_SECONDS", "1")];

fn must_lose_nothing_that_was_answered_when_killed(on: On) {
    let mut chance = Chance::new(7_300);
    let place = Place::new(on);
    let mut workers: Vec<_> = (0..WORKERS).map(|number| Worker::new(number, &chance)).collect();
    let mut server = place.serve_with(SETTINGS);
    prepare(&mut server.client());
    for _ in 0..ROUNDS {
        let moment = chance.milliseconds(200, 1_200);
        let running = &server;
        std::thread::scope(|scope| {
            for worker in &mut workers {
                let mut client = running.client();
                scope.spawn(move || worker.work(&mut client, &AtomicBool::new(false)));
            }
            // A random instant: waiting for an event would fix the instant.
            std::thread::sleep(moment);
            running.kill();
        });
        server.assert_no_errors();
        // Nothing is repaired between the runs.
        drop(server);
        server = place.serve_with(SETTINGS);
    }
    let mut client = server.client();
    for worker in &mut workers {
        worker.settle(&mut client);
    }
    let answered: usize = workers.iter().map(|worker| worker.answered.len()).sum();
    println!("{answered} changes were answered in {ROUNDS} rounds");
    assert!(answered > 50, "{answered} changes are no load");
    agree::at_rest(&mut client);
    agree::whole(&mut client, &workers);
    server.assert_no_errors();
    server.stop();
}
