//! The commit path under faults: cut connections, stopped databases, members that cannot be written, and rival
//! processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod appended;
mod away;
mod backfill;
mod clock;
mod culprits;
mod cuts;
mod ended;
mod engines;
#[allow(dead_code, unused_imports, unused_macros, reason = "the conformance suite uses all of it")]
#[path = "../conformance/harness.rs"]
mod harness;
mod held;
mod hints;
mod history;
mod migrations;
mod outage;
mod pressure;
mod presumed;
mod reference;
mod rig;
mod rivals;
mod standby;
mod tls;
mod world;
