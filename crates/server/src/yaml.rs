//! Strict YAML: duplicate keys are refused, `no` is text and not false, `012` is text and not ten, and expanded size is
//! limited.

mod integers;
pub mod places;

use crate::operations::apply::MAX_DOCUMENTS;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_saphyr::budget::BudgetBreach;
use serde_saphyr::{Location, MessageFormatter, UserMessageFormatter};
use tenancy_core::Error;
use tenancy_core::json::Strict;

/// Maximum number of nodes of a text: 100 for each document of the largest file.
pub const MAX_NODES: usize = 2_000_000;

/// Number of events of the parser (keys, values, starts and ends) that aliases and merges may add to any text.
const FREE_EXPANSION: usize = 1_000;

/// Number of further events that they may add for each byte of the text. A short text must not cost the time of a long
/// one: each added event costs about two microseconds.
const EXPANSION_PER_BYTE: usize = 8;

/// Maximum number of merge keys (`<<`).
const MAX_MERGES: usize = 1_000;

/// Maximum nesting depth.
pub const MAX_DEPTH: usize = 64;

/// The first error in a text, and its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadYaml {
    /// Line, from 1.
    pub line: u64,
    /// Column, from 1.
    pub column: u64,
    /// Description for people.
    pub sentence: String,
}

/// Reads all documents of a text. Empty documents are skipped.
///
/// # Errors
/// [`Error::Malformed`] with line and column.
pub fn documents(text: &str) -> Result<Vec<Value>, Error> {
    read(text).map_err(|BadYaml { line, column, sentence }| {
        Error::Malformed(format!("invalid YAML at line {line}, column {column}: {sentence}"))
    })
}

/// Like [`documents`], for a caller that adds the name of the file.
///
/// # Errors
/// The first error in the text.
pub fn read(text: &str) -> Result<Vec<Value>, BadYaml> {
    let documents: Vec<Value> = parse::<Strict>(text)?.into_iter().map(|document| document.0).collect();
    // Large numbers are rare, so the text is read a second time only in this case.
    if documents.iter().any(holds_big)
        && let Some((place, integer)) = integers::beyond_64_bits(&parse(text)?, text)
    {
        return Err(bad(&place, format!("the integer {integer:.40} does not fit into 64 bits")));
    }
    Ok(documents)
}

/// Returns whether a number in the value may have been an integer beyond 64 bits before it was converted to a double.
fn holds_big(value: &Value) -> bool {
    match value {
        Value::Number(number) => number.as_f64().is_some_and(integers::is_big),
        Value::Array(items) => items.iter().any(holds_big),
        Value::Object(object) => object.values().any(holds_big),
        _ => false,
    }
}

fn parse<T: DeserializeOwned>(text: &str) -> Result<Vec<T>, BadYaml> {
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_nodes: MAX_NODES,
            max_events: 4 * MAX_NODES,
            max_depth: MAX_DEPTH,
            flow_nesting_limit: MAX_DEPTH,
            max_documents: MAX_DOCUMENTS + 1,
            max_aliases: 1_000,
            max_anchors: 1_000,
            max_merge_keys: MAX_MERGES,
            // Many documents may share one base; what that costs is limited below.
            enforce_alias_anchor_ratio: false,
        },
        alias_limits: serde_saphyr::alias_limits! {
            max_total_replayed_events: max_expansion(text),
        },
        duplicate_keys: serde_saphyr::DuplicateKeyPolicy::Error,
        strict_booleans: true,
        leading_zero_numbers_as_strings: true,
        underscored_numbers_as_strings: true,
        reject_unsupported_tags: true,
        with_snippet: false,
    };
    serde_saphyr::from_multiple_with_options(text, options)
        .map_err(|error| bad(&error.location().unwrap_or(Location::UNKNOWN), sentence(&error)))
}

/// Returns the maximum number of events that the aliases and merges of a text may add.
fn max_expansion(text: &str) -> usize {
    text.len().saturating_mul(EXPANSION_PER_BYTE).saturating_add(FREE_EXPANSION).min(MAX_NODES)
}

fn bad(at: &Location, sentence: String) -> BadYaml {
    BadYaml { line: at.line().max(1), column: at.column().max(1), sentence }
}

