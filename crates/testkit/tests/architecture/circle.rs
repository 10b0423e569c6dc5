//! The files of the core do not import each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use proc_macro2::{Delimiter, TokenStream, TokenTree};

use crate::assert_none;
use crate::source::{Source, each_sequence, product_sources};

/// Which module uses which, by name: `crate`, `rules`, `rules::change`.
type Imports = BTreeMap<String, BTreeSet<String>>;

/// Names of a path in the code.
type Names = Vec<String>;

/// Collects which module uses which: every path to an item of another file, in `use` and in code. A declaration (`mod
/// read;`) uses nothing; a re-export does.
fn imports(sources: &[Source]) -> Imports {
    let modules: BTreeSet<String> = sources.iter().map(|source| module(&source.path)).collect();
    let mut found: Imports = modules.iter().map(|module| (module.clone(), BTreeSet::new())).collect();
    for source in sources {
        let from = module(&source.path);
        let mut paths = Vec::new();
        each_sequence(&source.tokens, &mut |sequence| collect(sequence, &mut paths));
        let used = paths.iter().filter_map(|path| target(&from, path, &modules)).filter(|to| *to != from);
        found.entry(from.clone()).or_default().extend(used);
    }
    found
}

/// Returns the module of a file: `crates/core/src/rules/change.rs` is `rules::change`, `rules/mod.rs` is `rules`, and
/// `lib.rs` is `crate`.
fn module(path: &str) -> String {
    let below = path.split_once("/src/").map_or(path, |(_, below)| below);
    let name = below.trim_end_matches(".rs").trim_end_matches("/mod").replace('/', "::");
    if name == "lib" { "crate".to_owned() } else { name }
}

/// Collects every path of a sequence of tokens: `a::b`, and both paths of `a::{b, c::d}`.
fn collect(sequence: &[TokenTree], found: &mut Vec<Names>) {
    let mut at = 0;
    while at < sequence.len() {
        let starts = matches!(&sequence[at], TokenTree::Ident(_)) && !(at >= 2 && is_colons(&sequence[at - 2..at]));
        if starts {
            at += path(&sequence[at..], &[], found);
        } else {
            at += 1;
        }
    }
}

/// Reads one path, including braces at its end. Returns the number of its tokens.
fn path(tokens: &[TokenTree], before: &[String], found: &mut Vec<Names>) -> usize {
    let mut names = before.to_vec();
    let mut at = 0;
    while let Some(token) = tokens.get(at) {
        match token {
            TokenTree::Ident(name) => names.push(name.to_string()),
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace && at > 0 => {
                list(&group.stream(), &names, found);
                return at + 1;
            }
            TokenTree::Punct(_) if at > 0 => names.push("*".to_owned()),
            _ => break,
        }
        at += 1;
        match tokens.get(at..at + 2) {
            Some(colons) if is_colons(colons) => at += 2,
            _ => break,
        }
    }
    found.push(names);
    at.max(1)
}

/// Reads the paths in braces, each prefixed with `before`.
fn list(tokens: &TokenStream, before: &[String], found: &mut Vec<Names>) {
    let tokens: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for item in tokens.split(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ',')) {
        if !item.is_empty() {
            path(item, before, found);
        }
    }
}

fn is_colons(tokens: &[TokenTree]) -> bool {
    tokens.iter().all(|token| matches!(token, TokenTree::Punct(punct) if punct.as_char() == ':'))
}

/// Returns the module that contains the target of a path in `from`; `None` if the path leaves the crate.
fn target(from: &str, path: &[String], modules: &BTreeSet<String>) -> Option<String> {
    // A single name is no path: `pub(crate)`, `self`.
    if path.len() < 2 {
        return None;
    }
    let mut base: Names = if from == "crate" { Vec::new() } else { from.split("::").map(str::to_owned).collect() };
    let mut rest = path;
    match path.first().map(String::as_str)? {
        "crate" => {
            base.clear();
            rest = &path[1..];
        }
        "self" => rest = &path[1..],
        "super" => {
            while let Some(("super", after)) = rest.split_first().map(|(first, after)| (first.as_str(), after)) {
                base.pop();
                rest = after;
            }
        }
        // A path that begins with a name leads to a child of this module, or out of the crate.
        child => {
            base.push(child.to_owned());
            if !modules.contains(&base.join("::")) {
                return None;
            }
            rest = &path[1..];
        }
    }
    for name in rest {
        base.push(name.clone());
        if !modules.contains(&base.join("::")) {
            base.pop();
            break;
        }
    }
    Some(if base.is_empty() { "crate".to_owned() } else { base.join("::") })
}

