//! Tests the plans of the commit path and of reads by key: every table is reached by a key, whatever size the planner takes
//! the tables to have. A prepared statement keeps the plan that it got while the tables were small.

use super::connection::{Connection, number};
use super::flushes::{APPEND_BATCH, LOCK_HEAD, append_log};
use super::one_read::OneRead;
use super::one_statement::OneStatement;
use super::preconditions::Preconditions;
use super::target::Target;
use crate::current_rows::READS;
use crate::database::Database;
use crate::keyed::ROWS;
use crate::page::AuditFilter;
use crate::rows::{Dialect, Type};
use crate::snapshot;
use crate::sql::Sql;
use crate::tables::audit::{PLATFORM_AUDIT, TENANT_AUDIT, log_sql};
use crate::write_kind::WRITES;
use std::fmt::Write as _;

/// Tables of which one row is read without a key: the head has one row, and the newest batch is the last entry of an index.
const ONE_ROW: [&str; 2] = ["log_head", "log_batches"];

fn statements() -> Vec<String> {
    let reads = READS.iter().map(|read| read.postgres());
    let keyed = ROWS.iter().chain(snapshot::reads()).map(|by| by.sql(Dialect::Postgres));
    let writes = WRITES.iter().map(|kind| kind.postgres());
    let log = [LOCK_HEAD.to_owned(), append_log(TENANT_AUDIT), append_log(PLATFORM_AUDIT), APPEND_BATCH.to_owned()];
    let inserts = WRITES.iter().filter(|kind| kind.inserts()).map(|kind| kind.postgres());
    let together =
        [as_one(inserts), as_one(log[1..].iter().cloned()), one_read(reads.clone()), one_read(keyed.clone())];
    reads.chain(keyed).chain(writes).chain(log.clone()).chain(together).chain(Preconditions::new().0).collect()
}

fn as_one(statements: impl Iterator<Item = String>) -> String {
    let mut one = OneStatement::default();
    statements.for_each(|sql| one.and(&sql, parameters(&sql).map(number).collect()));
    one.sql
}

fn one_read(statements: impl Iterator<Item = String>) -> String {
    let mut one = OneRead::default();
    statements.enumerate().for_each(|(place, sql)| one.and(place, &sql, parameters(&sql).map(number).collect()));
    one.sql
}

/// The numbers of the parameters of a statement.
fn parameters(sql: &str) -> impl Iterator<Item = i64> {
    (1..).take_while(move |number| sql.contains(&format!("${number}::")))
}

/// The plan of a statement of a list.
pub async fn explained(url: &str, mut sql: Sql) -> String {
    let connection = Connection::open(&Target::parse(url).unwrap(), &Target::shared_settings()).await.unwrap();
    sql.text.insert_str(0, "EXPLAIN ");
    let plan = connection.run(&sql, &[Type::Text]).await.unwrap();
    plan.into_iter().flatten().map(|line| format!("{line:?}\n")).collect()
}

/// What is wrong with a plan: a scan that no key narrows.
fn findings(plan: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    for (number, line) in plan.iter().enumerate() {
        let indent = |line: &str| line.len() - line.trim_start().len();
        let scan = line.trim_start().trim_start_matches("->").trim_start();
        let of_a_table = ["Seq Scan", "Index Scan", "Index Only Scan", "Bitmap Index Scan", "Tid Scan"];
        if !of_a_table.iter().any(|kind| scan.starts_with(kind)) {
            continue;
        }
        let one_row = ONE_ROW.iter().any(|table| scan.contains(&format!(" on {table} ")));
        let below = plan[number + 1..].iter().take_while(|next| indent(next) > indent(line));
        let by_key = below.clone().any(|next| next.trim_start().starts_with("Index Cond:"));
        if scan.starts_with("Seq Scan") || !(by_key || one_row) {
            found.push(line.trim().to_owned());
        }
    }
    found
}

/// The plan of a statement with the settings of our connections: the generic plan, or that for two keys.
fn plan(database: &tenancy_testkit::Database, sql: &str, generic: bool) -> Vec<String> {
    let parameters = parameters(sql).count();
    let mut script = String::new();
    for (name, value) in Target::keyed_settings() {
        write!(script, "SET {name} = '{value}'; ").unwrap();
    }
    let mode = if generic { "force_generic_plan" } else { "force_custom_plan" };
    write!(script, "SET plan_cache_mode = {mode}; PREPARE p AS {sql}; EXPLAIN EXECUTE p").unwrap();
    let value = if generic { "NULL" } else { "ARRAY['a', 'b']" };
    if parameters > 0 {
        write!(script, "({})", vec![value; parameters].join(", ")).unwrap();
    }
    database.rows(&script).into_iter().map(|mut row| row.remove(0).unwrap()).collect()
}

