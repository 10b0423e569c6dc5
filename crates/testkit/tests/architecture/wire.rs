//! The command line reads the server's answers as types of `api`, and not by field names.

use proc_macro2::{Delimiter, TokenTree};

use crate::assert_none;
use crate::source::{Source, each_sequence, product_sources};

/// Methods that read a field of JSON by its name.
const METHODS: [&str; 4] = ["get", "get_mut", "pointer", "pointer_mut"];
/// Keywords that an array may follow, which is then not an index.
const KEYWORDS: [&str; 5] = ["in", "return", "else", "match", "break"];

fn fields_by_name(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    each_sequence(&source.tokens, &mut |sequence| {
        for (at, token) in sequence.iter().enumerate() {
            let TokenTree::Group(group) = token else { continue };
            let inside: Vec<TokenTree> = group.stream().into_iter().collect();
            let [TokenTree::Literal(name)] = inside.as_slice() else { continue };
            let before = &sequence[..at];
            let is_read = match group.delimiter() {
                Delimiter::Bracket => is_indexed(before),
                Delimiter::Parenthesis => is_method(before),
                _ => false,
            };
            let line = name.span().start().line;
            if is_read && name.to_string().starts_with('"') && !source.has_reason(line) {
                findings.push(source.finding(line, &format!("reads the field {name} by its name: use a type of api")));
            }
        }
    });
    findings
}

/// Whether brackets behind these tokens are an index: behind a name, a call or another index.
fn is_indexed(before: &[TokenTree]) -> bool {
    match before.last() {
        Some(TokenTree::Ident(name)) => KEYWORDS.iter().all(|keyword| name != keyword),
        Some(TokenTree::Group(group)) => group.delimiter() != Delimiter::Brace,
        _ => false,
    }
}

fn is_method(before: &[TokenTree]) -> bool {
    let [.., TokenTree::Punct(dot), TokenTree::Ident(method)] = before else { return false };
    dot.as_char() == '.' && METHODS.iter().any(|known| method == known)
}

#[test]
fn the_command_line_must_read_the_wire_types() {
    let sources = product_sources("cli");
    assert_none(&sources.iter().flat_map(fields_by_name).collect::<Vec<_>>());
}

#[test]
fn a_field_that_is_read_by_its_name_must_be_found() {
    let text =
        "fn f() {\n a[\"x\"];\n a[\"x\"][\"y\"];\n g(h().get(\"z\")\n .pointer(\"/w\"));\n if a[\"v\"] == b {}\n}";
    let mut found = fields_by_name(&Source::new("x.rs", text));
    found.sort_unstable();
    let lines: Vec<&str> = found.iter().map(|finding| finding.split(' ').next().unwrap()).collect();
    assert_eq!(lines, ["x.rs:2:", "x.rs:3:", "x.rs:3:", "x.rs:4:", "x.rs:5:", "x.rs:6:"]);
}

#[test]
fn a_list_a_name_in_a_variable_and_a_reason_must_pass() {
    let text = "fn f() {\n list(&[\"tenants\"], vec![\"x\"]);\n for a in [\"x\"] { return [\"y\"]; }\n a.get(name); a[at];\n \
                // reason: a payload is free JSON\n a.get(\"x\");\n}\n#[cfg(test)] mod tests { fn g() { a[\"x\"]; } }";
    assert_eq!(fields_by_name(&Source::new("x.rs", text)), [""; 0]);
}
