//! Selects the tokens that are compiled into the product: without documentation and without code for tests.

use std::collections::BTreeSet;
use std::iter::Peekable;

use proc_macro2::token_stream::IntoIter;
use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// Returns the tokens without documentation, test functions and code under `#[cfg(test)]`, and the names of modules
/// under it that are in separate files.
pub fn without_tests(tokens: TokenStream) -> (TokenStream, BTreeSet<String>) {
    let mut kept = Vec::new();
    let mut modules = BTreeSet::new();
    let mut rest = tokens.into_iter().peekable();
    while let Some(token) = rest.next() {
        let hash = is(&token, '#');
        let inner = hash && rest.next_if(|next| is(next, '!')).is_some();
        if hash && let Some(TokenTree::Group(attribute)) = rest.peek() {
            let attribute = attribute.clone();
            if is_for_tests(&attribute) {
                if inner {
                    // The whole file is for tests.
                    return (TokenStream::new(), modules);
                }
                rest.next();
                modules.extend(skip(&mut rest));
                continue;
            }
            if attribute.stream().to_string().starts_with("doc ") {
                rest.next();
                continue;
            }
        }
        kept.push(match token {
            TokenTree::Group(group) => {
                let (inner, more) = without_tests(group.stream());
                modules.extend(more);
                let mut plain = Group::new(group.delimiter(), inner);
                plain.set_span(group.span());
                TokenTree::Group(plain)
            }
            other => other,
        });
    }
    (kept.into_iter().collect(), modules)
}

fn is(token: &TokenTree, letter: char) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == letter)
}

fn is_body(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Group(group) if group.delimiter() == Delimiter::Brace)
}

/// Skips the item of an attribute. Returns its name if it is a module in a separate file.
fn skip(rest: &mut Peekable<IntoIter>) -> Option<String> {
    let mut before = String::new();
    while let Some(token) = rest.peek() {
        let TokenTree::Ident(word) = token else {
            // More attributes, `pub(crate)`, `extern "C"`.
            if before.is_empty() && !is(token, '#') && !matches!(token, TokenTree::Group(_)) {
                break;
            }
            rest.next();
            continue;
        };
        let word = word.to_string();
        match word.as_str() {
            "pub" | "async" | "unsafe" | "extern" | "default" => drop(rest.next()),
            "mod" => {
                rest.next();
                let name = rest.next().map(|name| name.to_string());
                return rest.next().is_some_and(|end| is(&end, ';')).then_some(name).flatten();
            }
            "use" | "type" | "static" | "let" => {
                rest.find(|token| is(token, ';'));
                return None;
            }
            "const" => {
                rest.next();
                if !matches!(rest.peek(), Some(TokenTree::Ident(next)) if next == "fn" || next == "unsafe") {
                    rest.find(|token| is(token, ';'));
                    return None;
                }
            }
            "fn" | "struct" | "enum" | "union" | "trait" | "impl" | "macro_rules" => {
                rest.find(|token| is(token, ';') || is_body(token));
                return None;
            }
            _ => break,
        }
        before = word;
    }
    skip_part(rest);
    None
}

/// Skips a field, a variant, an arm or a statement, with its comma or semicolon.
fn skip_part(rest: &mut Peekable<IntoIter>) {
    let (mut angles, mut arm) = (0, false);
    // The two previous tokens.
    let (mut last, mut earlier) = (' ', ' ');
    while let Some(token) = rest.next() {
        let now = if let TokenTree::Punct(punct) = &token { punct.as_char() } else { ' ' };
        match now {
            ';' => return,
            ',' if angles == 0 => return,
            // In the value of an arm it means less than, unless it follows `::`.
            '<' if !arm || (earlier, last) == (':', ':') => angles += 1,
            '>' if last == '=' => (angles, arm) = (0, true),
            '>' if last != '-' && angles > 0 => angles -= 1,
            _ => {}
        }
        let ends_arm = is_body(&token) && (earlier, last) == ('=', '>');
        if ends_arm || matches!(&token, TokenTree::Group(_)) && last == '!' {
            rest.next_if(|next| is(next, ',') || is(next, ';'));
            return;
        }
        (earlier, last) = (last, now);
    }
}

