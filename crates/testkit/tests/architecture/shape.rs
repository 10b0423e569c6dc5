//! Files are short, named after their content, and begin with a description.

use proc_macro2::TokenTree;

use crate::assert_none;
use crate::source::{Source, crates, each_sequence, files, read};

const FILE_LIMIT_LINES: usize = 500;

/// Names that do not describe the content.
const EMPTY_NAMES: [&str; 10] =
    ["common", "helper", "helpers", "manager", "managers", "misc", "service", "services", "util", "utils"];

fn too_long(path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > FILE_LIMIT_LINES).then(|| format!("{path} has {lines} lines, more than {FILE_LIMIT_LINES}"))
}

fn empty_names_in_path(path: &str) -> Option<String> {
    let mut parts = path.strip_suffix(".rs").unwrap_or(path).split('/');
    let found = parts.find(|part| EMPTY_NAMES.contains(part))?;
    Some(format!("{path}: `{found}` does not describe the content"))
}

fn empty_names_of_modules(source: &Source) -> Vec<String> {
    let mut findings = Vec::new();
    each_sequence(&source.tokens, &mut |sequence| {
        for two in sequence.windows(2) {
            if let [TokenTree::Ident(keyword), TokenTree::Ident(name)] = two
                && keyword == "mod"
                && EMPTY_NAMES.iter().any(|empty| name == empty)
            {
                let line = name.span().start().line;
                findings.push(source.finding(line, &format!("module `{name}` does not describe the content")));
            }
        }
    });
    findings
}

fn undocumented(path: &str, text: &str) -> Option<String> {
    (!text.starts_with("//!")).then(|| format!("{path} does not begin with a description of the crate: `//! …`"))
}

#[test]
fn no_file_must_be_too_long_to_read() {
    let paths = files("crates", "rs");
    assert_none(&paths.iter().filter_map(|path| too_long(path, &read(path))).collect::<Vec<_>>());
}

#[test]
fn every_name_must_say_what_is_inside() {
    let mut findings = Vec::new();
    for path in files("crates", "rs") {
        findings.extend(empty_names_in_path(&path));
        findings.extend(empty_names_of_modules(&Source::new(&path, &read(&path))));
    }
    assert_none(&findings);
}

#[test]
fn every_crate_must_begin_with_what_it_is() {
    let mut findings = Vec::new();
    for name in crates() {
        let roots = ["lib", "main"].map(|root| format!("crates/{name}/src/{root}.rs"));
        let existing = files(&format!("crates/{name}/src"), "rs");
        let roots = roots.iter().filter(|root| existing.contains(root));
        findings.extend(roots.filter_map(|root| undocumented(root, &read(root))));
    }
    assert_none(&findings);
}

#[test]
fn a_file_that_is_too_long_must_be_found() {
    assert_eq!(too_long("x.rs", &"\n".repeat(500)), None);
    assert!(too_long("x.rs", &"\n".repeat(501)).is_some());
}

#[test]
fn a_name_that_says_nothing_must_be_found() {
    assert!(empty_names_in_path("crates/core/src/util.rs").is_some());
    assert!(empty_names_in_path("crates/core/src/helpers/a.rs").is_some());
    assert_eq!(empty_names_in_path("crates/core/src/key_service.rs"), None);
    assert_eq!(empty_names_of_modules(&Source::new("x.rs", "mod a {\n mod common; }")).len(), 1);
}

#[test]
fn a_crate_without_documentation_must_be_found() {
    assert!(undocumented("x.rs", "use a;\n//! late").is_some());
    assert_eq!(undocumented("x.rs", "//! What it is.\n"), None);
}
