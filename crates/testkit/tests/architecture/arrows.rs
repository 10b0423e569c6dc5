//! Allowed dependencies between crates: cli → server → store → vault → core, server → placement → core, and
//! client → api → core.

use toml::{Table, Value};

use crate::assert_none;
use crate::source::{crates, read};

/// Our crates that each crate lists in `[dependencies]`, and no others. Add a new crate here.
const ARROWS: [(&str, &[&str]); 10] = [
    ("core", &[]),
    ("api", &["tenancy-core"]),
    ("client", &["tenancy-api"]),
    ("vault", &["tenancy-core"]),
    ("placement", &["tenancy-core"]),
    ("store", &["tenancy-core", "tenancy-vault"]),
    ("server", &["tenancy-api", "tenancy-core", "tenancy-placement", "tenancy-store", "tenancy-vault"]),
    ("cli", &["tenancy-api", "tenancy-client", "tenancy-core", "tenancy-server", "tenancy-store", "tenancy-vault"]),
    ("testkit", &[]),
    (
        "bench",
        &["tenancy-client", "tenancy-core", "tenancy-server", "tenancy-store", "tenancy-testkit", "tenancy-vault"],
    ),
];

/// All dependencies of the core: none does I/O, waits, or generates random numbers.
const IN_CORE: [&str; 11] = [
    "base64",
    "icu_normalizer",
    "idna",
    "jiff",
    "serde",
    "serde_json",
    "sha2",
    "thiserror",
    "unicode-security",
    "url",
    "uuid",
];

/// All dependencies of the wire types: a client does not need the server's runtime.
const IN_API: [&str; 4] = ["serde", "serde_json", "tenancy-core", "utoipa"];

/// Database drivers, and the crates that use them.
const DATABASES: [&str; 3] = ["rusqlite", "tokio-postgres", "tokio-postgres-rustls"];
const WITH_DATABASES: [&str; 4] = ["store", "placement", "testkit", "bench"];

/// Returns the dependencies of a manifest outside of tests, for all targets, by package name. A renamed dependency is
/// resolved, also through the workspace.
fn dependencies(manifest: &str, workspace: &str) -> Vec<String> {
    let (manifest, workspace): (Table, Table) = (manifest.parse().unwrap(), workspace.parse().unwrap());
    let shared = workspace.get("workspace").and_then(|workspace| workspace.get("dependencies"));
    let mut tables = Vec::new();
    let targets = manifest.get("target").and_then(Value::as_table);
    let places = targets.into_iter().flat_map(Table::values).filter_map(Value::as_table).chain([&manifest]);
    for place in places {
        tables.extend(["dependencies", "build-dependencies"].iter().filter_map(|kind| place.get(*kind)?.as_table()));
    }
    let renamed = |value: &Value| value.get("package").and_then(Value::as_str).map(str::to_owned);
    let package = |(name, value): (&String, &Value)| {
        let inherited = value.get("workspace").is_some();
        let there = shared.filter(|_| inherited).and_then(|shared| shared.get(name)).and_then(renamed);
        renamed(value).or(there).unwrap_or_else(|| name.clone())
    };
    let mut found: Vec<_> = tables.into_iter().flatten().map(package).collect();
    found.sort();
    found
}

fn is_ours(name: &str) -> bool {
    name == "tenancy" || name == "bench" || name.starts_with("tenancy-")
}

/// Returns the dependencies of a crate that are not allowed, and allowed ones that are unused.
fn against_the_arrows(name: &str, named: &[String], arrows: &[&str]) -> Vec<String> {
    let wrong = |named: &str| {
        is_ours(named) && !arrows.contains(&named)
            || name == "core" && !IN_CORE.contains(&named)
            || DATABASES.contains(&named) && !WITH_DATABASES.contains(&name)
    };
    let wrong = named.iter().filter(|named| wrong(named));
    let unused = arrows.iter().filter(|arrow| !named.iter().any(|named| named == *arrow));
    wrong
        .map(|named| format!("crates/{name} must not depend on {named}"))
        .chain(unused.map(|arrow| format!("crates/{name} does not depend on {arrow}: remove it from the table")))
        .collect()
}

#[test]
fn crates_must_follow_the_arrows() {
    let mut findings = Vec::new();
    for name in crates() {
        let named = dependencies(&read(&format!("crates/{name}/Cargo.toml")), &read("Cargo.toml"));
        match ARROWS.iter().find(|(known, _)| *known == name) {
            Some((_, arrows)) => findings.extend(against_the_arrows(&name, &named, arrows)),
            None => findings.push(format!("crates/{name} is missing from the table of this test")),
        }
    }
    assert_none(&findings);
}

#[test]
fn core_must_depend_on_no_more_than_is_allowed_and_on_all_of_it() {
    let named = dependencies(&read("crates/core/Cargo.toml"), &read("Cargo.toml"));
    assert_eq!(named, IN_CORE, "allowed and actual dependencies are the same");
}

#[test]
fn api_must_depend_on_no_more_than_is_allowed_and_on_all_of_it() {
    let named = dependencies(&read("crates/api/Cargo.toml"), &read("Cargo.toml"));
    assert_eq!(named, IN_API, "allowed and actual dependencies are the same");
}

const WORKSPACE: &str = r#"
[workspace.dependencies]
tenancy-store = { path = "x" }
pg = { package = "tokio-postgres", version = "1" }
tokio = "1"
"#;

const SAMPLE: &str = r#"
[package]
name = "sample"
[dependencies]
serde = "1"
kit = { package = "tenancy-testkit", path = "x" }
tokio.workspace = true
[target.'cfg(unix)'.dependencies]
tenancy-store.workspace = true
pg = { workspace = true, features = ["a"] }
[build-dependencies]
tenancy-server.workspace = true
[dev-dependencies]
tenancy-core.workspace = true
rusqlite = "1"
"#;

fn found(name: &str, arrows: &[&str]) -> Vec<String> {
    let findings = against_the_arrows(name, &dependencies(SAMPLE, WORKSPACE), arrows);
    findings.iter().map(|finding| finding.rsplit(' ').next().unwrap().to_owned()).collect()
}

#[test]
fn a_crate_against_the_arrows_must_be_found_under_any_name_and_target() {
    assert_eq!(found("bench", &["tenancy-server"]), ["tenancy-store", "tenancy-testkit"]);
    assert_eq!(found("bench", &["tenancy-server", "tenancy-store", "tenancy-testkit"]), [""; 0]);
}

#[test]
fn what_core_may_not_have_must_be_found() {
    let all = ["tenancy-server", "tenancy-store", "tenancy-testkit", "tokio", "tokio-postgres"];
    assert_eq!(found("core", &["tenancy-server", "tenancy-store", "tenancy-testkit"]), all);
}

#[test]
fn a_way_to_a_database_must_be_found_outside_of_the_store() {
    let arrows = ["tenancy-server", "tenancy-store", "tenancy-testkit"];
    assert_eq!(found("server", &arrows), ["tokio-postgres"]);
    assert_eq!(found("store", &arrows), [""; 0]);
}

#[test]
fn an_arrow_that_is_not_used_must_be_found() {
    let findings = against_the_arrows("cli", &[], &["tenancy-store"]);
    assert_eq!(findings, ["crates/cli does not depend on tenancy-store: remove it from the table"]);
}
