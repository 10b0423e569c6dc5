//! Searches: whatever a list is read by, it finds the same tenants. Rows of earlier releases get their normal forms.

use crate::harness::{Bench, on_both, organization, small};
use serde_json::{Value, json};
use tenancy_core::Error;
use tenancy_core::ids::Alias;
use tenancy_core::json::merge_patch;
use tenancy_core::scope::Scope;
use tenancy_store::database::Database;
use tenancy_store::page::{OrganizationFilter, Page, TenantFilter};
use tenancy_testkit::Postgres;

fn tenant(id: &str, organization: &str, more: Value) -> Value {
    let mut document = small(id, organization);
    merge_patch(&mut document, &more);
    document
}

/// Every tenant that a filter finds, page by page.
async fn found(bench: &Bench, scope: &Scope, filter: &TenantFilter) -> Vec<String> {
    let (mut found, mut page) = (Vec::new(), Page { after: None, limit: 2 });
    loop {
        let listed = bench.store.tenants(scope, filter, &page).await.unwrap();
        found.extend(listed.items.into_iter().map(|row| row.tenant_id.to_string()));
        match listed.next {
            Some(next) => page.after = Some(next),
            None => return found,
        }
    }
}

fn q(q: &str) -> TenantFilter {
    TenantFilter { q: Some(q.to_owned()), ..TenantFilter::default() }
}

fn labels(labels: &[(&str, &str)]) -> TenantFilter {
    let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    TenantFilter { labels, ..TenantFilter::default() }
}

