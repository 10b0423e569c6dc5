//! Random histories of commands on a small world, against a plain model.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod checks;
mod database;
mod model;
mod spec;
mod world;

use proptest::option;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use spec::{Spec, spec};

/// Who is meant: one of a few tenants.
type Who = u8;

#[derive(Debug, Clone)]
pub enum Command {
    Register(Who, Spec),
    Change(Who, Spec, bool),
    /// The same manifest again, its lists in the other order.
    Again(Who),
    Suspend(Who, &'static str, Option<u8>, Option<i64>),
    Activate(Who, Option<&'static str>),
    /// Whether seats are a declared quota from now on.
    Declare(bool),
    /// A hold on the organization of all: placed with a reason, or released.
    HoldAll(&'static str, Option<Option<u8>>),
    /// The tenant follows its organization's holds.
    Settle(Who),
    Request(Who, &'static str),
    Claim(Who),
    /// The job that is worked is put aside, for something that it waits for.
    Wait(Who),
    Cancel(Who),
    /// The next step of the job that is worked is done.
    Step(Who),
    Complete(Who),
    Fail(Who),
    PassHours(i64),
}

/// A few commands that belong together, so that histories reach the far ends of a tenant's life.
fn turn() -> impl Strategy<Value = Vec<Command>> {
    let who = || prop::sample::select(vec![0u8, 0, 0, 1, 1, 2]);
    let kind = || prop::sample::select(vec!["operator", "operator", "billing", "legal"]);
    let action = || prop::sample::select(vec!["delete", "undelete", "purge"]);
    let until = option::weighted(0.3, 1..60i64);
    let one = prop_oneof![
        1 => (who(), spec()).prop_map(|(who, spec)| Command::Register(who, spec)),
        8 => (who(), spec(), prop::bool::weighted(0.7)).prop_map(|(who, s, allow)| Command::Change(who, s, allow)),
        2 => who().prop_map(Command::Again),
        6 => (who(), kind(), option::of(0..2u8), until).prop_map(|(w, kind, r, u)| Command::Suspend(w, kind, r, u)),
        6 => (who(), option::weighted(0.4, kind())).prop_map(|(who, kind)| Command::Activate(who, kind)),
        2 => (kind(), option::of(option::of(0..2u8))).prop_map(|(kind, place)| Command::HoldAll(kind, place)),
        3 => who().prop_map(Command::Settle),
        4 => any::<bool>().prop_map(Command::Declare),
        5 => (who(), action()).prop_map(|(who, action)| Command::Request(who, action)),
        4 => who().prop_map(Command::Claim),
        4 => who().prop_map(Command::Wait),
        2 => who().prop_map(Command::Cancel),
        4 => who().prop_map(Command::Step),
        3 => who().prop_map(Command::Complete),
        2 => who().prop_map(Command::Fail),
        2 => (1..800i64).prop_map(Command::PassHours),
    ];
    prop_oneof![
        12 => one.prop_map(|command| vec![command]),
        6 => who().prop_map(|who| work(who, true)),
        3 => who().prop_map(|who| work(who, false)),
        3 => (who(), action(), 0..900i64, any::<bool>()).prop_map(|(w, then, hours, well)| retired(w, then, hours, well)),
    ]
}

/// The open job is worked to its end. Of its steps one is written down; the others are done by then, or never.
fn work(who: Who, well: bool) -> Vec<Command> {
    vec![Command::Claim(who), Command::Step(who), if well { Command::Complete(who) } else { Command::Fail(who) }]
}

/// Whatever the tenant is at, it is most likely deleted, and then something is asked of it.
fn retired(who: Who, then: &'static str, hours: i64, well: bool) -> Vec<Command> {
    let works = || [work(who, true), work(who, true)].concat();
    let suspended = [works(), vec![Command::Suspend(who, "operator", Some(0), None)], works()].concat();
    let deleted = [suspended, vec![Command::Request(who, "delete")], work(who, true)].concat();
    [deleted, vec![Command::PassHours(hours), Command::Request(who, then)], work(who, well)].concat()
}

/// Few enough for every day; PROPTEST_CASES asks for more.
fn cases() -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|text| text.parse().ok()).unwrap_or(96)
}

/// From `TENANCY_SEED`, or the same every day; printed, so that a failure says which it was.
fn seed() -> RngSeed {
    let given = std::env::var("TENANCY_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or(20_260_701);
    println!("TENANCY_SEED={seed}");
    RngSeed::Fixed(seed)
}

fn config() -> ProptestConfig {
    // A seed says as much as a file of failures.
    ProptestConfig { cases: cases(), rng_seed: seed(), failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn must_do_what_a_plain_model_says(
        first in prop::collection::vec(spec(), 2),
        turns in prop::collection::vec(turn(), 1..50),
    ) {
        let mut world = world::World::new();
        for (who, spec) in (0..).zip(first) {
            world.run(&Command::Register(who, spec));
        }
        for command in turns.iter().flatten() {
            world.run(command);
        }
        world.drain();
        world.check_rest();
    }
}
