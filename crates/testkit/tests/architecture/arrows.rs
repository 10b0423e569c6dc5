//! cli → server → store → core: which crate may name which.

use toml::Table;

use crate::assert_none;
use crate::source::{crates, read};

/// The crates of ours that each may name in `[dependencies]`. A new crate has to be entered here.
const ARROWS: [(&str, &[&str]); 6] = [
    ("core", &[]),
    ("store", &["tenancy-core"]),
    ("server", &["tenancy-core", "tenancy-store"]),
    ("cli", &["tenancy-core", "tenancy-server", "tenancy-store"]),
    ("testkit", &[]),
    ("bench", &["tenancy-core", "tenancy-server", "tenancy-store", "tenancy-testkit", "tenancy"]),
];

/// What reads or writes, waits, or draws lots: not in the core.
const NOT_IN_CORE: [&str; 13] = [
    "axum",
    "deadpool-postgres",
    "fs4",
    "getrandom",
    "hyper",
    "rand",
    "reqwest",
    "rusqlite",
    "rustls",
    "tempfile",
    "tokio",
    "tokio-postgres",
    "tower",
];

/// The names in a kind of dependency table, for all targets, after `package = "…"` renames.
fn dependencies(manifest: &str, kind: &str) -> Vec<String> {
    let manifest: Table = manifest.parse().unwrap();
    let mut tables = vec![manifest.get(kind)];
    for target in manifest.get("target").and_then(|targets| targets.as_table()).into_iter().flatten() {
        tables.push(target.1.get(kind));
    }
    let entries = tables.into_iter().flatten().filter_map(|table| table.as_table()).flatten();
    entries
        .map(|(name, value)| value.get("package").and_then(|package| package.as_str()).unwrap_or(name).to_owned())
        .collect()
}

fn is_ours(name: &str) -> bool {
    name == "tenancy" || name == "bench" || name.starts_with("tenancy-")
}

fn against_the_arrows(name: &str, manifest: &str, allowed: &[&str]) -> Vec<String> {
    let named = ["dependencies", "build-dependencies"].iter().flat_map(|kind| dependencies(manifest, kind));
    named
        .filter(|named| is_ours(named) && !allowed.contains(&named.as_str()))
        .map(|named| format!("crates/{name} must not depend on {named}"))
        .collect()
}

fn not_in_core(manifest: &str) -> Vec<String> {
    let named = dependencies(manifest, "dependencies").into_iter();
    named
        .filter(|named| NOT_IN_CORE.contains(&named.as_str()))
        .map(|named| format!("crates/core must not depend on {named}"))
        .collect()
}

#[test]
fn crates_must_follow_the_arrows() {
    let mut findings = Vec::new();
    for name in crates() {
        match ARROWS.iter().find(|(known, _)| *known == name) {
            Some((_, allowed)) => {
                findings.extend(against_the_arrows(&name, &read(&format!("crates/{name}/Cargo.toml")), allowed));
            }
            None => findings.push(format!("crates/{name} has no place in the table of this test")),
        }
    }
    assert_none(&findings);
}

#[test]
fn core_must_not_depend_on_what_does_input_or_output() {
    assert_none(&not_in_core(&read("crates/core/Cargo.toml")));
}

const SAMPLE: &str = r#"
[package]
name = "sample"
[dependencies]
serde = "1"
kit = { package = "tenancy-testkit", path = "x" }
tokio.workspace = true
[target.'cfg(unix)'.dependencies]
tenancy-store.workspace = true
[build-dependencies]
tenancy-server.workspace = true
[dev-dependencies]
tenancy-core.workspace = true
"#;

#[test]
fn a_crate_against_the_arrows_is_found_under_any_name_and_target() {
    let found = against_the_arrows("core", SAMPLE, &["tenancy-server"]);
    assert_eq!(
        found,
        ["crates/core must not depend on tenancy-testkit", "crates/core must not depend on tenancy-store"]
    );
}

#[test]
fn input_and_output_in_core_is_found() {
    assert_eq!(not_in_core(SAMPLE), ["crates/core must not depend on tokio"]);
}
