//! The log shows what was changed after it was committed.

use crate::harness::{Bench, full, small, tenant};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::json;
use tenancy_core::action::Action;
use tenancy_core::actor::Actor;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::ids::CorrelationId;
use tenancy_core::log_fault::{LogFault, LogFaultKind};
use tenancy_core::rules::lifecycle::request;
use tenancy_core::rules::{outcome, register};
use tenancy_core::scope::Scope;
use tenancy_store::database::Database;
use tenancy_store::page::{AuditFilter, LoggedEvent, Page};
use tenancy_store::{LogVerification, Sealed, Store};
use tenancy_testkit::Postgres;

/// A database whose rows somebody else can change, past its triggers.
struct Open {
    bench: Bench,
    execute: Box<dyn Fn(&str) + Send + Sync>,
    _directory: Option<tempfile::TempDir>,
}

async fn sqlite() -> Open {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenancy.db");
    let database = Database::Sqlite(path.clone());
    database.migrate(false).await.unwrap();
    let execute = move |sql: &str| {
        let connection = rusqlite::Connection::open(&path).unwrap();
        let mut triggers = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").unwrap();
        let names: Vec<String> = triggers.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        names.iter().for_each(|name| connection.execute_batch(&format!("DROP TRIGGER {name}")).unwrap());
        connection.execute_batch(sql).unwrap();
    };
    Open { bench: Bench::on(&database).await, execute: Box::new(execute), _directory: Some(directory) }
}

async fn postgres() -> Open {
    let database = Postgres::shared().database("seals");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let execute = move |sql: &str| database.execute(&format!("SET session_replication_role = replica; {sql}"));
    Open { bench: Bench::on(&url).await, execute: Box::new(execute), _directory: None }
}

/// Defines a test for each database.
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod on_sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::sqlite().await).await; })+
        }
        mod on_postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name(super::postgres().await).await; })+
        }
    };
}
on_both!(
    must_name_what_was_changed_after_it_was_sealed,
    must_name_what_does_not_fit_before_it_is_sealed,
    must_verify_a_long_log_in_parts,
    must_stay_verifiable_after_a_purge,
    must_stay_verifiable_when_a_month_has_expired,
    must_seal_a_log_whose_beginning_has_expired,
    must_let_one_of_several_seal,
);

/// Verifies the whole log and returns the sums.
async fn verified(store: &Store) -> LogVerification {
    let mut sum = store.verify_log(None).await.unwrap();
    while let Some(after) = sum.next.take() {
        let part = store.verify_log(Some(after)).await.unwrap();
        sum = LogVerification { events: sum.events + part.events, seals: sum.seals + part.seals, ..part };
    }
    sum
}

fn place(fault: Option<&LogFault>) -> Option<(LogFaultKind, i64)> {
    fault.map(|fault| (fault.kind, fault.position))
}

async fn log(store: &Store) -> Vec<LoggedEvent> {
    store.audit(&Scope::All, &AuditFilter::default(), &Page { after: None, limit: 500 }).await.unwrap().items
}

/// What is done, what undoes it, and the fault that is found.
type Case = (String, String, LogFaultKind, i64);

fn case(done: &str, undone: &str, kind: LogFaultKind, position: i64) -> Case {
    (done.to_owned(), undone.to_owned(), kind, position)
}

/// Removes rows of a table, or changes them first, and puts them back.
fn kept(table: &str, which: &str, change: &str, kind: LogFaultKind, position: i64) -> Case {
    let done = format!("CREATE TABLE kept AS SELECT * FROM {table} WHERE {which}; {change} WHERE {which}");
    let undone = format!("DELETE FROM {table} WHERE {which}; INSERT INTO {table} SELECT * FROM kept; DROP TABLE kept");
    (done, undone, kind, position)
}

