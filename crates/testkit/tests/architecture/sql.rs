//! SQL is in the store only, and takes time, ids and chance as parameters.

use crate::assert_none;
use crate::source::{Source, crates, files, product_sources, read, string_literals};

/// Where SQL may be, and where it is only for tests and measurements.
const WITH_SQL: [&str; 3] = ["store", "testkit", "bench"];

/// Where in the store statements are, and what for.
const STATEMENTS_ARE_IN: [(&str, &str); 20] = [
    ("rows/table.rs", "description: kinds of write"),
    ("rows/record.rs", "description: a tenant's stamp"),
    ("found.rs", "description: what the judge needs to see"),
    ("keyed.rs", "description: reads by key"),
    ("postgres/rows.rs", "description: the types that rows have there"),
    ("postgres/asserted.rs", "commit: what was presumed"),
    ("postgres/flushes.rs", "commit: the log"),
    ("sqlite/writer.rs", "commit: the log"),
    ("model/mod.rs", "commit: the log"),
    ("postgres/one_read.rs", "read"),
    ("list.rs", "read: lists"),
    ("lib.rs", "read: whether anybody answers"),
    ("upkeep.rs", "upkeep"),
    ("upkeep/answers.rs", "upkeep"),
    ("upkeep/log.rs", "upkeep"),
    ("upkeep/settling.rs", "upkeep"),
    ("postgres/partition.rs", "upkeep"),
    ("postgres/connection.rs", "session"),
    ("postgres/migrate.rs", "migration"),
    ("sqlite/migrate.rs", "migration"),
];

/// What of these changes rows: described, appended to the log, or kept up.
const CHANGES_ARE_IN: [&str; 3] = ["description: kinds of write", "commit: the log", "upkeep"];

/// Words in this order, in capitals, are a statement.
const STATEMENTS: [&[&str]; 9] = [
    &["SELECT", "FROM"],
    &["INSERT", "INTO"],
    &["UPDATE", "SET"],
    &["DELETE", "FROM"],
    &["CREATE", "TABLE"],
    &["ALTER", "TABLE"],
    &["DROP", "TABLE"],
    &["TRUNCATE", "TABLE"],
    &["SELECT", "1"],
];

/// What lets the database decide on time, order or chance, in lower case. With a parenthesis it is a
/// call, without one it is words in a row (a column may be called `serial`; as a type more follows).
const OWN_WILL: [&str; 24] = [
    "now(",
    "clock_timestamp(",
    "transaction_timestamp(",
    "statement_timestamp(",
    "timeofday(",
    "current_timestamp",
    "current_date",
    "current_time",
    "localtimestamp",
    "localtime",
    "nextval(",
    "random(",
    "randomblob(",
    "gen_random_uuid(",
    "uuid_generate_v4(",
    "unixepoch(",
    "bigserial",
    "serial primary",
    "serial not null",
    "serial unique",
    "as identity",
    "smallserial",
    "autoincrement",
    "'now'",
];

fn words(text: &str) -> Vec<&str> {
    text.split(|letter: char| !letter.is_alphanumeric() && letter != '_').filter(|word| !word.is_empty()).collect()
}

fn is_statement(text: &str) -> bool {
    let words = words(text);
    STATEMENTS.iter().any(|statement| {
        let mut rest = words.iter();
        statement.iter().all(|wanted| rest.any(|word| word == wanted))
    })
}

fn statements(source: &Source) -> Vec<String> {
    let literals = string_literals(&source.tokens).into_iter();
    literals
        .filter(|(_, text)| is_statement(text))
        .map(|(line, text)| source.finding(line, &format!("SQL outside of the store: {text}")))
        .collect()
}

fn own_will(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    OWN_WILL.into_iter().find(|wanted| match wanted.strip_suffix('(') {
        // A call, whatever is between name and parenthesis.
        Some(name) => {
            lower.match_indices(name).any(|(at, _)| starts_word(&lower, at) && follows(&lower, at + name.len(), '('))
        }
        None if wanted.starts_with('\'') => lower.contains(wanted),
        None => {
            let wanted = words(wanted);
            words(&lower).windows(wanted.len()).any(|found| found == wanted)
        }
    })
}