/// Returns a circle, from a module back to itself, if there is one.
fn circle(imports: &Imports) -> Option<Names> {
    let mut done = BTreeSet::new();
    imports.keys().find_map(|module| walk(module, imports, &mut Vec::new(), &mut done))
}

fn walk(module: &str, imports: &Imports, way: &mut Names, done: &mut BTreeSet<String>) -> Option<Names> {
    if let Some(at) = way.iter().position(|name| name == module) {
        return Some(way[at..].iter().cloned().chain([module.to_owned()]).collect());
    }
    if done.contains(module) {
        return None;
    }
    way.push(module.to_owned());
    let found = imports.get(module).into_iter().flatten().find_map(|next| walk(next, imports, way, done));
    way.pop();
    done.insert(module.to_owned());
    found
}

#[test]
fn the_files_of_core_must_not_import_each_other_in_a_circle() {
    let found = circle(&imports(&product_sources("core")));
    assert_none(
        &found.iter().map(|way| format!("a circle of imports in core: {}", way.join(" -> "))).collect::<Vec<_>>(),
    );
}

#[test]
fn the_imports_of_core_must_be_found() {
    let imports = imports(&product_sources("core"));
    for (from, to) in
        [("changes", "event"), ("rules::change", "rules"), ("manifest", "manifest::read"), ("crate", "error")]
    {
        assert!(imports[from].contains(to), "{from} -> {to}: {:?}", imports[from]);
    }
}

#[test]
fn a_circle_must_be_named() {
    let graph = |edges: &[(&str, &str)]| {
        let mut graph = Imports::new();
        for (from, to) in edges {
            graph.entry((*from).to_owned()).or_default().insert((*to).to_owned());
        }
        circle(&graph).map(|way| way.join(" -> "))
    };
    assert_eq!(graph(&[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")]), None);
    assert_eq!(graph(&[("a", "b"), ("b", "c"), ("c", "d"), ("d", "b")]).as_deref(), Some("b -> c -> d -> b"));
    assert_eq!(graph(&[("a", "b"), ("b", "a")]).as_deref(), Some("a -> b -> a"));
}

#[test]
fn every_way_to_import_must_be_seen() {
    for (text, to) in [
        ("use crate::a::A;", "a"),
        ("use crate::{a::A, x::B};", "a"),
        ("use crate::{x::{B, a}, a};", "a"),
        ("use crate::a::*;", "a"),
        ("use super::super::a::A;", "a"),
        ("use super::{y::B, C};", "x::y"),
        ("use super::A;", "x"),
        ("use self::w::A;", "x::z::w"),
        ("use w::{A, B};", "x::z::w"),
        ("pub use w::A;", "x::z::w"),
        ("fn f() { g(w::h()) }", "x::z::w"),
        ("fn f() -> crate::a::A { g() }", "a"),
        ("fn f(a: &[super::y::A]) {}", "x::y"),
        ("use crate::A;", "crate"),
    ] {
        let source = |path: &str, text: &str| Source::new(&format!("crates/core/src/{path}.rs"), text);
        let others = ["lib", "a", "x/mod", "x/y", "x/z/w"].map(|path| source(path, ""));
        let sources: Vec<Source> = others.into_iter().chain([source("x/z", text)]).collect();
        let found = &imports(&sources)["x::z"];
        assert!(found.contains(to), "{text}: {found:?}");
    }
}

#[test]
fn what_is_no_import_must_not_be_seen() {
    for text in [
        "mod w; use std::fmt; use jiff::Timestamp;",
        "/// [`crate::a::A`]\nfn f(a: u8) -> u8 { a + w }",
        "pub(crate) fn f(self) {} pub(super) struct A;",
        "#[cfg(test)] mod tests { use crate::a::A; }",
    ] {
        let others = ["lib", "a", "x/z/w"].map(|path| Source::new(&format!("crates/core/src/{path}.rs"), ""));
        let sources: Vec<Source> = others.into_iter().chain([Source::new("crates/core/src/x/z.rs", text)]).collect();
        assert_eq!(imports(&sources)["x::z"], BTreeSet::new(), "{text}");
    }
}
