//! A purge removes data that may be personal, and leaves the log unchanged.

use crate::harness::{Bench, full, organization, small, tenant};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use tenancy_core::Error;
use tenancy_core::action::Action;
use tenancy_core::changes::{Conflict, ERASED, IdempotencyRecord};
use tenancy_core::job::{Failure, FailureCode};
use tenancy_core::json::{Object, merge_patch};
use tenancy_core::rules::lifecycle::{Suspension, request, suspend};
use tenancy_core::rules::organizations::{OrganizationManifest, change};
use tenancy_core::rules::outcome;
use tenancy_core::scope::Scope;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::State;
use tenancy_store::database::Database;
use tenancy_store::page::{AuditFilter, LoggedEvent, Page};
use tenancy_store::upkeep::Progress;

/// Text in every field that may be personal.
const PERSONAL: &str = "Zoë-Zimmermann";

/// Text in every field of an organization that may be personal. An organization is never purged.
const CUSTOMER: &str = "Ylva-Ylikoski";

/// Rows of every table as text.
type Tables = BTreeMap<String, Vec<String>>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_empty_what_may_be_personal_with_a_purge_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenancy.db");
    must_empty_what_may_be_personal_with_a_purge(&Database::Sqlite(path.clone()), &|| sqlite(&path)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_empty_what_may_be_personal_with_a_purge_on_postgresql() {
    let database = tenancy_testkit::Postgres::shared().database("erasure");
    let url = Database::Postgres(database.url());
    must_empty_what_may_be_personal_with_a_purge(&url, &|| postgres(&database)).await;
}

fn sqlite(path: &std::path::Path) -> Tables {
    let connection = rusqlite::Connection::open(path).unwrap();
    let all = |sql: &str| -> Vec<String> {
        let mut statement = connection.prepare(sql).unwrap();
        let columns = statement.column_count();
        let row = |row: &rusqlite::Row<'_>| {
            let values = (0..columns).map(|index| Ok(format!("{:?}", row.get::<_, rusqlite::types::Value>(index)?)));
            Ok(values.collect::<rusqlite::Result<Vec<_>>>()?.join(" "))
        };
        statement.query_map([], row).unwrap().collect::<rusqlite::Result<_>>().unwrap()
    };
    let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    names.into_iter().map(|name| (name.clone(), all(&format!("SELECT * FROM {name}")))).collect()
}

fn postgres(database: &tenancy_testkit::Database) -> Tables {
    let text = |row: Vec<Option<String>>| row.into_iter().flatten().collect::<String>();
    let names = "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p') \
                 AND NOT relispartition";
    let names = database.rows(names).into_iter().map(text);
    let rows = |name: &str| database.rows(&format!("SELECT t::text FROM {name} t")).into_iter().map(text).collect();
    names.map(|name| (name.clone(), rows(&name))).collect()
}

/// Tables that contain a text, in any case.
fn standing<'a>(tables: &'a Tables, text: &str) -> BTreeSet<&'a str> {
    let holds = |rows: &Vec<String>| rows.iter().any(|row| row.to_lowercase().contains(&text.to_lowercase()));
    tables.iter().filter(|(_, rows)| holds(rows)).map(|(name, _)| name.as_str()).collect()
}

/// Rows that do not belong to the purged tenant.
fn others(tables: &Tables) -> Vec<&String> {
    let kept = ["tenants", "tenant_versions", "environments", "environment_versions", "aliases", "tenant_webhooks"];
    let kept = [&kept[..], &["tenant_jobs", "audit_private", "holds"]].concat();
    let mut rows: Vec<_> = kept.iter().flat_map(|name| &tables[*name]).filter(|row| row.contains("acme-us")).collect();
    rows.sort();
    rows
}

fn personal(id: &str) -> Value {
    let mut document = full(id, "acme");
    let more = json!({
        "display_name": PERSONAL,
        "labels": {"owner": PERSONAL},
        "aliases": {"crm": PERSONAL},
        "billing": {"invoices": {"to": PERSONAL}},
        "quotas": {"odd": PERSONAL, PERSONAL: 7},
        "policies": {"purgeAfterDays": 0, "odd": PERSONAL, PERSONAL: 7},
    });
    merge_patch(&mut document, &more);
    document["environments"][0]["quotas"]["odd"] = json!(PERSONAL);
    document["environments"][0]["quotas"][PERSONAL] = json!(7);
    document["webhooks"][0]["url"] = json!("https://hooks.example.com/Zoë-Zimmermann");
    document
}