#[test]
fn must_reach_every_table_by_a_key() {
    let database = tenancy_testkit::Postgres::shared().database("plans");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let url = Database::Postgres(database.url());
    runtime.block_on(url.migrate(false)).unwrap();
    let statements = statements();
    assert!(statements.len() > 45, "{}", statements.len());
    // Never analyzed; analyzed while there are few rows; analyzed when there are many.
    let mut found = Vec::new();
    for rows in [0, 3, 5_000] {
        if rows > 0 {
            database.execute(&load(rows));
        }
        for sql in &statements {
            let keys_only = sql.contains("$1::text[]") && !sql.contains("$2");
            for generic in [true, false] {
                if generic || keys_only {
                    let plan = plan(&database, sql, generic);
                    let which = if findings(&plan).is_empty() { None } else { Some(plan.join("\n")) };
                    found.extend(which.map(|plan| format!("{rows} rows, generic: {generic}: {sql}\n{plan}")));
                }
            }
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n\n"));
}

/// Fills the tables that grow with tenants.
fn load(rows: usize) -> String {
    let id = |prefix: &str| format!("'{prefix}{rows}-' || n");
    let (tenant, now) = (id("t-"), "'2026-11-01Z'");
    format!(
        "INSERT INTO organizations SELECT {organization}, NULL, '{{}}', '{{}}', 1, 1, 1, {now}, {now}, NULL FROM \
         generate_series(1, {rows}) n; \
         INSERT INTO organization_usage SELECT {organization}, 1, 1, '{{}}' FROM generate_series(1, {rows}) n; \
         INSERT INTO tenants SELECT {tenant}, {organization}, NULL, 'mt-standard', 'Active', NULL, 'eu-west-1', '{{}}', \
         '{{}}', '{{}}', '{{}}', false, 1, 1, {now}, {now}, {now} FROM generate_series(1, {rows}) n; \
         INSERT INTO tenant_labels SELECT {tenant}, 'tier', 'gold' FROM generate_series(1, {rows}) n; \
         INSERT INTO environments SELECT {env}, {tenant}, 'dev', 'eu-west-1', 'shared', '{{}}', NULL, 1, 'Active', NULL, \
         {now}, {now} FROM generate_series(1, {rows}) n; \
         INSERT INTO aliases SELECT {alias}, {tenant}, {now} FROM generate_series(1, {rows}) n; \
         INSERT INTO holds SELECT {hold}, {tenant}, NULL, 'legal', NULL, 'x', NULL, {now} FROM generate_series(1, {rows}) n; \
         INSERT INTO tenant_jobs SELECT {job}, {tenant}, 'create', CASE WHEN n % 10 = 0 THEN 'queued' ELSE 'completed' END, \
         0, '', '[]', NULL, {now}, 0, NULL, 0, NULL, NULL, 'c', 'x', {now}, {now}, CASE WHEN n % 10 = 0 THEN NULL ELSE {now}::timestamptz END FROM generate_series(1, {rows}) n; \
         INSERT INTO api_keys SELECT {key}, {key}, 'viewer', {key}, 1, {now} FROM generate_series(1, {rows}) n; \
         INSERT INTO idempotency_records SELECT {key}, 'x', 201, '{{}}', '', {now}, {now} FROM generate_series(1, {rows}) n; \
         INSERT INTO tenant_audit SELECT 'aud_' || lpad(to_hex(1793491200000 + n), 12, '0') || lpad('{rows}', 20, '0'), \
         {tenant}, 'X', 1, 'x', NULL, '{{}}', 'c', {now}, n FROM generate_series(1, {rows}) n; \
         INSERT INTO log_batches SELECT {rows} * 10 + n, {rows} * 10 + n, {now} FROM generate_series(1, {rows}) n; ANALYZE",
        organization = id("o-"),
        env = id("env_"),
        alias = id("host:"),
        hold = id("hld_"),
        job = id("job_"),
        key = id("key_"),
    )
}

#[test]
fn a_scan_that_no_key_narrows_must_be_found() {
    let plan = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(findings(&plan("Seq Scan on tenants  (cost=1)")).len(), 1);
    assert_eq!(findings(&plan("Hash Join\n  ->  Index Scan using a on tenants t  (cost=1)\n  ->  Hash")).len(), 1);
    assert_eq!(findings(&plan("Index Scan using a on tenants  (cost=1)\n  Index Cond: (a = 1)")).len(), 0);
    assert_eq!(findings(&plan("Limit\n  ->  Index Only Scan using a on log_batches  (cost=1)")).len(), 0);
}

/// Which partitions a query by time touches, each month's as far from now as asked for.
async fn touched(connection: &Connection, months: [i64; 2]) -> Vec<i64> {
    let at = |months: i64| {
        let day = jiff::Zoned::now().with_time_zone(jiff::tz::TimeZone::UTC).first_of_month().unwrap();
        day.checked_add(jiff::Span::new().months(months).days(2)).unwrap()
    };
    let [since, until] = months.map(|months| Some(at(months).timestamp()));
    let filter = AuditFilter { since, until, ..AuditFilter::default() };
    let mut sql = log_sql(Dialect::Postgres, &tenancy_core::scope::Scope::All, &filter, None, 10);
    sql.text.insert_str(0, "EXPLAIN ");
    let plan = connection.run(&sql, &[Type::Text]).await.unwrap();
    let plan: String = plan.into_iter().flatten().map(|line| format!("{line:?}\n")).collect();
    (-1..8).filter(|month| plan.contains(&at(*month).strftime("tenant_audit_%Y_%m").to_string())).collect()
}

#[tokio::test]
async fn a_query_by_time_must_leave_the_partitions_of_other_months_alone() {
    let database = tenancy_testkit::Postgres::shared().database("by-time");
    Database::Postgres(database.url()).migrate(false).await.unwrap();
    let connection = Connection::open(&Target::parse(&database.url()).unwrap(), &[]).await.unwrap();
    assert_eq!(touched(&connection, [0, 6]).await, [0, 1, 2, 3, 4, 5, 6]);
    assert_eq!(touched(&connection, [2, 3]).await, [2, 3]);
}
