//! The core is pure: no clock, no I/O, no random numbers, no waiting.

use proc_macro2::TokenTree;

use crate::assert_none;
use crate::source::{Source, each_sequence, product_sources};

/// Words that must not occur in the core, in any context.
const WORDS: [&str; 16] = [
    "Barrier",
    "Condvar",
    "Instant",
    "LazyLock",
    "Mutex",
    "Once",
    "OnceLock",
    "RandomState",
    "RwLock",
    "SystemTime",
    "async",
    "await",
    "eprintln",
    "mpsc",
    "println",
    "thread_local",
];

/// Forbidden only as macros; allowed as names.
const MACROS: [&str; 3] = ["dbg", "eprint", "print"];

/// They must not be renamed, because a renamed type would not be recognised.
const OWN_NAMES: [&str; 6] = ["Timestamp", "TimeZone", "Uuid", "Zoned", "jiff", "std"];

/// What must not follow `NAME::`, directly or in braces.
const PATHS: [(&str, &[&str]); 6] = [
    ("std", &["env", "fs", "io", "net", "process", "self", "thread"]),
    ("jiff", &["self"]),
    ("Timestamp", &["now"]),
    ("Zoned", &["now"]),
    ("Uuid", &["new_v4", "new_v7", "now_v6", "now_v7"]),
    ("TimeZone", &["system"]),
];

fn impurities(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    each_sequence(&source.tokens, &mut |sequence| {
        for (at, token) in sequence.iter().enumerate() {
            let TokenTree::Ident(name) = token else { continue };
            let line = name.span().start().line;
            let next = sequence.get(at + 1);
            let is_macro = matches!(next, Some(TokenTree::Punct(bang)) if bang.as_char() == '!');
            // Atomics exist in many sizes.
            let word = WORDS.iter().any(|word| name == word) || name.to_string().starts_with("Atomic");
            if word || is_macro && MACROS.iter().any(|known| name == known) {
                findings.push(source.finding(line, &format!("`{name}` in the core")));
            }
            // `<Timestamp as Trait>` has no name after it.
            let qualified = at > 0 && matches!(&sequence[at - 1], TokenTree::Punct(less) if less.as_char() == '<');
            let renamed = !qualified && matches!(next, Some(TokenTree::Ident(word)) if word == "as");
            if renamed && OWN_NAMES.iter().any(|known| name == known) {
                findings.push(source.finding(line, &format!("`{name}` is renamed in the core")));
            }
            let forbidden = PATHS.iter().find(|(path, _)| name == path);
            for inner in after_colons(&sequence[at + 1..]) {
                if forbidden.is_some_and(|(_, inside)| inside.contains(&inner.as_str())) {
                    findings.push(source.finding(line, &format!("`{name}::{inner}` in the core")));
                }
            }
        }
    });
    findings
}

/// Returns the names right after `::`: one name, or the first name of each path in `::{…}`.
fn after_colons(rest: &[TokenTree]) -> Vec<String> {
    let is_colon = |token: &TokenTree| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':');
    match rest {
        [one, two, TokenTree::Ident(name), ..] if is_colon(one) && is_colon(two) => vec![name.to_string()],
        [one, two, TokenTree::Group(group), ..] if is_colon(one) && is_colon(two) => {
            let mut names = Vec::new();
            let mut first = true;
            for token in group.stream() {
                match token {
                    TokenTree::Ident(name) if first => {
                        names.push(name.to_string());
                        first = false;
                    }
                    TokenTree::Punct(punct) if punct.as_char() == ',' => first = true,
                    _ => {}
                }
            }
            names
        }
        _ => Vec::new(),
    }
}

#[test]
fn core_must_be_pure() {
    assert_none(&product_sources("core").iter().flat_map(impurities).collect::<Vec<_>>());
}

#[test]
fn what_is_not_pure_must_be_found() {
    for text in [
        "use std::time::SystemTime;",
        "use std::{collections::BTreeMap, fs::File};",
        "fn f() { std::net::lookup(); }",
        "fn f() { let a = jiff::Timestamp::now(); }",
        "fn f() { g(Instant::now()) }",
        "async fn f() {}",
        "fn f() { g(async { 1 }) }",
        "fn f() { Uuid::now_v7() }",
        "use std as s;",
        "use std::{self as s};",
        "extern crate std as s;",
        "use jiff::Timestamp as T;",
        "use jiff::{self as j};",
        "use std::time::{Duration, Instant as I};",
        "use std::time::SystemTime as S;",
        "use std::hash::RandomState;",
        "static A: std::sync::OnceLock<u8> = f();",
        "static A: std::sync::Mutex<u8> = f();",
        "static A: std::sync::atomic::AtomicU64 = f();",
        "fn f() { print!(\"a\") }",
        "fn f() { eprint!(\"a\") }",
        "fn f() { dbg!(a) }",
    ] {
        let found = impurities(&Source::new("x.rs", text));
        assert_eq!(found.len(), 1, "{text}: {found:?}");
    }
}

#[test]
fn what_is_pure_must_pass() {
    let text = "use std::{collections::BTreeMap, fmt}; use jiff::Timestamp;\n\
                use std::sync::Arc; fn print(dbg: u8) -> u8 { <Timestamp as A>::b(dbg as u8) } static A: &'static str = \"a\";\n\
                fn f(now: Timestamp) -> Uuid { Uuid::from_bytes(g(now)) } // Timestamp::now()\n\
                #[cfg(test)] mod tests { use std::time::Instant; fn f() { Instant::now(); } }";
    assert_eq!(impurities(&Source::new("x.rs", text)), [""; 0]);
}
