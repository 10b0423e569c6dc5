//! Tests of the store that run on both databases.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod clock;
mod copy;
mod dispatch;
mod erasure;
mod harness;
mod hold_reconciler;
mod lifecycle;
mod log;
mod missing_keys;
mod outcomes;
mod placements;
mod readable;
mod record;
mod restored;
mod roles;
mod sealing;
mod seals;
mod search;
mod statements;
