//! What is accepted can be read back, at the edges of every type. A row that something else has broken is shown by its id,
//! and takes no other row with it.

use crate::harness::{Bench, on_both, small, tenant};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;
use tenancy_core::json::{Strict, merge_patch};
use tenancy_core::manifest::Manifest;
use tenancy_core::rules::lifecycle::{Suspension, suspend};
use tenancy_core::rules::register::register;
use tenancy_core::scope::Scope;
use tenancy_core::{Error, Timestamp, time};
use tenancy_store::database::Database;
use tenancy_store::page::{Page, TenantFilter};
use tenancy_testkit::Postgres;

/// Times at the edges of what can be represented, of seconds and of microseconds.
const TIMES: [&str; 8] = [
    "9999-12-30T22:00:00Z",
    "9999-12-30T22:00:00.000001Z",
    "9999-12-30T22:00:00.5Z",
    "9999-12-30T22:00:00.999999Z",
    "9999-12-30T22:00:00.999999999Z",
    "9999-12-30T21:59:59.999999Z",
    "2262-04-11T23:47:16.854775807Z",
    "9999-12-31T23:59:59.999999Z",
];

const TEXTS: [&str; 10] =
    ["\u{10FFFF}", "\u{E000}\u{FFFD}", "e\u{301}", "İ", "ﬁ", "'\"\\%_", "😀", "\u{D7FF}", "\u{FEFF}x", "$.a[0]"];

fn numbers() -> Vec<Value> {
    let floats = [5e-324, f64::MIN_POSITIVE, f64::MAX, f64::MIN, -0.0, 0.1, 1e-7, 1e21].map(|n| json!(n));
    let whole = [json!(i64::MIN), json!(i64::MAX), json!(u64::MAX), json!(9_007_199_254_740_993_i64), json!(0)];
    floats.into_iter().chain(whole).collect()
}

/// Registers what the rules accept, and compares what is read. Returns whether they accepted it.
async fn is_read_back(bench: &Bench, id: &str, document: &Value, until: Option<Timestamp>) -> bool {
    // As it comes over the wire, where numbers get their one form.
    let Ok(document) = Strict::parse_kept(document.to_string().as_bytes()) else { return false };
    let Ok((manifest, _)) = Manifest::parse(&bench.declared, &document) else { return false };
    let made = register(&bench.declared, &manifest, Vec::new(), &mut bench.context()).unwrap();
    if bench.commit(made.changes).await.is_err() {
        // Another has the alias.
        return false;
    }
    let snapshot = bench.snapshot(id).await;
    assert_eq!(snapshot, made.snapshot, "{document}");
    let hold = Suspension { hold: None, reason: manifest.display_name.clone(), until };
    let held = suspend(&bench.declared, &snapshot, &hold, &mut bench.context()).unwrap();
    bench.commit(held.changes).await.unwrap();
    let snapshot = bench.snapshot(id).await;
    assert_eq!(snapshot, held.snapshot, "{document} until {until:?}");
    assert_eq!(snapshot.holds[0].until, until.map(tenancy_core::decision_context::cut));
    let version = bench.store.tenant_version(&tenant(id), 1).await.unwrap().unwrap();
    assert_eq!(version.manifest, manifest.document(), "{document}");
    true
}

