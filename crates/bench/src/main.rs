//! What the shape costs, and what it gains: the product against references on its own schema, run in turns, medians.
//!
//! `cargo run --release -p bench [-- --json FILE --seconds N --rounds N --only GROUP --names in-order|in-no-order]`.
//! Starts its own PostgreSQL.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a bench that fails must stop at once")]

mod figure;
mod limit;
mod load;
mod postgres;
mod product;
mod reference;
mod report;
mod sqlite;

use crate::figure::median;
use crate::product::{Product, Spread};
use crate::report::Report;
use tenancy_store::database::Database;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// How many tenants both sides begin with.
const SEEDED: u64 = 20_000;

/// Where each registration leaves one row.
const WRITTEN: [&str; 5] = ["tenants", "tenant_versions", "tenant_jobs", "tenant_audit", "audit_private"];

/// Groups of lines that can be wanted alone.
const GROUPS: [&str; 7] =
    ["reads", "registration", "one-organization", "fewer-clients", "one-client", "old-snapshot", "sqlite"];

/// How the names of tenants follow each other, on both sides alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    /// Each client counts, and all of them about as fast: new names are the greatest, as are those that the product makes where
    /// none is chosen.
    InOrder,
    /// By chance: every index that begins with a name is entered anywhere.
    InNoOrder,
}

/// How it is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// How long each side runs at a time.
    pub seconds: u64,
    /// How often each side runs.
    pub rounds: u64,
    /// Where the ratios go.
    pub json: Option<String>,
    /// Only the lines of this one of [`GROUPS`].
    pub only: Option<String>,
    /// How names follow each other.
    pub names: Names,
}

impl Settings {
    /// Whether the lines of this name are wanted.
    pub fn wants(&self, name: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == name)
    }
}

fn settings() -> Settings {
    let mut settings = Settings { seconds: 4, rounds: 3, json: None, only: None, names: Names::InOrder };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let value = arguments.next().unwrap_or_else(|| panic!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => settings.seconds = value.parse().expect("a number"),
            "--rounds" => settings.rounds = value.parse().expect("a number"),
            "--json" => settings.json = Some(value),
            "--only" if GROUPS.contains(&value.as_str()) => settings.only = Some(value),
            "--only" => panic!("--only takes one of {GROUPS:?}, not {value}"),
            "--names" if value == "in-order" => settings.names = Names::InOrder,
            "--names" if value == "in-no-order" => settings.names = Names::InNoOrder,
            other => panic!(
                "there are --seconds N, --rounds N, --json FILE, --only GROUP and --names in-order|in-no-order, not {other}"
            ),
        }
    }
    settings
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let settings = settings();
    let mut report = Report::default();
    if settings.only.as_deref() != Some("sqlite") {
        postgres::measure(&settings, &mut report).await;
    }
    if settings.wants("sqlite") {
        on_sqlite(&settings, &mut report).await;
    }
    report.print();
    if let Some(file) = &settings.json {
        std::fs::write(file, report.json()).expect("written");
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
    let reads = product.read(64, settings.seconds, SEEDED).await;
    let registered = product.registered.load(std::sync::atomic::Ordering::Relaxed);
    product.stop().await;
    let connection = rusqlite::Connection::open(&ours).expect("open");
    let count = |table: &str| {
        let sql = format!("SELECT count(*) FROM {table} WHERE tenant_id LIKE 't-%'");
        connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).expect("counted").unsigned_abs()
    };
    report::whole(registered, &WRITTEN.map(|table| (table, count(table))));
    report.ratio("registration_sqlite_vs_single", median(rates), median(references), 4.0, "per second");
    report.say(format!("GET over HTTP on SQLite: {:.0} per second", reads.per_second));
}