async fn log(bench: &Bench) -> Vec<LoggedEvent> {
    bench.store.audit(&Scope::All, &AuditFilter::default(), &Page { after: None, limit: 500 }).await.unwrap().items
}

async fn must_empty_what_may_be_personal_with_a_purge(database: &Database, tables: &(dyn Fn() -> Tables + Sync)) {
    database.migrate(false).await.unwrap();
    let bench = Bench::on(database).await;
    bench.organization("acme", json!({"tenants": 2})).await;
    let mut other = full("acme-us", "acme");
    other["display_name"] = json!("Another Name");
    bench.register(&other).await.unwrap();
    label_the_organization(&bench).await;
    lead_a_life(&bench).await;
    let (before, said) = (tables(), log(&bench).await);
    let expected = ["aliases", "environments", "holds", "idempotency_records"];
    let more = ["organization_usage", "tenant_jobs", "tenant_labels", "tenant_webhooks", "tenants"];
    let expected: BTreeSet<_> = expected.into_iter().chain(more).collect();
    assert_eq!(standing(&before, PERSONAL), expected, "not in the log, nor in what is encrypted");
    assert_eq!(standing(&before, CUSTOMER), BTreeSet::from(["organizations"]), "neither here");

    let snapshot = bench.snapshot("acme-eu").await;
    let asked = request(&bench.declared, &snapshot, Action::Purge, &mut bench.context()).unwrap();
    bench.commit(asked.changes).await.unwrap();
    let job = bench.claim().await.remove(0);
    let progress = Progress { progress: 0.5, steps: job.steps.clone(), log: format!("destroyed {PERSONAL}\n") };
    assert!(bench.store.progress(&(job.job_id.clone(), job.lease_epoch), progress).await.unwrap());
    let snapshot = bench.snapshot("acme-eu").await;
    let purged = outcome::complete(&bench.declared, &snapshot, &job, &mut bench.context()).unwrap();
    bench.commit(purged.changes).await.unwrap();

    let after = tables();
    // Usage rows contain the names of quotas; outdated rows are kept until upkeep removes them.
    let older_sums = (bench.name == "postgres").then_some("organization_usage");
    assert_eq!(standing(&after, PERSONAL), BTreeSet::from_iter(older_sums));
    let erased = bench.store.answer("digest").await.unwrap().unwrap();
    assert_eq!((erased.status, erased.body.as_str(), erased.headers.len()), (ERASED, "", 0), "the record stays");
    bench.store.remove_expired().await.unwrap();
    assert_eq!(standing(&tables(), PERSONAL), BTreeSet::new());
    assert_eq!(others(&after), others(&before), "rows of other tenants");
    if let Database::Sqlite(path) = database {
        assert_eq!(left_in_the_files(path, &[PERSONAL], 0).await, [""; 0]);
        assert!(occurs(&std::fs::read(path).unwrap(), "Another Name"), "the log was written to the file");
    }
    assert!(!standing(&after, "Another Name").is_empty());
    assert_eq!(bench.snapshot("acme-eu").await, purged.snapshot);
    the_log_stays(&said, &log(&bench).await);
    a_tombstone_stays(&bench, &purged.snapshot).await;
}

fn occurs(bytes: &[u8], text: &str) -> bool {
    String::from_utf8_lossy(bytes).contains(text)
}