async fn must_read_back_every_value_that_is_accepted(bench: Bench) {
    bench.organization("acme", json!({})).await;
    let of = |id: &str, text: &str, number: &Value| {
        let mut document = small(id, "acme");
        let more = json!({
            "display_name": text, "labels": {"x": text}, "aliases": {"crm": text},
            "billing": {"odd": {text: [text, number]}}, "quotas": {"odd": number},
            "webhooks": [{"name": "main", "url": "https://x", "events": ["*"], "retry_policy": {"max_retries": 100}}],
        });
        merge_patch(&mut document, &more);
        document
    };
    let (mut accepted, numbers) = (0, numbers());
    for n in 0..13 {
        let (id, until) = (format!("edge-{n}"), time::parse(TIMES[n % TIMES.len()]).ok());
        let document = of(&id, TEXTS[n % TEXTS.len()], &numbers[n % numbers.len()]);
        accepted += usize::from(is_read_back(&bench, &id, &document, until).await);
    }
    let seed = std::env::var("TENANCY_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(7_u8);
    println!("TENANCY_SEED={seed}");
    let mut runner = TestRunner::new_with_rng(Config::default(), TestRng::from_seed(RngAlgorithm::ChaCha, &[seed; 32]));
    let number = prop_oneof![
        any::<i64>().prop_map(|n| json!(n)),
        any::<u64>().prop_map(|n| json!(n)),
        (proptest::num::f64::NORMAL | proptest::num::f64::SUBNORMAL).prop_map(|n| json!(n)),
    ];
    // The last second that can be represented, and any since 2100, in nanoseconds.
    let second = prop_oneof![Just(253_402_207_200_i64), 4_102_444_800_i64..253_402_207_200];
    let strategy = (any::<String>(), number, second, 0..1_000_000_000_i32);
    for n in 0..60 {
        let (text, number, second, nanoseconds) = strategy.new_tree(&mut runner).unwrap().current();
        let (id, until) = (format!("any-{n}"), Timestamp::new(second, nanoseconds).ok());
        accepted += usize::from(is_read_back(&bench, &id, &of(&id, &text, &number), until).await);
    }
    assert!(accepted > 20, "{accepted}");
    let mut page = Page { after: None, limit: 7 };
    let mut listed = 0;
    loop {
        let found = bench.store.tenants(&Scope::All, &TenantFilter::default(), &page).await.unwrap();
        assert_eq!(found.unreadable, []);
        listed += found.items.len();
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(listed, accepted);
}

on_both!(must_read_back_every_value_that_is_accepted);

/// Breaks rows and reads the others.
async fn must_show_a_broken_row_by_its_id(url: &Database, run: &(dyn Fn(&str) + Sync), no_time: &str) {
    url.migrate(false).await.unwrap();
    let bench = Bench::on(url).await;
    bench.organization("acme", json!({})).await;
    for id in ["t-1", "t-2", "t-3", "t-4"] {
        bench.register(&small(id, "acme")).await.unwrap();
    }
    for id in ["t-1", "t-4"] {
        let hold = Suspension { until: Some(bench.store.now() + Duration::from_secs(60)), ..Suspension::default() };
        let held = suspend(&bench.declared, &bench.snapshot(id).await, &hold, &mut bench.context()).unwrap();
        bench.commit(held.changes).await.unwrap();
    }
    run("UPDATE tenants SET labels = '[1]' WHERE tenant_id = 't-2'");
    run(&format!("UPDATE tenants SET created_at = {no_time} WHERE tenant_id = 't-3'"));
    run("UPDATE tenant_jobs SET steps = '{}' WHERE tenant_id = 't-2'");
    run("UPDATE holds SET kind = '', organization_id = 'acme', tenant_id = NULL WHERE tenant_id = 't-4'");
    run(&format!("UPDATE holds SET created_at = {no_time} WHERE organization_id = 'acme'"));

    let (mut items, mut unreadable, mut page) = (Vec::new(), BTreeMap::new(), Page { after: None, limit: 1 });
    loop {
        let found = bench.store.tenants(&Scope::All, &TenantFilter::default(), &page).await.unwrap();
        items.extend(found.items.into_iter().map(|row| row.tenant_id.to_string()));
        unreadable.extend(found.unreadable.into_iter().map(|row| (row.id, row.place)));
        match found.next {
            Some(next) => page.after = Some(next),
            None => break,
        }
    }
    assert_eq!(items, ["t-1", "t-4"]);
    let expected = [("t-2", "tenants.labels"), ("t-3", "tenants.created_at")];
    assert_eq!(unreadable, expected.map(|(id, place)| (id.to_owned(), place.to_owned())).into());
    // The broken hold is the organization's: none of its tenants can be decided on, and each says why.
    let [first, second] = ["t-1", "t-2"].map(tenant);
    let read = futures_util::future::join(bench.store.snapshot(&first), bench.store.snapshot(&second)).await;
    assert!(matches!(&read.0, Err(Error::Unreadable(place)) if place == "holds.created_at"), "{read:?}");
    assert!(matches!(&read.1, Err(Error::Unreadable(place)) if place == "tenants.labels"), "{read:?}");
    run("DELETE FROM holds WHERE organization_id = 'acme'");
    let read = futures_util::future::join(bench.store.snapshot(&first), bench.store.snapshot(&second)).await;
    assert!(matches!(&read.0, Ok(Some(_))) && read.1.is_err(), "{read:?}");
    let claimed: Vec<_> = bench.claim().await.into_iter().map(|job| job.tenant_id.to_string()).collect();
    assert!(!claimed.contains(&"t-2".to_owned()) && claimed.contains(&"t-3".to_owned()), "{claimed:?}");
    bench.store.shift_clock(Duration::from_secs(120));
    assert_eq!(bench.store.ended_holds(10).await.unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_show_a_broken_row_by_its_id_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("broken.db");
    let run = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    must_show_a_broken_row_by_its_id(&Database::Sqlite(path.clone()), &run, "9223372036854775807").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_show_a_broken_row_by_its_id_on_postgresql() {
    let database = Postgres::shared().database("broken");
    let url = Database::Postgres(database.url());
    must_show_a_broken_row_by_its_id(&url, &|sql| database.execute(sql), "'infinity'").await;
}

#[tokio::test]
async fn must_refuse_a_database_of_another_encoding() {
    let server = Postgres::shared().database("encodings");
    for encoding in ["SQL_ASCII", "LATIN1"] {
        let name = format!("odd_{}_{}", encoding.to_lowercase(), std::process::id());
        server.execute(&format!(
            "CREATE DATABASE {name} ENCODING '{encoding}' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        ));
        let url = server.url();
        let own = server.value("SELECT current_database()");
        let odd = Database::Postgres(url.replace(&own, &name));
        for refused in [odd.migrate(false).await.map(drop), odd.open_for_test().await.map(drop)] {
            let Err(Error::NotNow(message)) = refused else { panic!("{encoding}: {refused:?}") };
            assert!(message.contains(&format!("encoding is {encoding}: it must be UTF8")), "{message}");
        }
        server.execute(&format!("DROP DATABASE {name} WITH (FORCE)"));
    }
}
