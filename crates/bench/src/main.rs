//! Compares the product with references on its own schema. Both run in turns; the figures are medians.
//!
//! `cargo run --release -p bench [-- --json FILE --seconds N --rounds N --only GROUP --names in-order|in-no-order]`.
//! docs/performance.md lists the groups.
//! Starts a temporary PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failure must stop the bench immediately")]

mod agent;
mod cache;
mod figure;
mod followers;
mod kept;
mod limit;
mod load;
mod own_keys;
mod postgres;
mod product;
mod reference;
mod report;
mod sqlite;
mod webhooks;

use crate::figure::median;
use crate::kept::Keeper;
use crate::product::{Product, Spread};
use crate::report::Report;
use clap::builder::PossibleValuesParser;
use clap::{Parser, ValueEnum};
use tenancy_store::database::Database;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// Number of tenants in both databases at the start.
const SEEDED: u64 = 20_000;

/// Number of documents of a file that is applied.
pub const APPLIED: u64 = 10_000;

/// Tables in which each registration writes one row.
const WRITTEN: [&str; 5] = ["tenants", "tenant_versions", "tenant_jobs", "tenant_audit", "audit_private"];

/// Groups of lines that can be measured alone: those on PostgreSQL with the same two databases;
const ON_POSTGRES: [&str; 7] =
    ["reads", "registration", "apply", "one-organization", "fewer-clients", "one-client", "old-snapshot"];
/// those on both kinds of database;
const ON_BOTH: [&str; 7] =
    ["deliveries", "delivery-lag", "webhooks", "own-keys", "dead-endpoint", "bad-endpoints", "followers"];
/// and the others.
const OTHERS: [&str; 3] = ["sqlite", "cache", "agent"];

/// Order of the names of tenants, the same on both sides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Names {
    /// Each client counts up at about the same speed: new names sort last, as do the names that the product generates.
    InOrder,
    /// Random: every index that begins with a name is extended at random places.
    InNoOrder,
}

/// Compares the product with reference programs on its own schema, and prints the ratios
#[derive(Debug, Clone, Parser)]
#[command(name = "bench", max_term_width = 100)]
pub struct Settings {
    /// Duration of one run of each side, in seconds
    #[arg(long, default_value_t = 4, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub seconds: u64,
    /// Number of runs of each side; the figures are medians
    #[arg(long, default_value_t = 3, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=1000))]
    pub rounds: u64,
    /// File for the ratios, as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<String>,
    /// Measure only one group
    #[arg(long, value_name = "GROUP", value_parser = PossibleValuesParser::new(groups()))]
    pub only: Option<String>,
    /// Order of the names of tenants
    #[arg(long, value_enum, default_value = "in-order", value_name = "ORDER")]
    pub names: Names,
}

impl Settings {
    /// Whether the lines of this group are to be measured.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let settings = Settings::parse();
    let mut report = Report::default();
    if ON_POSTGRES.iter().any(|group| settings.wants(group)) {
        postgres::measure(&settings, &mut report).await;
    }
    if settings.wants("sqlite") {
        on_sqlite(&settings, &mut report).await;
    }
    if ON_BOTH.iter().any(|group| settings.wants(group)) {
        on_both(&settings, &mut report).await;
    }
    if settings.wants("cache") {
        cache::measure(&settings, &mut report).await;
    }
    if settings.wants("agent") {
        agent::measure(&settings, &mut report).await;
    }
    report.print();
    if let Some(file) = &settings.json {
        std::fs::write(file, report.json()).expect("written");
    }
}

fn groups() -> impl Iterator<Item = &'static str> {
    ON_POSTGRES.into_iter().chain(ON_BOTH).chain(OTHERS)
}

/// Measures the groups that run on both kinds of database.
async fn on_both(settings: &Settings, report: &mut Report) {
    let keepers = Keeper::both();
    if settings.wants("deliveries") {
        webhooks::deliveries::measure(&keepers, settings, report).await;
    }
    if settings.wants("delivery-lag") {
        webhooks::delivery_lag(&keepers, settings, report).await;
    }
    if settings.wants("webhooks") {
        webhooks::registration::measure(&keepers, settings, report).await;
    }
    if settings.wants("own-keys") {
        own_keys::measure(&keepers, settings, report).await;
    }
    if settings.wants("dead-endpoint") {
        webhooks::dead_endpoint::measure(&keepers, settings, report).await;
    }
    if settings.wants("bad-endpoints") {
        webhooks::bad_endpoints::measure(&keepers, settings, report).await;
    }
    if settings.wants("followers") {
        followers::measure(&keepers, settings, report).await;
    }
}

async fn on_sqlite(settings: &Settings, report: &mut Report) {
    let directory = tempfile::tempdir().expect("a directory");
    let (ours, theirs) = (directory.path().join("product.db"), directory.path().join("reference.db"));
    for path in [&ours, &theirs] {
        Database::Sqlite(path.clone()).migrate(false).await.expect("migrated");
        sqlite::seed(path, SEEDED);
    }
    let product = Product::start(&Database::Sqlite(ours.clone()), settings.names).await;
    let (mut rates, mut references, mut serial) = (Vec::new(), Vec::new(), 1_000_000);
    for _ in 0..settings.rounds {
        rates.push(product.register(64, settings.seconds, Spread::Hundred).await.per_second);
        references.push(sqlite::run(&theirs, settings.seconds, settings.names, &mut serial));
    }
    let (mut news, mut sames) = (Vec::new(), Vec::new());
    for _ in 0..settings.rounds {
        let (new, same) = product.apply(APPLIED).await;
        news.push(new);
        sames.push(same);
    }
    let reads = product.read(64, settings.seconds, SEEDED).await;
    let registered = product.registered.load(std::sync::atomic::Ordering::Relaxed);
    product.stop().await;
    let connection = rusqlite::Connection::open(&ours).expect("open");
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table} WHERE tenant_id LIKE 't-%'");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).expect("counted").unsigned_abs()
    };
    report::whole(registered, &WRITTEN.map(|table| (table, count(table))));
    let rate = median(rates);
    report.ratio("registration_sqlite_vs_single", rate, median(references), 4.0, "per second");
    report.ratio("apply_sqlite_new_vs_registration", median(news), rate, 0.3, "per second");
    report.ratio("apply_sqlite_unchanged_vs_registration", median(sames), rate, 2.0, "per second");
    report.say(format!("GET over HTTP on SQLite: {:.0} per second", reads.per_second));
}
