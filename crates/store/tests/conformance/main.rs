//! Tests of the store that run on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod erasure;
mod harness;
mod hold_reconciler;
mod lifecycle;
mod log;
mod readable;
mod record;
mod roles;
mod seals;
mod search;