/// Which of these texts the database and its write-ahead log contain, also in free pages, once there are at most `few`, or
/// after five seconds.
async fn left_in_the_files<'t>(path: &std::path::Path, texts: &[&'t str], few: usize) -> Vec<&'t str> {
    let log = std::path::PathBuf::from(format!("{}-wal", path.display()));
    let left = || {
        let found = [path, &log].map(|path| String::from_utf8_lossy(&std::fs::read(path).unwrap()).into_owned());
        let is_left = |text: &&&str| found.iter().any(|found| found.contains(**text));
        texts.iter().filter(is_left).copied().collect::<Vec<_>>()
    };
    for _ in 0..50 {
        if left().len() <= few {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    left()
}

/// Many tenants in any order: pages are split and rows move between them. SQLite can leave a copy of a moved row in the free
/// space of its page, which `secure_delete` does not overwrite: of few tenants, and of all without it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_leave_at_most_a_few_copies_of_many_purged_tenants_in_the_sqlite_files() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("tenancy.db");
    let database = Database::Sqlite(path.clone());
    database.migrate(false).await.unwrap();
    let bench = Bench::on(&database).await;
    bench.organization("acme", json!({})).await;
    let marker = |number: u64| format!("Zimmermann-{number:03}-Zoe");
    let document = |number: u64, more: &str| {
        let mut document = personal(&format!("t-{}", number * 7919 % 1009));
        let text = format!("{}{more}", marker(number));
        let fields = json!({"display_name": text, "labels": {"owner": text}, "aliases": {"crm": text},
            "quotas": {"odd": text}, "billing": {"invoices": {"to": text}}, "desired_state": "Suspended"});
        merge_patch(&mut document, &fields);
        document["webhooks"][0]["url"] = json!(format!("https://hooks.example.com/{text}"));
        document
    };
    let numbers = 0..120;
    for number in numbers.clone() {
        bench.register(&document(number, "")).await.unwrap();
    }
    bench.drain().await;
    for number in numbers.clone() {
        let id = format!("t-{}", number * 7919 % 1009);
        let longer = document(number, &"+".repeat(usize::try_from(number).unwrap() + 1));
        let changed = bench.change(&bench.snapshot(&id).await, &longer, &[]).unwrap();
        bench.commit(changed.changes).await.unwrap();
    }
    let gone: Vec<_> = numbers.filter(|number| number % 3 == 0).collect();
    for action in [Action::Delete, Action::Purge] {
        for number in &gone {
            let snapshot = bench.snapshot(&format!("t-{}", number * 7919 % 1009)).await;
            let asked = request(&bench.declared, &snapshot, action, &mut bench.context()).unwrap();
            bench.commit(asked.changes).await.unwrap();
        }
        bench.drain().await;
    }
    let markers: Vec<_> = gone.into_iter().map(marker).collect();
    let markers: Vec<_> = markers.iter().map(String::as_str).collect();
    let left = left_in_the_files(&path, &markers, markers.len() / 10).await;
    assert!(left.len() <= markers.len() / 10, "{left:?}");
    assert!(occurs(&std::fs::read(&path).unwrap(), &marker(1)));
}

/// Sets labels on the organization, then changes them.
async fn label_the_organization(bench: &Bench) {
    for label in [CUSTOMER.to_owned(), format!("{CUSTOMER}!")] {
        let document = json!({"organization_id": "acme", "caps": {"tenants": 2}, "labels": {"contact": label}});
        let (manifest, _) = OrganizationManifest::parse(&bench.declared, &document).unwrap();
        let known = bench.store.organization(&organization("acme")).await.unwrap().unwrap();
        let labelled = change(&known.organization, &[], &known.usage, &manifest, &mut bench.context()).unwrap();
        bench.commit(labelled.changes).await.unwrap();
    }
}

