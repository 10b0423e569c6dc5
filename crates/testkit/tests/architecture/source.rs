//! Reads the workspace: its crates, its files, and Rust tokens without code for tests.

use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};

use crate::product::without_tests;

/// A source file and the tokens that are compiled into the product: without comments, documentation and items under
/// `#[cfg(test)]`.
pub struct Source {
    /// Path from the root of the workspace: `crates/core/src/lib.rs`.
    pub path: String,
    pub text: String,
    pub tokens: TokenStream,
}

impl Source {
    pub fn new(path: &str, text: &str) -> Self {
        let tokens = text.parse().unwrap_or_else(|error| panic!("{path} is not Rust: {error}"));
        Self { path: path.to_owned(), text: text.to_owned(), tokens: without_tests(tokens).0 }
    }

    pub fn finding(&self, line: usize, what: &str) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// Whether the line, or the lines above it, give a reason: `// reason: …`, or the `reason = "…"` of a lint
    /// attribute.
    pub fn has_reason(&self, line: usize) -> bool {
        let lines: Vec<&str> = self.text.lines().collect();
        let gives = |line: &str| line.contains("// reason: ") || line.contains("reason = \"");
        if gives(lines[line - 1]) {
            return true;
        }
        // Above: both the comment and the attribute may have several lines.
        let above = lines[..line - 1].iter().rev().map(|line| line.trim());
        let mut in_attribute = false;
        for text in above {
            in_attribute |= text.ends_with(")]");
            let comment = text.starts_with("//");
            if !comment && !in_attribute {
                return false;
            }
            if gives(text) {
                return true;
            }
            in_attribute &= !text.starts_with("#[");
        }
        false
    }
}

/// Calls `look` for every sequence of tokens: that of the file, and of each group.
pub fn each_sequence(tokens: &TokenStream, look: &mut impl FnMut(&[TokenTree])) {
    let sequence: Vec<TokenTree> = tokens.clone().into_iter().collect();
    for token in &sequence {
        if let TokenTree::Group(group) = token {
            each_sequence(&group.stream(), look);
        }
    }
    look(&sequence);
}

/// Returns the string literals of the code, with their lines, without documentation.
pub fn string_literals(tokens: &TokenStream) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    each_sequence(tokens, &mut |sequence| {
        for token in sequence {
            if let TokenTree::Literal(literal) = token {
                let text = literal.to_string();
                if text.contains('"') {
                    found.push((literal.span().start().line, text));
                }
            }
        }
    });
    found.sort_unstable();
    found
}

pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Returns the names of the directories under `crates/`.
pub fn crates() -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(root().join("crates"))
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.path().join("Cargo.toml").is_file())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert!(names.contains(&"core".to_owned()), "crates not found: {names:?}");
    names
}

/// Returns all files below a directory, as paths from the root of the workspace. Empty if there is no such directory.
pub fn files(below: &str, extension: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut waiting = vec![below.to_owned()];
    while let Some(directory) = waiting.pop() {
        let Ok(entries) = std::fs::read_dir(root().join(&directory)) else { continue };
        for entry in entries {
            let entry = entry.unwrap();
            let path = format!("{directory}/{}", entry.file_name().to_str().unwrap());
            if entry.file_type().unwrap().is_dir() {
                if !path.ends_with("/target") {
                    waiting.push(path);
                }
            } else if Path::new(&path).extension().is_some_and(|found| found == extension) {
                found.push(path);
            }
        }
    }
    found.sort();
    found
}

pub fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Returns the sources of a crate that are compiled into the product, without test modules and the files below them.
pub fn product_sources(name: &str) -> Vec<Source> {
    let paths = files(&format!("crates/{name}/src"), "rs");
    let mut tests = Vec::new();
    for path in &paths {
        let stem = path.strip_suffix(".rs").unwrap();
        let directory = match stem.rsplit_once('/').unwrap() {
            (directory, "lib" | "main" | "mod") => directory,
            _ => stem,
        };
        let (_, modules) = without_tests(read(path).parse().unwrap_or_else(|error| panic!("{path}: {error}")));
        tests.extend(modules.iter().map(|module| format!("{directory}/{module}")));
    }
    let is_test = |path: &str| {
        tests.iter().any(|test| path.strip_prefix(test).is_some_and(|rest| rest == ".rs" || rest.starts_with('/')))
    };
    let sources = paths.iter().filter(|path| !is_test(path));
    sources.map(|path| Source::new(path, &read(path))).collect()
}

mod tests {
    use super::*;

    #[test]
    fn tests_and_documentation_must_not_be_the_product() {
        let source = Source::new(
            "x.rs",
            r##"
            //! "inner"
            /// "outer"
            fn product() { let a = "kept"; #[cfg(not(test))] let b = r#"also"#; }
            #[cfg(test)]
            mod tests { const A: &str = "gone"; }
            #[cfg(all(test, unix))]
            #[allow(dead_code)]
            fn f() -> &'static str { "gone too" }
            #[tokio::test]
            async fn t() { "gone as well"; }
            #[cfg(feature = "test-like")]
            const C: &str = "stays";
            mod other { #![cfg(test)] const D: &str = "gone"; }
            "##,
        );
        let found: Vec<String> = string_literals(&source.tokens).into_iter().map(|(_, text)| text).collect();
        assert_eq!(found, ["\"kept\"", "r#\"also\"#", "\"test-like\"", "\"stays\""]);
    }

    #[test]
    fn a_reason_must_count_on_its_line_and_right_above() {
        let lines = [
            "a(); // reason: here",
            "// reason: above,",
            "// on two lines",
            "b();",
            "#[expect(",
            "    clippy::expect_used,",
            "    reason = \"in an attribute\"",
            ")]",
            "c();",
            "d();",
        ];
        let source = Source::new("x.rs", "");
        let source = Source { text: lines.join("\n"), ..source };
        let given: Vec<bool> = [1, 4, 9, 10].map(|line| source.has_reason(line)).to_vec();
        assert_eq!(given, [true, true, true, false]);
    }

    #[test]
    fn the_product_must_be_found() {
        assert!(product_sources("core").iter().any(|source| source.path == "crates/core/src/lib.rs"));
    }
}
