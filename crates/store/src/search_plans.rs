//! Tests the plans of searches: none reads a table whole, on either database.

use crate::database::Database;
use crate::page::{OrganizationFilter, TenantFilter};
use crate::rows::Dialect;
use crate::search::{Lead, counts};
use crate::sql::Sql;
use crate::tables::{organizations, tenants};
use tenancy_core::ids::OrganizationId;
use tenancy_core::scope::Scope;

/// Tables that grow with tenants.
const GROW: [&str; 4] = ["tenants", "aliases", "tenant_labels", "organizations"];

/// Number of tenants, so many that every plan but one by an index is dear.
const TENANTS: usize = 20_000;

/// The rows: each tenant has a name, an alias, a label that it alone has, and one that all have.
fn load(dialect: Dialect) -> String {
    let (numbers, now) = match dialect {
        Dialect::Sqlite => (
            format!(
                "(WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < {TENANTS}) SELECT n FROM c)"
            ),
            "0",
        ),
        Dialect::Postgres => (format!("generate_series(1, {TENANTS}) n"), "'2026-11-01Z'"),
    };
    let no = if dialect == Dialect::Sqlite { "0" } else { "false" };
    format!(
        "INSERT INTO organizations SELECT 'o-' || n, 'Customer ' || n, '{{}}', '{{}}', 1, 1, 1, {now}, {now}, NULL, 'customer ' || n \
         FROM {numbers}; \
         INSERT INTO tenants SELECT 't-' || n, 'o-' || n, 'Tenant ' || n, 'mt-standard', 'Active', NULL, 'eu-west-1', '{{}}', '{{}}', \
         '{{}}', '{{}}', {no}, 1, 1, {now}, {now}, {now}, NULL, NULL, NULL, NULL, 'tenant ' || n FROM {numbers}; \
         INSERT INTO aliases SELECT 'host:h' || n, 't-' || n, {now}, 'h' || n FROM {numbers}; \
         INSERT INTO tenant_labels SELECT 't-' || n, 'tier', 'gold' FROM {numbers}; \
         INSERT INTO tenant_labels SELECT 't-' || n, 'number', n || '' FROM {numbers};"
    )
}

/// Every search, with its name.
fn searches(dialect: Dialect) -> Vec<(String, Sql)> {
    let q = |q: &str| TenantFilter { q: Some(q.to_owned()), ..TenantFilter::default() };
    let labels = |labels: &[(&str, &str)]| TenantFilter {
        labels: labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect(),
        ..TenantFilter::default()
    };
    let acme = OrganizationId::known("o-77");
    let both = TenantFilter { q: Some("T-1".to_owned()), ..labels(&[("tier", "gold"), ("number", "77")]) };
    let mut all = Vec::new();
    for (filter, lead, scope) in [
        (q("tenant 77"), Lead::Matches, Scope::All),
        (q("Host:H77"), Lead::Matches, Scope::Organization(acme.clone())),
        (q("tenant 77"), Lead::Rows, Scope::Organization(acme.clone())),
        (labels(&[("tier", "gold")]), Lead::Label(0), Scope::All),
        (labels(&[("tier", "gold"), ("number", "77")]), Lead::Label(1), Scope::Organization(acme.clone())),
        (both.clone(), Lead::Label(1), Scope::All),
    ] {
        for after in [None, Some("t-5".to_owned())] {
            let name = format!("{filter:?} by {lead:?} within {scope:?} after {after:?}");
            all.push((name, tenants::listed(dialect, lead, &scope, &filter, after, 51)));
        }
    }
    // Of what most rows have, a scan finds enough at once.
    let rare = TenantFilter { q: Some("T-77".to_owned()), ..labels(&[("number", "78"), ("number", "77")]) };
    all.push(("counts".to_owned(), counts(dialect, &rare, Some(&acme)).0));
    let filter = OrganizationFilter { q: Some("Customer 77".to_owned()) };
    all.push(("organizations".to_owned(), organizations::listed(dialect, &Scope::All, &filter, None, 51)));
    all
}

#[tokio::test]
async fn must_search_by_an_index_on_sqlite() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("searched.db");
    Database::Sqlite(path.clone()).migrate(false).await.unwrap();
    let connection = rusqlite::Connection::open(path).unwrap();
    connection.execute_batch(&load(Dialect::Sqlite)).unwrap();
    for (name, sql) in searches(Dialect::Sqlite) {
        let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {}", sql.text)).unwrap();
        let row = |row: &rusqlite::Row<'_>| row.get::<_, String>("detail");
        let plan = statement.query_map(rusqlite::params_from_iter(&sql.params), row).unwrap();
        let plan: Vec<_> = plan.map(Result::unwrap).collect();
        let scans = plan.iter().filter(|line| GROW.iter().any(|table| line.starts_with(&format!("SCAN {table}"))));
        assert_eq!(scans.count(), 0, "{name}:\n{}", plan.join("\n"));
    }
}

#[tokio::test]
async fn must_search_by_an_index_on_postgresql() {
    use crate::postgres::explained;
    let database = tenancy_testkit::Postgres::shared().database("searched");
    Database::Postgres(database.url()).migrate(false).await.unwrap();
    database.execute(&format!("{} ANALYZE", load(Dialect::Postgres)));
    for (name, sql) in searches(Dialect::Postgres) {
        let plan = explained(&database.url(), sql).await;
        assert!(!plan.contains("Seq Scan"), "{name}:\n{plan}");
        let scans = plan.matches("Index Scan").count() + plan.matches("Index Only Scan").count();
        assert!(plan.matches("Index Cond").count() >= scans, "{name}:\n{plan}");
    }
}
