//! Checks of the code's structure: dependencies between crates, where SQL and the clock may be used, and the size of
//! files. Each check is a function with a test that it finds a violation.
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