fn of_events(actor: &str, head: i64) -> Vec<Case> {
    let forged = |at: i64| {
        let done = format!(
            "INSERT INTO tenant_audit SELECT substr(audit_id, 1, 35) || 'z', tenant_id, event_type, event_version, \
             'user:mallory', on_behalf_of, payload, correlation_id, occurred_at, {at} FROM tenant_audit WHERE position = 3"
        );
        case(&done, "DELETE FROM tenant_audit WHERE audit_id LIKE '%z'", LogFaultKind::Inserted, at)
    };
    vec![
        case(
            "UPDATE tenant_audit SET actor = 'user:mallory' WHERE position = 3",
            &format!("UPDATE tenant_audit SET actor = '{actor}' WHERE position = 3"),
            LogFaultKind::Changed,
            3,
        ),
        case(
            "UPDATE platform_audit SET event_version = 7 WHERE position = 1",
            "UPDATE platform_audit SET event_version = 1 WHERE position = 1",
            LogFaultKind::Changed,
            1,
        ),
        case(
            "UPDATE tenant_audit SET position = position + 100 WHERE position = 3",
            "UPDATE tenant_audit SET position = 3 WHERE position = 103",
            LogFaultKind::Removed,
            3,
        ),
        kept("tenant_audit", "position = 3", "DELETE FROM tenant_audit", LogFaultKind::Removed, 3),
        forged(3),
        forged(head + 5),
        forged(-1),
    ]
}

fn beside_events() -> Vec<Case> {
    let changed = r#"UPDATE audit_private SET content = '{"display_name":"Forged"}'"#;
    vec![
        kept("audit_private", "tenant_id = 't-1'", changed, LogFaultKind::Changed, 2),
        kept("audit_private", "tenant_id = 't-1'", "DELETE FROM audit_private", LogFaultKind::Removed, 2),
    ]
}

fn of_seals() -> Vec<Case> {
    vec![
        case(
            "UPDATE log_seals SET entries = 'p' || substr(entries, 2) WHERE first_position = 2",
            "UPDATE log_seals SET entries = 't' || substr(entries, 2) WHERE first_position = 2",
            LogFaultKind::Seal,
            2,
        ),
        kept("log_seals", "first_position = 1", "DELETE FROM log_seals", LogFaultKind::Seal, 2),
        case(
            "INSERT INTO log_seals SELECT 900, 901, previous_digest, last_audit_id, entries, digest, sealed_at \
             FROM log_seals WHERE first_position = 1",
            "DELETE FROM log_seals WHERE first_position = 900",
            LogFaultKind::Seal,
            900,
        ),
    ]
}

async fn must_name_what_was_changed_after_it_was_sealed(open: Open) {
    let (bench, execute) = (&open.bench, &open.execute);
    bench.organization("acme", json!({})).await;
    assert_eq!(bench.store.seal_log().await, Ok(Sealed { seals: 1, faults: 0 }));
    bench.register(&full("t-1", "acme")).await.unwrap();
    bench.register(&small("t-2", "acme")).await.unwrap();
    bench.drain().await;
    assert_eq!(bench.store.seal_log().await, Ok(Sealed { seals: 1, faults: 0 }));
    assert_eq!(bench.store.seal_log().await, Ok(Sealed::default()));
    let good = verified(&bench.store).await;
    let events = log(&bench.store).await;
    assert_eq!((good.fault.as_ref(), good.seals, good.sealed_position), (None, 2, good.position));
    assert_eq!((good.events, good.position), (events.len() as u64, events.last().unwrap().position));

    let head = good.position;
    let cases = of_events(&events[2].event.actor, head).into_iter().chain(beside_events()).chain(of_seals());
    for (done, undone, kind, position) in cases {
        execute(&done);
        let found = verified(&bench.store).await;
        assert_eq!(place(found.fault.as_ref()), Some((kind, position)), "{done}: {:?}", found.fault);
        execute(&undone);
        assert_eq!(verified(&bench.store).await, good, "{undone}");
    }
    // Reads do not show what does not fit its event.
    let first = events.iter().find(|event| event.event.tenant_id == Some(tenant("t-1"))).unwrap();
    assert!(!first.tampered && first.event.private.is_some());
    for content in ["{\"display_name\":\"Forged\"}", "[", "null"] {
        if content == "[" && bench.name == "sqlite" {
            continue;
        }
        execute(&format!("UPDATE audit_private SET content = '{content}' WHERE audit_id = '{}'", first.event.audit_id));
        let shown = log(&bench.store).await.into_iter().find(|event| event.position == first.position).unwrap();
        assert!(shown.tampered && shown.event.private.is_none(), "{content}: {shown:?}");
    }
}