/// Describes an error. Replaces the library's text where that refers to the library itself.
fn sentence(error: &serde_saphyr::Error) -> String {
    use serde_saphyr::Error as Bad;
    match error {
        Bad::WithSnippet { error, .. } | Bad::AliasError { error, .. } => sentence(error),
        Bad::DuplicateMappingKey { key: Some(key), .. } => format!("the key {key:?} occurs twice; remove one"),
        Bad::DuplicateMappingKey { .. } => "a key occurs twice; remove one".to_owned(),
        Bad::Budget { breach, .. } => beyond(breach),
        Bad::AliasReplayLimitExceeded { .. }
        | Bad::AliasExpansionLimitExceeded { .. }
        | Bad::AliasReplayStackDepthExceeded { .. }
        | Bad::AliasReplayCounterOverflow { .. } => too_many_aliases(),
        Bad::RecursiveReferencesRequireWeakTypes { .. } => {
            "an alias refers to a node that contains it; remove the alias".to_owned()
        }
        Bad::UnknownAnchor { .. } => "the alias has no anchor with its name before it".to_owned(),
        Bad::UnsupportedTag { tag, .. } => format!("the tag {tag} is not supported; write the value without it"),
        Bad::NonFiniteFloat { .. } => "the number is not finite; quote it if it is text".to_owned(),
        Bad::Eof { .. } => "the text ends unexpectedly".to_owned(),
        Bad::ContainerEndMismatch { .. } => "a bracket or brace is not matched".to_owned(),
        other => match UserMessageFormatter.format_message(other).trim_end_matches('.') {
            // The scanner's own message about nested brackets.
            "recursion limit exceeded" => too_deep(),
            text => text.to_owned(),
        },
    }
}

/// Describes the limit that a text exceeds.
fn beyond(breach: &BudgetBreach) -> String {
    match breach {
        BudgetBreach::Depth { .. } => too_deep(),
        BudgetBreach::Documents { .. } => format!("a file can have at most {MAX_DOCUMENTS} documents; split it"),
        BudgetBreach::Aliases { .. }
        | BudgetBreach::Anchors { .. }
        | BudgetBreach::AliasAnchorRatio { .. }
        | BudgetBreach::MergeKeys { .. }
        | BudgetBreach::RecordedAnchorEvents { .. }
        | BudgetBreach::RecordedAnchorBytes { .. } => too_many_aliases(),
        _ => format!("a text can have at most {MAX_NODES} keys and values; split it"),
    }
}

fn too_deep() -> String {
    format!("it is nested more than {MAX_DEPTH} levels deep")
}