/// Creates a tenant with all personal data, changes it, fails its jobs with a reason, holds it and archives it.
async fn lead_a_life(bench: &Bench) {
    let mut registration = bench.registration(&personal("acme-eu"));
    let answer = IdempotencyRecord {
        digest: "digest".to_owned(),
        request_digest: "request".to_owned(),
        status: 201,
        headers: Object::new(),
        body: format!("{{\"display_name\": \"{PERSONAL}\"}}"),
        created_at: bench.store.now(),
        expires_at: bench.store.now() + jiff::SignedDuration::from_hours(24),
        tenant_id: None,
    };
    registration.changes.as_mut().unwrap().store_answer(answer);
    bench.commit(registration.changes).await.unwrap();
    bench.drain().await;
    let mut document = personal("acme-eu");
    let more = json!({"display_name": format!("{PERSONAL} the second"), "labels": {"owner": format!("{PERSONAL}!")},
                      "billing": {"invoices": {"to": format!("{PERSONAL}!")}}, "aliases": {"crm": format!("{PERSONAL}!")},
                      "quotas": {"odd": format!("{PERSONAL}!"), PERSONAL: 8},
                      "policies": {"odd": format!("{PERSONAL}!"), PERSONAL: 8}});
    merge_patch(&mut document, &more);
    document["environments"][0]["quotas"]["odd"] = json!({PERSONAL: format!("{PERSONAL}!")});
    document["environments"][0]["quotas"][PERSONAL] = json!(8);
    let changed = bench.change(&bench.snapshot("acme-eu").await, &document, &[]).unwrap();
    bench.commit(changed.changes).await.unwrap();
    for kind in ["operator", "billing"] {
        let hold = Suspension { hold: Some(kind.to_owned()), reason: Some(format!("{PERSONAL} said so")), until: None };
        let held = suspend(&bench.declared, &bench.snapshot("acme-eu").await, &hold, &mut bench.context()).unwrap();
        bench.commit(held.changes).await.unwrap();
        for job in bench.claim().await {
            let progress =
                Progress { progress: 0.1, steps: job.steps.clone(), log: format!("looking for {PERSONAL}\n") };
            assert!(bench.store.progress(&(job.job_id.clone(), job.lease_epoch), progress).await.unwrap());
            let (code, message) = (FailureCode::ProvisionerFailed, format!("{PERSONAL} is logged in"));
            let failure = Failure { code, message, step: Some(0) };
            let snapshot = bench.snapshot("acme-eu").await;
            let failed = outcome::fail(&bench.declared, &snapshot, &job, failure, &mut bench.context()).unwrap();
            bench.commit(failed.changes).await.unwrap();
        }
    }
    // Placing the hold again requests the suspension again.
    let hold = Suspension { hold: None, reason: Some(format!("{PERSONAL} said so")), until: None };
    let held = suspend(&bench.declared, &bench.snapshot("acme-eu").await, &hold, &mut bench.context()).unwrap();
    bench.commit(held.changes).await.unwrap();
    bench.drain().await;
    let snapshot = bench.snapshot("acme-eu").await;
    assert_eq!(
        (snapshot.tenant.facts.state, snapshot.tenant.terms.version, snapshot.holds.len()),
        (State::Suspended, 2, 2)
    );
    let asked = request(&bench.declared, &snapshot, Action::Delete, &mut bench.context()).unwrap();
    bench.commit(asked.changes).await.unwrap();
    bench.drain().await;
}

/// Every event is at its position with its content. The digest is kept; its source is gone.
fn the_log_stays(before: &[LoggedEvent], after: &[LoggedEvent]) {
    assert!(after.iter().zip(1..).all(|(event, position)| event.position == position), "one order without gaps");
    assert_eq!(after.len(), before.len() + 3, "requested and completed, and the webhook is removed");
    let mut emptied = 0;
    for (was, is) in before.iter().zip(after) {
        let mut expected = was.clone();
        if was.event.tenant_id == Some(tenant("acme-eu")) {
            emptied += i32::from(expected.event.private.take().is_some());
            let digest = was.event.private.as_ref().map(|private| json!(private.digest()));
            assert_eq!(is.event.payload.get("private_digest"), digest.as_ref());
        }
        assert_eq!(is, &expected);
    }
    assert_eq!(emptied, 6, "registered with an environment, both changed, held twice");
}

async fn a_tombstone_stays(bench: &Bench, purged: &TenantSnapshot) {
    let row = &purged.tenant;
    assert!(row.terms.display_name.is_none() && row.terms.labels.is_empty() && row.terms.billing.is_empty());
    assert!(row.terms.quotas.is_empty() && row.terms.policies.is_empty() && row.facts.purged_at.is_some());
    assert_eq!((row.facts.state, row.terms.version, row.organization_id.as_str()), (State::Archived, 2, "acme"));
    let versions = bench.store.tenant_versions(&tenant("acme-eu"), &Page::default()).await.unwrap().items;
    let versions: Vec<_> = versions.into_iter().map(|version| (version.version, version.manifest)).collect();
    assert_eq!(versions, [(2, json!({})), (1, json!({}))], "both versions are kept, emptied");
    let taken = bench.register(&small("acme-eu", "acme")).await;
    assert_eq!(taken, Err(Error::Conflict(Conflict::TenantExists(tenant("acme-eu")))));
    let usage = bench.store.organization(&organization("acme")).await.unwrap().unwrap().usage;
    assert_eq!((usage.tenants, usage.quotas["storageGiB"]), (1, 500), "its usage is released");
    let mut heir = small("acme-heir", "acme");
    heir["aliases"] = json!({"crm": format!("{PERSONAL}!")});
    bench.register(&heir).await.unwrap();
}