async fn must_name_what_does_not_fit_before_it_is_sealed(open: Open) {
    let (bench, execute) = (&open.bench, &open.execute);
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    bench.register(&small("t-2", "acme")).await.unwrap();
    let good = verified(&bench.store).await;
    assert_eq!((good.fault, good.sealed_position, good.seals), (None, 0, 0));
    execute(
        "INSERT INTO tenant_audit SELECT substr(audit_id, 1, 35) || 'z', tenant_id, event_type, event_version, actor, \
         on_behalf_of, payload, correlation_id, occurred_at, position FROM tenant_audit WHERE position = 2",
    );
    assert_eq!(place(verified(&bench.store).await.fault.as_ref()), Some((LogFaultKind::Twice, 2)));
    // Sealing goes on, and the seal says that the position had several events.
    assert_eq!(bench.store.seal_log().await, Ok(Sealed { seals: 1, faults: 1 }));
    assert_eq!(place(verified(&bench.store).await.fault.as_ref()), Some((LogFaultKind::Twice, 2)));
    bench.register(&small("t-3", "acme")).await.unwrap();
    let head = log(&bench.store).await.last().unwrap().position;
    execute(&format!("DELETE FROM tenant_audit WHERE position = {head} OR audit_id LIKE '%z'"));
    assert_eq!(bench.store.seal_log().await, Ok(Sealed { seals: 1, faults: 1 }));
}

async fn must_verify_a_long_log_in_parts(open: Open) {
    let (bench, execute) = (&open.bench, &open.execute);
    bench.organization("acme", json!({})).await;
    bench.register(&small("t-1", "acme")).await.unwrap();
    // 25,000 events more: more seals, and more unsealed positions, than one call verifies.
    let numbers = match bench.name {
        "sqlite" => "WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < 25000)",
        _ => "WITH s (n) AS (SELECT generate_series(1, 25000))",
    };
    let id = match bench.name {
        "sqlite" => "printf('%08d', n)",
        _ => "lpad(n::text, 8, '0')",
    };
    execute(&format!(
        "INSERT INTO tenant_audit {numbers} SELECT substr(audit_id, 1, 27) || 'g' || {id}, tenant_id, event_type, event_version, \
         actor, on_behalf_of, payload, correlation_id, occurred_at, 2 + n FROM tenant_audit, s WHERE position = 2; \
         INSERT INTO log_batches SELECT 25002, 3, committed_at FROM log_batches WHERE last_position = 2",
    ));
    let unsealed = verified(&bench.store).await;
    assert_eq!((unsealed.fault, unsealed.events, unsealed.position, unsealed.seals), (None, 25_002, 25_002, 0));
    assert_eq!(bench.store.seal_log().await, Ok(Sealed { seals: 26, faults: 0 }));
    let sealed = verified(&bench.store).await;
    assert_eq!((sealed.fault, sealed.events, sealed.sealed_position), (None, 25_002, 25_002));
    execute("UPDATE tenant_audit SET correlation_id = 'other' WHERE position = 24000");
    assert_eq!(place(verified(&bench.store).await.fault.as_ref()), Some((LogFaultKind::Changed, 24_000)));
    for forged in ["00", "6c6f672d766572696669636174696f6e3a31"] {
        assert!(bench.store.verify_log(Some(forged.to_owned())).await.is_err());
    }
}