async fn must_find_names_and_aliases_in_any_case(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.organization("other", json!({})).await;
    let all = [
        tenant("acme-1", "acme", json!({"display_name": "Ünïcode GmbH", "aliases": {"host": "Shop.Acme.Example."}})),
        tenant("acme-2", "acme", json!({"display_name": "Second", "aliases": {"stripe": ["cus_AB", "acme-7"]}})),
        tenant("second-3", "other", json!({"display_name": "acme third", "aliases": {"host": "bücher.example"}})),
    ];
    for document in &all {
        bench.register(document).await.unwrap();
    }
    for (text, expected) in [
        ("acme", &["acme-1", "acme-2", "second-3"][..]),
        ("ACME-2", &["acme-2"]),
        ("ünÏ", &["acme-1"]),
        ("U\u{308}nï", &["acme-1"]),
        ("SECOND", &["acme-2", "second-3"]),
        ("HOST:shop.ACME", &["acme-1"]),
        ("shop.", &["acme-1"]),
        ("xn--b", &["second-3"]),
        ("stripe:cus_AB", &["acme-2"]),
        ("CUS_ab", &["acme-2"]),
        ("code", &[]),
    ] {
        assert_eq!(found(&bench, &Scope::All, &q(text)).await, expected, "{text}");
    }
    let inside = Scope::Organization(organization("acme"));
    assert_eq!(found(&bench, &inside, &q("acme")).await, ["acme-1", "acme-2"]);
    let one = Scope::Tenant(crate::harness::tenant("second-3"));
    assert_eq!(found(&bench, &one, &q("acme")).await, ["second-3"]);
    assert_eq!(found(&bench, &one, &q("second-4")).await, Vec::<String>::new());
    let listed = async |text: &str| {
        let filter = OrganizationFilter { q: Some(text.to_owned()) };
        let listed = bench.store.organizations(&Scope::All, &filter, &Page::default()).await.unwrap();
        listed.items.into_iter().map(|row| row.organization_id.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(listed("ACM").await, ["acme"]);
    assert_eq!(listed("x").await, Vec::<String>::new());
}

/// Labels are found as they are now, also together with other conditions.
async fn must_find_labels_as_they_are_now(bench: Bench) {
    bench.organization("acme", json!({})).await;
    bench.organization("other", json!({})).await;
    let labelled = |tier: &str, team: &str| json!({"labels": {"tier": tier, "team": team}});
    let first = bench.register(&tenant("t-1", "acme", labelled("gold", "a"))).await.unwrap();
    for (id, organization, tier, team) in
        [("t-2", "acme", "gold", "b"), ("t-3", "other", "gold", "a"), ("t-4", "other", "silver", "a")]
    {
        bench.register(&tenant(id, organization, labelled(tier, team))).await.unwrap();
    }
    let gold = labels(&[("tier", "gold")]);
    assert_eq!(found(&bench, &Scope::All, &gold).await, ["t-1", "t-2", "t-3"]);
    assert_eq!(found(&bench, &Scope::All, &labels(&[("tier", "gold"), ("team", "a")])).await, ["t-1", "t-3"]);
    assert_eq!(found(&bench, &Scope::Organization(organization("other")), &gold).await, ["t-3"]);
    let both = TenantFilter { q: Some("t-3".to_owned()), ..gold.clone() };
    assert_eq!(found(&bench, &Scope::All, &both).await, ["t-3"]);
    let changed = bench.change(&first, &tenant("t-1", "acme", json!({"labels": {"tier": "silver"}})), &[]).unwrap();
    bench.commit(changed.changes).await.unwrap();
    assert_eq!(found(&bench, &Scope::All, &gold).await, ["t-2", "t-3"]);
    assert_eq!(found(&bench, &Scope::All, &labels(&[("tier", "silver")])).await, ["t-1", "t-4"]);
    assert_eq!(found(&bench, &Scope::All, &labels(&[("team", "a")])).await, ["t-3", "t-4"]);
}

on_both!(must_find_names_and_aliases_in_any_case, must_find_labels_as_they_are_now);

/// Rows as an earlier release has left them.
const EARLIER: [&str; 7] = [
    "DELETE FROM schema_migrations WHERE name = '0005_normal_forms'",
    "DELETE FROM tenant_labels",
    "UPDATE tenants SET search_name = NULL",
    "UPDATE organizations SET search_name = NULL",
    "UPDATE aliases SET search_value = NULL",
    "UPDATE aliases SET alias = 'host:https://Shop.Example.com:8443/x' WHERE alias = 'host:shop.example.com'",
    "UPDATE tenants SET display_name = 'Ame\u{301}lie', labels = '{\"owner\": \"Ame\u{301}lie\"}' WHERE tenant_id = 't-1'",
];

/// Prepares rows of an earlier release, migrates them, and looks at them.
async fn migrate_earlier(url: &Database, run: &(dyn Fn(&str) + Sync)) {
    url.migrate(false).await.unwrap();
    let bench = Bench::on(url).await;
    bench.organization("acme", json!({})).await;
    let first =
        json!({"display_name": "Amélie", "labels": {"owner": "Amélie"}, "aliases": {"host": "shop.example.com"}});
    let before = bench.register(&tenant("t-1", "acme", first)).await.unwrap();
    bench.register(&tenant("t-2", "acme", json!({"aliases": {"host": "other.example.com"}}))).await.unwrap();
    bench.store.close().await;
    drop(bench);
    EARLIER.iter().for_each(|sql| run(sql));
    match url.open_for_test().await {
        Err(Error::NotNow(message)) => assert!(message.contains("0005_normal_forms"), "{message}"),
        _ => panic!("an earlier database must not be opened"),
    }
    // Two spellings of one host, of two tenants.
    run("UPDATE aliases SET alias = 'host:SHOP.example.com.' WHERE tenant_id = 't-2'");
    let Err(Error::NotNow(message)) = url.migrate(false).await else { panic!("the clash is not refused") };
    let both = "host:SHOP.example.com. of t-2 and host:https://Shop.Example.com:8443/x of t-1";
    assert!(message.contains(both) && message.contains("nothing was changed"), "{message}");
    run("UPDATE aliases SET alias = 'host:[::1]' WHERE tenant_id = 't-2'");
    let Err(Error::NotNow(message)) = url.migrate(false).await else { panic!("no host, and not refused") };
    assert!(message.contains("host:[::1] of t-2"), "{message}");
    // Two spellings of one host, of one tenant, are one.
    run("UPDATE aliases SET alias = 'host:SHOP.example.com.', tenant_id = 't-1' WHERE tenant_id = 't-2'");
    assert_eq!(url.migrate(false).await.unwrap().applied, ["0005_normal_forms"]);

    let bench = Bench::on(url).await;
    let after = bench.snapshot("t-1").await;
    assert_eq!(after.aliases, [Alias::parse("host:shop.example.com").unwrap()]);
    let (terms, counter) = (&after.tenant.terms, after.tenant.facts.counter);
    assert_eq!((terms.display_name.as_deref(), terms.labels["owner"].as_str()), (Some("Amélie"), "Amélie"));
    assert!(terms.version == before.tenant.terms.version && counter > before.tenant.facts.counter);
    assert_eq!(found(&bench, &Scope::All, &q("AMÉ")).await, ["t-1"]);
    assert_eq!(found(&bench, &Scope::All, &q("host:Shop")).await, ["t-1"]);
    assert_eq!(found(&bench, &Scope::All, &labels(&[("owner", "Amélie")])).await, ["t-1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_give_rows_of_earlier_releases_their_forms_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("earlier.db");
    let run = |sql: &str| rusqlite::Connection::open(&path).unwrap().execute_batch(sql).unwrap();
    migrate_earlier(&Database::Sqlite(path.clone()), &run).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn must_give_rows_of_earlier_releases_their_forms_on_postgresql() {
    let database = Postgres::shared().database("earlier");
    migrate_earlier(&Database::Postgres(database.url()), &|sql| database.execute(sql)).await;
}
