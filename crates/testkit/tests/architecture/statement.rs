//! Recognises SQL statements, as opposed to sentences that begin like one.

/// In capitals, one of these follows or the statement ends. `DELETE` is also an HTTP method.
const CAPITALS: [&str; 17] = [
    "ALTER", "BEGIN", "COMMIT", "CREATE", "DROP", "GRANT", "INSERT", "LISTEN", "NOTIFY", "PRAGMA", "REVOKE",
    "ROLLBACK", "SELECT", "SET", "TRUNCATE", "UPDATE", "WITH",
];

/// In capitals and in this order, these form a statement anywhere in a literal.
const INSIDE: [&[&str]; 5] =
    [&["SELECT", "FROM"], &["INSERT", "INTO"], &["UPDATE", "SET"], &["DELETE", "FROM"], &["CREATE", "TABLE"]];

/// In any case, the second must follow, because the first is an English word.
const PAIRS: [(&str, &[&str]); 16] = [
    ("insert", &["into", "or"]),
    ("replace", &["into"]),
    ("merge", &["into"]),
    ("delete", &["from"]),
    ("create", OBJECTS),
    ("alter", OBJECTS),
    ("drop", OBJECTS),
    ("truncate", &["table", "only"]),
    ("begin", &["isolation", "transaction", "immediate", "exclusive", "deferred", "read", "work"]),
    ("commit", &["work", "transaction", "and", "prepared"]),
    ("rollback", &["work", "transaction", "to", "prepared"]),
    ("set", &["local", "session", "transaction", "constraints", "role", "search_path", "statement_timeout"]),
    ("grant", &["select", "insert", "update", "delete", "all", "usage", "execute", "connect"]),
    ("revoke", &["select", "insert", "update", "delete", "all", "usage", "execute", "connect", "create"]),
    ("select", &["*", "distinct", "count", "exists", "coalesce", "max", "min"]),
    ("pragma", &["journal_mode", "synchronous", "foreign_keys", "busy_timeout", "user_version", "optimize"]),
];

const OBJECTS: &[&str] = &[
    "or",
    "unique",
    "temp",
    "temporary",
    "unlogged",
    "materialized",
    "table",
    "index",
    "function",
    "trigger",
    "view",
    "sequence",
    "schema",
    "role",
    "user",
    "type",
    "domain",
    "extension",
    "database",
    "policy",
    "constraint",
    "procedure",
];

/// A sentence has these where a statement has a name.
const ARTICLES: [&str; 9] = ["a", "an", "the", "this", "that", "your", "its", "all", "every"];

/// Returns the content of a literal in the source, without quotes and line continuations.
fn content(literal: &str) -> String {
    let inner = literal.split_once('"').map_or("", |(_, rest)| rest);
    let inner = inner.rsplit_once('"').map_or(inner, |(inner, _)| inner);
    inner.replace("\\n", " ").replace("\\\n", " ")
}

/// Whether a string literal is a statement, or begins one.
pub fn is_statement(literal: &str) -> bool {
    let text = content(literal);
    let words: Vec<&str> = text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
    let inside = INSIDE.iter().any(|wanted| {
        let mut rest = words.iter();
        wanted.iter().all(|wanted| rest.any(|word| word == wanted))
    });
    // One literal may contain several.
    inside
        || text
            .split(';')
            .any(|text| begins_one(text.trim_start_matches(|letter: char| letter == '(' || letter.is_whitespace())))
}

fn begins_one(text: &str) -> bool {
    let first = text.split(|letter: char| !letter.is_ascii_alphabetic()).next().unwrap_or_default();
    let rest = &text[first.len()..];
    if !(rest.is_empty() || rest.starts_with(char::is_whitespace)) {
        return false;
    }
    if CAPITALS.contains(&first) {
        return true;
    }
    let lower = text.to_ascii_lowercase();
    let words: Vec<&str> = lower.split_whitespace().collect();
    let word = |at: usize| words.get(at).copied().unwrap_or_default();
    let named = |at: usize| !ARTICLES.contains(&word(at));
    let second = word(1).split(['(', ';']).next().unwrap_or_default();
    let paired = PAIRS.iter().any(|(wanted, follow)| word(0) == *wanted && follow.contains(&second) && named(2));
    paired
        || match word(0) {
            // Columns, and the FROM clause.
            "select" => {
                let from = words.iter().position(|word| *word == "from");
                from.is_some_and(|from| {
                    named(from + 1) && (from == 2 || words[1..from - 1].iter().all(|w| w.ends_with(',')))
                }) || second.parse::<u32>().is_ok()
            }
            "update" => word(2) == "set" || (word(2), word(4)) == ("as", "set"),
            "with" => word(2).starts_with("as") && lower.contains('('),
            _ => false,
        }
}

mod tests {
    use super::*;

    #[test]
    fn a_statement_must_be_found_in_any_letters_and_on_any_lines() {
        for sql in [
            "SELECT a\\n FROM t",
            "select a from t",
            "Select a, b from t",
            "select 1",
            "select count(*) from t",
            "SELECT ",
            "(select * from t)",
            "WITH x AS (SELECT 1)",
            "with x as (select 1)",
            "insert into t values (1)",
            "INSERT",
            "insert or ignore into t",
            "update t set a = 1",
            "UPDATE ",
            "delete from t",
            "merge into t",
            "replace into t",
            "truncate table t",
            "TRUNCATE t",
            "create table t (a)",
            "create or replace function f()",
            "create unique index i",
            "alter table t",
            "drop index i",
            "grant select on t to r",
            "revoke all on t from r",
            "LISTEN jobs",
            "NOTIFY jobs",
            "PRAGMA a",
            "pragma user_version",
            "BEGIN",
            "begin immediate",
            "COMMIT",
            "commit work",
            "ROLLBACK",
            "set local b = 1",
            "SET a = 1",
            "SAVE; DROP TABLE t",
            "id IN (SELECT id FROM t)",
        ] {
            assert!(is_statement(&format!("\"{sql}\"")), "{sql}");
            assert!(is_statement(&format!("r#\"\n    {sql}\"#")), "{sql}");
        }
    }

    #[test]
    fn a_sentence_must_be_none() {
        for text in [
            "Select one from the list",
            "select what to show",
            "the UPDATE failed",
            "SELECTED FROM",
            "DELETE",
            "DELETE /v1",
            "update the tenant",
            "Delete a tenant from an organization",
            "delete from the list",
            "create a tenant",
            "Create tables",
            "drop it",
            "set a quota",
            "set",
            "with a hold",
            "with holds as they are",
            "begin",
            "commit",
            "listen on 127.0.0.1",
            "notify",
            "grant it",
            "revoke a key",
            "insert",
            "replace all",
            "merge it",
            "TENANCY_UPDATED",
            "BEGINNING",
            "SET-COOKIE",
        ] {
            assert!(!is_statement(&format!("\"{text}\"")), "{text}");
        }
    }
}
