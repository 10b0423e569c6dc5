//! Every panic in the product needs a reason beside it.

use proc_macro2::{Delimiter, TokenTree};

use crate::assert_none;
use crate::source::{Source, crates, each_sequence, product_sources};

/// Crates for tests and measurements: a panic is their way to fail.
const FOR_TESTS: [&str; 2] = ["testkit", "bench"];

const METHODS: [&str; 4] = ["unwrap", "expect", "unwrap_err", "expect_err"];
const MACROS: [&str; 4] = ["panic", "todo", "unimplemented", "unreachable"];

fn panics(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    each_sequence(&source.tokens, &mut |sequence| {
        for three in sequence.windows(3) {
            let Some((line, what)) = panic_in(three) else { continue };
            if !source.has_reason(line) {
                findings.push(source.finding(line, &format!("{what} without `// reason: …`")));
            }
        }
    });
    findings
}

/// Finds `.unwrap(…)` or `panic!(…)`, with its line.
fn panic_in(three: &[TokenTree]) -> Option<(usize, String)> {
    let [first, second, TokenTree::Group(group)] = three else { return None };
    match (first, second) {
        (TokenTree::Punct(dot), TokenTree::Ident(method))
            if dot.as_char() == '.'
                && group.delimiter() == Delimiter::Parenthesis
                && METHODS.iter().any(|known| method == known)
                // With an argument, it is another method: a key service unwraps a key.
                && (method.to_string().starts_with("expect") || group.stream().is_empty()) =>
        {
            Some((method.span().start().line, format!(".{method}()")))
        }
        (TokenTree::Ident(name), TokenTree::Punct(bang))
            if bang.as_char() == '!' && MACROS.iter().any(|known| name == known) =>
        {
            Some((name.span().start().line, format!("{name}!")))
        }
        _ => None,
    }
}

#[test]
fn a_panic_must_have_a_reason() {
    let product = crates().into_iter().filter(|name| !FOR_TESTS.contains(&name.as_str()));
    let sources = product.flat_map(|name| product_sources(&name));
    assert_none(&sources.flat_map(|source| panics(&source)).collect::<Vec<_>>());
}

#[test]
fn a_panic_without_a_reason_must_be_found() {
    let text = "fn f() {\n    a.unwrap();\n    b.expect(\"x\");\n    panic!(\"y\");\n    g(|| { c\n.unwrap() })\n}";
    let found = panics(&Source::new("x.rs", text));
    let lines: Vec<&str> = found.iter().map(|finding| finding.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["x.rs:6:", "x.rs:2:", "x.rs:3:", "x.rs:4:"]);
}

#[test]
fn what_does_not_panic_or_says_why_must_pass() {
    let text = "fn f() {\n a.unwrap_or(1); keys.unwrap(name); // .unwrap()\n \"panic!()\"; expect(b); self.expectation();\n \
                // reason: checked above\n c.unwrap();\n d.expect(\"x\"); // reason: constant\n}\n\
                #[cfg(test)] mod tests { fn g() { a.unwrap(); panic!() } }";
    assert_eq!(panics(&Source::new("x.rs", text)), [""; 0]);
}
