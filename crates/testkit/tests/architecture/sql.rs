//! SQL of the record is in the store only, SQL of places is in placement only, and SQL gets time, ids and random numbers as parameters.

use crate::assert_none;
use crate::source::{Source, crates, files, product_sources, read, string_literals};
use crate::statement::is_statement;

/// Crates that may contain SQL; `testkit` and `bench` only for tests and measurements.
const WITH_SQL: [&str; 4] = ["store", "placement", "testkit", "bench"];

/// Files of the store that may contain statements, and their purpose.
const STATEMENTS_ARE_IN: &[(&str, &str)] = &[
    ("rows/table.rs", "description: what is read of a row"),
    ("rows/write.rs", "description: kinds of write"),
    ("tables/tenants.rs", "description: a tenant's stamp, and lists"),
    ("tables/organizations.rs", "read: lists"),
    ("search.rs", "read: searches"),
    ("tables/holds.rs", "description: reads by key"),
    ("tables/audit.rs", "read: lists"),
    ("tables/log_epochs.rs", "upkeep"),
    ("tables/environment_placements.rs", "read: counts and slots"),
    ("clock_watch.rs", "read: the time of the newest batch"),
    ("tables/aliases.rs", "description: reads by key"),
    ("tables/api_keys.rs", "read: lists"),
    ("sql.rs", "read: what lies within a scope"),
    ("current_rows.rs", "description: what the judge needs to see"),
    ("postgres/rows.rs", "description: the types that rows have there"),
    ("postgres/preconditions.rs", "commit: what was presumed"),
    ("postgres/flushes.rs", "commit: the log"),
    ("postgres/held_rows.rs", "commit: who holds a row"),
    ("postgres/standby.rs", "commit: what a standby has confirmed"),
    ("sqlite/writer.rs", "commit: the log"),
    ("model/mod.rs", "commit: the log"),
    ("model/rows.rs", "read: the shapes that the model knows"),
    ("postgres/one_read.rs", "read"),
    ("postgres/one_statement.rs", "read"),
    ("postgres/lookups.rs", "read: its transaction"),
    ("postgres/shared.rs", "upkeep: its transaction"),
    ("sqlite/readers.rs", "read: its transaction"),
    ("lib.rs", "read: whether anybody answers"),
    ("job_queue.rs", "read: open jobs, the size of the database"),
    ("log_tail.rs", "read: the log, to follow it"),
    ("names_in_use.rs", "read: what the configuration declares"),
    ("upkeep.rs", "upkeep"),
    ("upkeep/answers.rs", "upkeep"),
    ("upkeep/log.rs", "upkeep"),
    ("upkeep/restored.rs", "upkeep"),
    ("upkeep/data_keys.rs", "upkeep"),
    ("upkeep/plain_rows.rs", "upkeep"),
    ("sealing/keys.rs", "upkeep"),
    ("sealing/proof.rs", "upkeep"),
    ("upkeep/webhook_secrets.rs", "upkeep"),
    ("upkeep/deliveries.rs", "upkeep"),
    ("upkeep/dispatch.rs", "upkeep"),
    ("upkeep/outcomes.rs", "upkeep"),
    ("upkeep/leases.rs", "upkeep"),
    ("upkeep/replay.rs", "upkeep"),
    ("tables/webhook_deliveries.rs", "read: lists"),
    ("endpoints.rs", "read: the webhooks that an event concerns"),
    ("many_rows.rs", "description: many rows as parameters"),
    ("copy.rs", "copy: to another database"),
    ("postgres/copy.rs", "copy: to another database"),
    ("sqlite/backup.rs", "copy: to another file"),
    ("upkeep/hold_reconciler.rs", "upkeep"),
    ("seals/rows.rs", "read: the log, to seal and verify it"),
    ("seals/sealer.rs", "upkeep"),
    ("seals/verification.rs", "read: the log, to verify it"),
    ("postgres/partition.rs", "upkeep"),
    ("postgres/triggers.rs", "session: the database's triggers"),
    ("sqlite/triggers.rs", "session: the database's triggers"),
    ("postgres/connection.rs", "session"),
    ("sqlite/connection.rs", "session: its checkpoint"),
    ("postgres/committer.rs", "session: its transaction's end"),
    ("postgres/clock.rs", "session: the database's time"),
    ("postgres/listen.rs", "session: hints"),
    ("postgres/reach.rs", "session: whether it may write"),
    ("postgres/roles.rs", "migration"),
    ("migration.rs", "migration"),
    ("normal_forms.rs", "migration"),
    ("postgres/migrate.rs", "migration"),
    ("sqlite/migrate.rs", "migration"),
];

/// Purposes that may change rows: described writes, appends to the log, upkeep.
const CHANGES_ARE_IN: [&str; 4] =
    ["description: kinds of write", "commit: the log", "upkeep", "copy: to another database"];

