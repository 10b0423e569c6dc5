//! The client against servers that answer as Tenancy does, and with the faults of networks.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on shall stop")]

mod canned;
mod following;
mod requests;
mod snapshot;