async fn must_stay_verifiable_after_a_purge(open: Open) {
    let bench = &open.bench;
    bench.organization("acme", json!({})).await;
    let mut document = full("t-1", "acme");
    document["desired_state"] = json!("Suspended");
    document["policies"]["purgeAfterDays"] = json!(0);
    bench.register(&document).await.unwrap();
    bench.drain().await;
    for action in [Action::Delete, Action::Purge] {
        let snapshot = bench.snapshot("t-1").await;
        let asked = request(&bench.declared, &snapshot, action, &mut bench.context()).unwrap();
        bench.commit(asked.changes).await.unwrap();
        bench.store.seal_log().await.unwrap();
        for job in bench.claim().await {
            let snapshot = bench.snapshot("t-1").await;
            let done = outcome::complete(&bench.declared, &snapshot, &job, &mut bench.context()).unwrap();
            bench.commit(done.changes).await.unwrap();
        }
    }
    let found = verified(&bench.store).await;
    assert_eq!(found.fault, None);
    assert!(log(&bench.store).await.iter().all(|event| !event.tampered));
    bench.store.seal_log().await.unwrap();
    let found = verified(&bench.store).await;
    assert_eq!((found.fault, found.sealed_position), (None, found.position));
}

/// First moment of the month that is this number of months ago.
fn month(ago: i64) -> Timestamp {
    let first = Timestamp::now().to_zoned(TimeZone::UTC).date().first_of_month();
    first.checked_sub(Span::new().months(ago)).unwrap().to_zoned(TimeZone::UTC).unwrap().timestamp()
}

/// Registers tenants of two old months: some at the end of one, then some in the next.
async fn register_in_old_months(open: &Open) {
    let bench = &open.bench;
    if bench.name == "postgres" {
        for ago in [3, 2] {
            let name = month(ago).to_zoned(TimeZone::UTC).strftime("tenant_audit_%Y_%m").to_string();
            (open.execute)(&format!("SELECT log_add_partition('{name}')"));
        }
    }
    bench.organization("acme", json!({})).await;
    for (number, at) in [(1, -2), (2, -1), (3, 1), (4, 2)] {
        let time = month(2).checked_add(jiff::SignedDuration::from_secs(at)).unwrap();
        let mut random = [7; 32];
        random[0] = number;
        let mut context = DecisionContext::new(time, random, Actor::system("test"), CorrelationId::known("c"));
        let manifest = bench.manifest(&small(&format!("t-{number}"), "acme"));
        let decision = register::register(&bench.declared, &manifest, Vec::new(), &mut context).unwrap();
        bench.commit(decision.changes).await.unwrap();
    }
}

async fn must_stay_verifiable_when_a_month_has_expired(open: Open) {
    let (bench, execute) = (&open.bench, &open.execute);
    register_in_old_months(&open).await;
    assert_eq!(bench.store.seal_log().await, Ok(Sealed { seals: 2, faults: 0 }), "a seal ends with its month");
    let all = verified(&bench.store).await;
    assert_eq!((all.fault, all.expired), (None, 0));
    bench.store.raise_log_floor(month(2)).await.unwrap();
    bench.store.remove_expired_log(month(2)).await.unwrap();
    let rest = verified(&bench.store).await;
    assert_eq!((rest.fault, rest.expired), (None, 2));
    assert_eq!(rest.digest, all.digest);
    execute("DELETE FROM tenant_audit WHERE position = 4");
    assert_eq!(place(verified(&bench.store).await.fault.as_ref()), Some((LogFaultKind::Removed, 4)));
}

async fn must_seal_a_log_whose_beginning_has_expired(open: Open) {
    let (bench, execute) = (&open.bench, &open.execute);
    register_in_old_months(&open).await;
    bench.store.raise_log_floor(month(2)).await.unwrap();
    bench.store.remove_expired_log(month(2)).await.unwrap();
    assert_eq!(bench.store.seal_log().await, Ok(Sealed { seals: 1, faults: 0 }));
    let found = verified(&bench.store).await;
    assert_eq!((found.fault, found.expired), (None, 2));
    execute("DELETE FROM platform_audit WHERE position = 1");
    assert_eq!(place(verified(&bench.store).await.fault.as_ref()), Some((LogFaultKind::Removed, 1)));
}