/// Expressions by which the database would choose time, order or random values, in lower case. With a parenthesis it is
/// a call, without one a sequence of words. (A column may be called `serial`; as a type, more words follow.)
const OWN_WILL: [&str; 29] = [
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
    "setval(",
    "date()",
    "time()",
    "datetime()",
    "julianday()",
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

fn statements(source: &Source) -> Vec<String> {
    let literals = string_literals(&source.tokens).into_iter();
    literals
        .filter(|(_, text)| is_statement(text))
        .map(|(line, text)| source.finding(line, &format!("SQL outside of the store: {text}")))
        .collect()
}

fn script_elsewhere(path: &str) -> Option<String> {
    (!path.starts_with("crates/store/migrations/")).then(|| format!("{path}: an SQL file that is not a migration"))
}

fn own_will(text: &str) -> Option<&'static str> {
    let lower = text.to_ascii_lowercase();
    OWN_WILL.into_iter().find(|wanted| match wanted.strip_suffix('(') {
        // A call, with anything between name and parenthesis.
        Some(name) => calls(&lower, name).any(|_| true),
        // A call without arguments.
        None if wanted.ends_with("()") => {
            calls(&lower, &wanted[..wanted.len() - 2]).any(|inside| inside.starts_with(')'))
        }
        None if wanted.starts_with('\'') => lower.contains(wanted),
        None => {
            let wanted = words(wanted);
            words(&lower).windows(wanted.len()).any(|found| found == wanted)
        }
    })
}

/// Returns what follows each `name (`.
fn calls<'a>(text: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    text.match_indices(name).filter(|(at, _)| starts_word(text, *at)).filter_map(|(at, _)| {
        let inside = text[at + name.len()..].trim_start().strip_prefix('(')?;
        Some(inside.trim_start())
    })
}

fn starts_word(text: &str, at: usize) -> bool {
    !text[..at].ends_with(|letter: char| letter.is_alphanumeric() || letter == '_')
}

fn own_will_in_rust(source: &Source) -> Vec<String> {
    let literals = string_literals(&source.tokens).into_iter();
    literals
        .filter_map(|(line, text)| {
            // For a literal of several lines: the line within it.
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
    }
    findings.extend(files("crates", "sql").iter().filter_map(|path| script_elsewhere(path)));
    assert_none(&findings);
}

/// Returns statements of a source of the store that are not in the files of the table.
fn misplaced(inside: &str, source: &Source) -> Vec<String> {
    let purpose = STATEMENTS_ARE_IN.iter().find(|(path, _)| *path == inside).map(|(_, purpose)| *purpose);
    let changes = |text: &str| ["INSERT INTO", "UPDATE ", "DELETE FROM"].iter().any(|word| text.contains(word));
    let may_change = purpose.is_some_and(|purpose| CHANGES_ARE_IN.contains(&purpose) || purpose == "migration");
    let literals = string_literals(&source.tokens).into_iter().filter(|(_, text)| is_statement(text));
    literals
        // A lock is not a change.
        .filter(|(_, text)| purpose.is_none() || changes(&text.replace("KEY UPDATE", "")) && !may_change)
        .map(|(line, text)| source.finding(line, &format!("SQL in a file that must not contain it: {text}")))
        .collect()
}

/// Returns files of the table without a statement: permissions that are not needed.
fn without_statements(with: &[String]) -> Vec<String> {
    let unused = STATEMENTS_ARE_IN.iter().filter(|(path, _)| !with.iter().any(|with| with == path));
    unused
        .map(|(path, _)| format!("crates/store/src/{path} has no SQL: remove it from the table of this test"))
        .collect()
}

#[test]
fn sql_must_be_in_descriptions_reads_and_upkeep() {
    let (mut findings, mut with) = (Vec::new(), Vec::new());
    for source in product_sources("store") {
        let inside = source.path.strip_prefix("crates/store/src/").unwrap_or(&source.path).to_owned();
        findings.extend(misplaced(&inside, &source));
        if !statements(&source).is_empty() {
            with.push(inside);
        }
    }
    findings.extend(without_statements(&with));
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
fn a_statement_outside_of_the_store_must_be_found() {
    let found = |text: &str| statements(&Source::new("x.rs", text));
    assert_eq!(
        found("fn f() {\n    g(\"SELECT a\\n FROM t\");\n}"),
        ["x.rs:2: SQL outside of the store: \"SELECT a\\n FROM t\""]
    );
    assert_eq!(found("/// SELECT a FROM t\n// DELETE FROM t\nfn f() {}"), [""; 0]);
}

#[test]
fn a_statement_where_none_belongs_must_be_found() {
    let source = Source::new("x.rs", "const A: &str = \"UPDATE t SET a = 1\";");
    assert_eq!(misplaced("batch.rs", &source).len(), 1, "no file with SQL");
    assert_eq!(misplaced("list.rs", &source).len(), 1, "a read that changes");
    assert_eq!(misplaced("upkeep.rs", &source), [""; 0]);
    let all: Vec<_> = STATEMENTS_ARE_IN.iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_eq!(without_statements(&all), [""; 0]);
    assert_eq!(without_statements(&all[1..]).len(), 1);
    assert!(script_elsewhere("crates/server/src/x.sql").is_some() && script_elsewhere("crates/store/x.sql").is_some());
    assert_eq!(script_elsewhere("crates/store/migrations/0001_record.sqlite.sql"), None);
}

#[test]
fn a_database_with_a_will_of_its_own_must_be_found() {
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
        "setval('s', 1)",
        "SELECT date( )",
        "datetime()",
        "julianday()",
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
        "date(created_at)",
        "update()",
    ] {
        assert_eq!(own_will(sql), None, "{sql}");
    }
}

#[test]
fn a_will_of_its_own_with_a_reason_must_pass() {
    let source = Source::new("x.rs", "// reason: the clock's offset\nconst A: &str = \"select clock_timestamp()\";");
    assert_eq!(own_will_in_rust(&source), [""; 0]);
    assert_eq!(own_will_in_sql("x.sql", "-- reason: a check\nif x < now()"), [""; 0]);
    assert_eq!(own_will_in_sql("x.sql", "-- not now()"), [""; 0]);
}