/// Whether the attribute is `test`, `tokio::test(…)`, or any `cfg(…)` that needs `test`.
fn is_for_tests(attribute: &Group) -> bool {
    let mut path = None;
    for token in attribute.stream() {
        match token {
            TokenTree::Ident(name) => path = Some(name.to_string()),
            TokenTree::Punct(punct) if punct.as_char() == ':' => {}
            TokenTree::Group(condition) if path.as_deref() == Some("cfg") => {
                return needs_test(&condition.stream().into_iter().collect::<Vec<_>>());
            }
            _ => break,
        }
    }
    path.as_deref() == Some("test")
}

/// Whether the condition holds in tests only: one condition of `all` must need them, or each condition of `any`.
fn needs_test(condition: &[TokenTree]) -> bool {
    match condition {
        [TokenTree::Ident(name)] => name == "test",
        [TokenTree::Ident(name), TokenTree::Group(inner)] => {
            let tokens: Vec<_> = inner.stream().into_iter().collect();
            let mut parts = tokens.split(|token| is(token, ',')).filter(|part| !part.is_empty()).peekable();
            (name == "all" && parts.any(needs_test))
                || (name == "any" && parts.peek().is_some() && parts.all(needs_test))
        }
        _ => false,
    }
}

mod tests {
    use super::*;

    fn product(text: &str) -> String {
        without_tests(text.parse().unwrap()).0.to_string().split_whitespace().collect()
    }

    fn modules(text: &str) -> Vec<String> {
        without_tests(text.parse().unwrap()).1.into_iter().collect()
    }

    #[test]
    fn a_test_module_in_its_own_file_must_be_known() {
        let text = "mod a; #[cfg(test)] mod model; mod b { #[cfg(test)] #[path = \"x.rs\"] pub(crate) mod c; }";
        assert_eq!(modules(text), ["c", "model"]);
    }

    #[test]
    fn only_a_module_must_take_a_file_out() {
        let text = "#[cfg(test)] use crate::judge; #[cfg(test)] use a::{b, c}; #[cfg(test)] struct Rows; \
                    #[cfg(test)] static A: u8 = 1; #[cfg(test)] type B = c; #[cfg(test)] extern crate d; mod e;";
        assert_eq!((modules(text).as_slice(), product(text).as_str()), (&[][..], "mode;"));
    }

    #[test]
    fn what_follows_a_test_item_must_stay() {
        for (text, stays) in [
            ("#[cfg(test)] fn f<A, B>() where A: C, B: D { a } fn g() {}", "fng(){}"),
            ("#[cfg(test)] const fn f() {} const A: u8 = 1;", "constA:u8=1;"),
            ("#[cfg(test)] const A: S = S { a }; const B: u8 = 1;", "constB:u8=1;"),
            ("#[cfg(test)] let a = if b { c } else { d }; e", "e"),
            ("#[cfg(test)] #[allow(dead_code)] impl<A, B> C for D<A, B> {} e", "e"),
            ("#[cfg(test)] thread_local! { a } e", "e"),
            ("#[cfg(test)] a(b); e", "e"),
        ] {
            assert_eq!(product(text), stays, "{text}");
        }
    }

    #[test]
    fn what_follows_a_test_field_or_arm_must_stay() {
        for (text, stays) in [
            ("struct A { #[cfg(test)] pub a: M<B, C>, d: E }", "structA{d:E}"),
            ("struct A { #[cfg(test)] a: fn(B) -> C, d: E }", "structA{d:E}"),
            ("enum A { #[cfg(test)] B { a: C }, D }", "enumA{D}"),
            ("match a { #[cfg(test)] A { b } if b < c => f::<D, E>(b < c), G => h }", "matcha{G=>h}"),
            ("match a { #[cfg(test)] B => { c } D => e }", "matcha{D=>e}"),
            ("A { #[cfg(test)] a: b, c }", "A{c}"),
            ("A { b, #[cfg(test)] c }", "A{b,}"),
        ] {
            assert_eq!(product(text), stays, "{text}");
        }
    }

    #[test]
    fn only_what_needs_tests_must_go() {
        for condition in ["test", "all(unix, test)", "any(test, all(test, unix))", "all(any(test))"] {
            assert_eq!(product(&format!("#[cfg({condition})] fn f() {{}}")), "", "{condition}");
        }
        for condition in ["not(test)", "any(test, feature = \"model\")", "feature = \"test\"", "unix", "all(not(test))"]
        {
            assert!(product(&format!("#[cfg({condition})] fn f() {{}}")).ends_with("fnf(){}"), "{condition}");
        }
    }
}