async fn must_let_one_of_several_seal(open: Open) {
    let bench = &open.bench;
    bench.organization("acme", json!({})).await;
    for number in 0..8 {
        bench.register(&small(&format!("t-{number}"), "acme")).await.unwrap();
        let sealers = (0..4).map(|_| {
            let store = bench.store.clone();
            tokio::spawn(async move { store.seal_log().await.unwrap().seals })
        });
        let mut seals = 0;
        for sealer in sealers.collect::<Vec<_>>() {
            seals += sealer.await.unwrap();
        }
        assert_eq!(seals, 1);
    }
    let found = verified(&bench.store).await;
    assert_eq!((found.fault, found.sealed_position, found.seals), (None, found.position, 8));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_name_what_the_serving_role_has_forged() {
    let cluster = Postgres::start();
    let database = cluster.database("forged");
    database.execute("CREATE ROLE serving LOGIN");
    let owner = Database::Postgres(database.url());
    owner.migrate(false).await.unwrap();
    owner.grant("serving").await.unwrap();
    let bench = Bench::on(&Database::Postgres(database.url_as("serving"))).await;
    bench.organization("acme", json!({})).await;
    bench.register(&full("t-1", "acme")).await.unwrap();
    assert_eq!(bench.store.seal_log().await, Ok(Sealed { seals: 1, faults: 0 }));
    let client = database.connect().await;
    client.batch_execute("SET ROLE serving").await.unwrap();
    for refused in ["UPDATE log_seals SET digest = ''", "DELETE FROM log_seals", "TRUNCATE log_seals"] {
        client.batch_execute(refused).await.expect_err(refused);
    }
    client
        .batch_execute(
            "INSERT INTO tenant_audit SELECT substr(audit_id, 1, 35) || 'z', tenant_id, event_type, event_version, \
             'user:mallory', on_behalf_of, payload, correlation_id, occurred_at - interval '1 day', position \
             FROM tenant_audit WHERE position = 2",
        )
        .await
        .unwrap();
    assert_eq!(place(verified(&bench.store).await.fault.as_ref()), Some((LogFaultKind::Inserted, 2)));
    database.execute("SET session_replication_role = replica; DELETE FROM tenant_audit WHERE audit_id LIKE '%z'");
    client.batch_execute("UPDATE audit_private SET content = '{}' WHERE tenant_id = 't-1'").await.unwrap();
    assert_eq!(place(verified(&bench.store).await.fault.as_ref()), Some((LogFaultKind::Changed, 2)));
    assert!(log(&bench.store).await[1].tampered);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_report_missing_triggers_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenancy.db");
    let database = Database::Sqlite(path.clone());
    database.migrate(false).await.unwrap();
    let wrong = async || database.look().await.unwrap().wrong;
    assert_eq!(wrong().await, Vec::<String>::new());
    let execute = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    execute("DROP TRIGGER tenant_audit_no_update");
    assert!(wrong().await[0].contains("trigger tenant_audit_no_update of table tenant_audit is missing"));
    execute("CREATE TRIGGER tenant_audit_no_update BEFORE UPDATE ON tenant_audit BEGIN SELECT 1; END");
    assert!(wrong().await[0].contains("trigger tenant_audit_no_update of table tenant_audit was changed"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_report_missing_triggers_on_postgresql() {
    let database = Postgres::shared().database("triggers");
    let url = Database::Postgres(database.url());
    url.migrate(false).await.unwrap();
    let wrong = async || url.look().await.unwrap().wrong;
    assert_eq!(wrong().await, Vec::<String>::new());
    for (done, named) in [
        ("DROP TRIGGER platform_audit_append_only ON platform_audit", "platform_audit_append_only"),
        ("ALTER TABLE log_seals DISABLE TRIGGER log_seals_no_truncate", "log_seals_no_truncate"),
    ] {
        database.execute(done);
        assert!(wrong().await.iter().any(|wrong| wrong.contains(named)), "{done}");
    }
    let partition = "SELECT max(inhrelid::regclass::text) FROM pg_inherits WHERE inhparent = 'tenant_audit'::regclass";
    let partition = database.value(partition);
    database.execute(&format!("DROP TRIGGER no_truncate ON {partition}"));
    assert!(wrong().await.iter().any(|wrong| wrong.contains(&partition)));
}