fn too_many_aliases() -> String {
    "it has too many aliases and merges, or they expand to much more than the text itself; write the values out"
        .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_take_words_and_numbers_as_they_are_meant() {
        let text =
            "a: no\nb: on\nc: true\nd: 012\ne: 1_000\nf: 1e2\ng: 3\nh: 'no'\ni: ~\nj: -7\nk: 1.5\nl: 2026-01-01\n";
        let read = documents(text).expect("good");
        let meant = json!({
            "a": "no", "b": "on", "c": true, "d": "012", "e": "1_000", "f": 100, "g": 3, "h": "no", "i": null, "j": -7,
            "k": 1.5, "l": "2026-01-01",
        });
        assert_eq!(read, [meant]);
    }

    #[test]
    fn must_read_many_documents() {
        let read = documents("---\nkind: A\n---\nkind: B\n...\n---\n# nothing\n---\nkind: C\n").expect("good");
        assert_eq!(read, [json!({"kind": "A"}), json!({"kind": "B"}), json!({"kind": "C"})]);
        assert_eq!(documents(""), Ok(vec![]));
        assert_eq!(documents(r#"{"kind": "A", "x": [1, 2]}"#), Ok(vec![json!({"kind": "A", "x": [1, 2]})]));
    }

    #[test]
    fn must_refuse_what_is_not_meant() {
        for bad in [
            "a: 1\na: 2\n",
            "x: {a: 1, a: 2}\n",
            "a: &x [*x]\n",
            "a: !secret b\n",
            "a: .inf\n",
            "a: 1e999\n",
            "a: [{b: 18446744073709551616}]\n",
            "a: -9223372036854775809\n",
            "18446744073709551616\n",
            "a: &x 18446744073709551616\nb: *x\n",
            "a: &x {b: 18446744073709551616}\nc: {<<: *x}\n",
            "a: !!float 18446744073709551616\n",
            "a: !!int 18446744073709551616\n",
            "\u{feff}a: 18446744073709551616\n",
            "a: 1.5e30\nb: é\nc: +18446744073709551616 # .5\n",
            "a: 1\n---\nb: 1.5e30\n---\nc: 18446744073709551616\n",
            "a: \"\\0\"\n",
            "a: [1\n",
            "a: *nobody\n",
        ] {
            assert!(matches!(documents(bad), Err(Error::Malformed(_))), "{bad:?} is {:?}", documents(bad));
        }
    }

    #[test]
    fn must_take_a_double_however_large_if_it_is_written_as_one() {
        let text = "é: 18446744073709551616.0\nb: [1e22, &x -1.8446744073709552e+19]\nc: *x\nd: 18446744073709551615\n\
                    e: -9223372036854775808\nf: {<<: {g: 1.0e30}}\n--- 1e30\n";
        let read = documents(text).expect("good");
        let [first, last] = &read[..] else { panic!("{read:?}") };
        assert_eq!(
            (&first["é"], &first["b"][0], &first["f"]["g"]),
            (&json!(2f64.powi(64)), &json!(1e22), &json!(1e30))
        );
        assert_eq!(
            (&first["c"], &first["d"], &first["e"]),
            (&json!(-2f64.powi(64)), &json!(u64::MAX), &json!(i64::MIN))
        );
        assert_eq!(last, &json!(1e30));
    }

    #[test]
    fn must_describe_an_error_and_its_place() {
        let deep = format!("a: {}1{}", "[".repeat(MAX_DEPTH + 1), "]".repeat(MAX_DEPTH + 1));
        let many = "---\na: 1\n".repeat(MAX_DOCUMENTS + 2);
        let merges = "a: &a {b: 1}\n".to_owned() + &(0..1_100).map(|i| format!("k{i}: *a\n")).collect::<String>();
        for (text, place, sentence) in [
            ("a: 1\nb: 2\na: 3\n", Some((3, 1)), "the key \"a\" occurs twice; remove one".to_owned()),
            ("a: &x [*x]\n", None, "an alias refers to a node that contains it; remove the alias".to_owned()),
            ("a: 1\nb: *nobody\n", Some((2, 4)), "the alias has no anchor with its name before it".to_owned()),
            ("a: !secret b\n", None, "the tag !secret is not supported; write the value without it".to_owned()),
            (&deep, None, "it is nested more than 64 levels deep".to_owned()),
            (&many, None, "a file can have at most 20000 documents; split it".to_owned()),
            (&merges, None, too_many_aliases()),
        ] {
            let bad = read(text).expect_err(&sentence);
            let short = &text[..text.len().min(40)];
            assert_eq!(bad.sentence, sentence, "{short}");
            assert!(place.is_none_or(|place| place == (bad.line, bad.column)), "{short} {bad:?}");
        }
        let Err(Error::Malformed(whole)) = documents("a: [1\n") else { panic!("broken") };
        assert!(whole.contains("line ") && whole.contains(", column "), "{whole}");
    }

    #[test]
    fn must_limit_expansion_by_the_size_of_the_text() {
        // A few hundred bytes whose merges expand to tens of thousands of keys.
        let mut merges = format!("a0: &a0 {{{}}}\n", (0..20).map(|i| format!("k{i}: 1, ")).collect::<String>());
        for level in 1..5 {
            let before = level - 1;
            merges += &format!("a{level}: &a{level} [{}]\n", vec![format!("{{<<: *a{before}}}"); 6].join(","));
            merges = merges.replace(&format!("<<: *a{before}}}"), &format!("x: *a{before}}}"));
        }
        let nested: String =
            (1..8).map(|i| format!("b{i}: &b{i} {{<<: [*b{0}, *b{0}, *b{0}, *b{0}]}}\n", i - 1)).collect();
        let nested = format!("b0: &b0 {{a: 1, b: 2, c: 3}}\n{nested}");
        for text in [&merges, &nested] {
            assert!(text.len() < 700, "{}", text.len());
            let refused = read(text).expect_err("it expands to much more");
            assert_eq!(refused.sentence, too_many_aliases());
        }
        // A base that many short documents share.
        let base = (0..30).map(|i| format!("  key{i}: value\n")).collect::<String>();
        let users =
            (0..200).map(|i| format!("- {{<<: *base, tenant_id: t{i}, organization_id: acme}}\n")).collect::<String>();
        let shared = read(&format!("base: &base\n{base}tenants:\n{users}")).expect("it is shared as usual");
        assert_eq!(shared[0]["tenants"][199]["key29"], "value");
    }

    #[test]
    fn must_limit_expansion() {
        let mut laughs = "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n".to_owned();
        for level in 1..10 {
            let many = vec![format!("*a{}", level - 1); 9].join(", ");
            laughs += &format!("a{level}: &a{level} [{many}]\n");
        }
        let begun = std::time::Instant::now();
        assert!(matches!(documents(&laughs), Err(Error::Malformed(_))));
        assert!(documents(&"[".repeat(100_000)).is_err());
        assert!(documents(&format!("{}1", "- ".repeat(100_000))).is_err());
        let merges = format!("base: &b {{{}}}\n", (0..500).map(|i| format!("k{i}: 1, ")).collect::<String>());
        let merges = merges + &(0..500).map(|i| format!("m{i}: {{<<: *b}}\n")).collect::<String>();
        assert!(documents(&merges).is_err());
        // Without limits, this would take hours or all memory.
        assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
    }
}