fn starts_word(text: &str, at: usize) -> bool {
    !text[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

fn follows(text: &str, from: usize, wanted: char) -> bool {
    text[from..].trim_start().starts_with(wanted)
}

fn own_will_in_rust(source: &Source) -> Vec<String> {
    let literals = string_literals(&source.tokens).into_iter();
    literals
        .filter_map(|(line, text)| {
            // A literal of several lines: the line within it.
            text.lines().enumerate().find_map(|(offset, text)| Some((line + offset, own_will(text)?)))
        })
        .filter(|(line, _)| !source.has_reason(*line))
        .map(|(line, found)| source.finding(line, &format!("`{found}` in SQL: bind it as a parameter")))
        .collect()
}

fn own_will_in_sql(path: &str, text: &str) -> Vec<String> {
    let mut findings = Vec::new();
    let mut above = "";
    for (index, line) in text.lines().enumerate() {
        let code = line.split("--").next().unwrap_or_default();
        let reason = [line, above].iter().any(|line| line.contains("-- reason: "));
        if let Some(found) = own_will(code).filter(|_| !reason) {
            findings.push(format!("{path}:{}: `{found}` in SQL: bind it as a parameter", index + 1));
        }
        above = line;
    }
    findings
}

#[test]
fn sql_must_be_in_the_store_only() {
    let mut findings = Vec::new();
    for name in crates().iter().filter(|name| !WITH_SQL.contains(&name.as_str())) {
        findings.extend(product_sources(name).iter().flat_map(statements));
        let scripts = files(&format!("crates/{name}/src"), "sql");
        findings.extend(scripts.iter().map(|path| format!("{path}: SQL outside of the store")));
    }
    assert_none(&findings);
}

#[test]
fn sql_must_be_in_descriptions_reads_and_upkeep() {
    let mut findings = Vec::new();
    for source in product_sources("store") {
        let inside = source.path.strip_prefix("crates/store/src/").unwrap_or(&source.path);
        let purpose = STATEMENTS_ARE_IN.iter().find(|(path, _)| *path == inside).map(|(_, purpose)| *purpose);
        let changes = |text: &str| ["INSERT INTO", "UPDATE ", "DELETE FROM"].iter().any(|word| text.contains(word));
        let may_change = purpose.is_some_and(|purpose| CHANGES_ARE_IN.contains(&purpose) || purpose == "migration");
        for (line, text) in string_literals(&source.tokens).into_iter().filter(|(_, text)| is_statement(text)) {
            // A lock is no change.
            if purpose.is_none() || changes(&text.replace("KEY UPDATE", "")) && !may_change {
                findings.push(source.finding(line, &format!("SQL where none belongs: {text}")));
            }
        }
    }
    assert_none(&findings);
}

#[test]
fn sql_must_take_time_ids_and_chance_as_parameters() {
    let mut findings: Vec<String> = product_sources("store").iter().flat_map(own_will_in_rust).collect();
    for path in files("crates/store", "sql") {
        findings.extend(own_will_in_sql(&path, &read(&path)));
    }
    assert_none(&findings);
}

#[test]
fn a_statement_outside_of_the_store_is_found() {
    let found = |text: &str| statements(&Source::new("x.rs", text));
    assert_eq!(
        found("fn f() {\n    g(\"SELECT a\\n FROM t\");\n}"),
        ["x.rs:2: SQL outside of the store: \"SELECT a\\n FROM t\""]
    );
    for sql in ["INSERT INTO t VALUES (1)", "UPDATE t SET a = 1", "DELETE FROM t", "CREATE TABLE t (a)"] {
        assert_eq!(found(&format!("const A: &str = r#\"{sql}\"#;")).len(), 1, "{sql}");
    }
    for text in ["Select one from the list", "the UPDATE failed", "SELECTED FROM"] {
        assert_eq!(found(&format!("const A: &str = \"{text}\";")), [""; 0], "{text}");
    }
    assert_eq!(found("/// SELECT a FROM t\n// DELETE FROM t\nfn f() {}"), [""; 0]);
}

#[test]
fn a_database_with_a_will_of_its_own_is_found() {
    for sql in [
        "VALUES (now())",
        "NOW ( )",
        "default CURRENT_TIMESTAMP",
        "nextval('s')",
        "order by random()",
        "strftime('%s', 'now')",
        "id BIGSERIAL",
        "id serial  PRIMARY KEY",
        "gen_random_uuid()",
    ] {
        let source = Source::new("x.rs", &format!("const A: &str = \"\n{sql}\";"));
        assert_eq!(own_will_in_rust(&source).len(), 1, "{sql}");
        assert!(own_will_in_rust(&source)[0].starts_with("x.rs:2: "), "the line within the literal");
        assert_eq!(own_will_in_sql("x.sql", sql).len(), 1, "{sql}");
    }
    for sql in [
        "select known()",
        "pseudorandom(1)",
        "select nowhere",
        "unknown now",
        "serialized",
        "serial bigint",
        "(a, serial)",
    ] {
        assert_eq!(own_will(sql), None, "{sql}");
    }
}

#[test]
fn a_will_of_its_own_with_a_reason_passes() {
    let source = Source::new("x.rs", "// reason: the clock's offset\nconst A: &str = \"select clock_timestamp()\";");
    assert_eq!(own_will_in_rust(&source), [""; 0]);
    assert_eq!(own_will_in_sql("x.sql", "-- reason: a check\nif x < now()"), [""; 0]);
    assert_eq!(own_will_in_sql("x.sql", "-- not now()"), [""; 0]);
}
