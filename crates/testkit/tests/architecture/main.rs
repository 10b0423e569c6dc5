//! The shape of the code, held by tests: who may depend on whom, where SQL and the clock may be, how
//! long a file may get. Each detector is a function with a test of its own that it fires.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod arrows;
mod callers;
mod circle;
mod panics;
mod product;
mod purity;
mod shape;
mod source;
mod sql;
mod statement;
mod wire;

/// Fails with one line for each finding.
#[track_caller]
fn assert_none(findings: &[String]) {
    assert!(findings.is_empty(), "\n{}\n", findings.join("\n"));
}
