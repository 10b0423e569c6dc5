//! Handlers reach the store only through operations, which take the caller as an argument.

use proc_macro2::TokenTree;

use crate::assert_none;
use crate::source::{Source, each_sequence, files, read};

const HTTP: &str = "crates/server/src/http";

/// Reports the health of the database and no data of tenants.
const EXEMPT: &str = "crates/server/src/http/routes/health.rs";

/// Finds uses of a field `.store.`. (`flag.store(…)` belongs to an atomic.)
fn uses_of_the_store(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    each_sequence(&source.tokens, &mut |sequence| {
        for three in sequence.windows(3) {
            if let [TokenTree::Punct(before), TokenTree::Ident(name), TokenTree::Punct(after)] = three
                && before.as_char() == '.'
                && name == "store"
                && after.as_char() == '.'
            {
                let message = "a handler reaches the store: call an operation, and give it the caller";
                findings.push(source.finding(name.span().start().line, message));
            }
        }
    });
    findings
}

#[test]
fn no_handler_must_reach_the_store_but_through_an_operation() {
    let paths = files(HTTP, "rs");
    assert!(paths.iter().any(|path| path == EXEMPT), "{EXEMPT} no longer exists");
    let sources = paths.iter().filter(|path| *path != EXEMPT).map(|path| Source::new(path, &read(path)));
    assert_none(&sources.flat_map(|source| uses_of_the_store(&source)).collect::<Vec<_>>());
}

#[test]
fn a_handler_that_reaches_the_store_must_be_found() {
    let direct = Source::new("x.rs", "async fn get() { server.tenancy.store.jobs(&filter).await }");
    assert_eq!(uses_of_the_store(&direct).len(), 1);
    let atomic = Source::new("x.rs", "fn set() { this.is_read.store(true, Ordering::Relaxed); }");
    assert_eq!(uses_of_the_store(&atomic), Vec::<String>::new());
}
