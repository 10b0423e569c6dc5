//! Measurements on PostgreSQL.

use crate::figure::median;
use crate::product::{Product, Spread};
use crate::reference::{self, Rate, bare, middle, same_rows};
use crate::report::{Report, whole};
use crate::{APPLIED, Names, SEEDED, Settings, WRITTEN};
use std::sync::atomic::Ordering;
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;

/// Both sides: the product's database and the database of the references.
struct Sides {
    postgres: Postgres,
    ours: tenancy_testkit::Database,
    theirs: tenancy_testkit::Database,
    product: Product,
    names: Names,
}

/// Measures every line.
pub async fn measure(settings: &Settings, report: &mut Report) {
    let sides = Sides::start(settings.names).await;
    // First, while both databases have the same size: later one has more registrations than the other.
    if settings.wants("reads") {
        sides.reads(settings, report).await;
    }
    if settings.wants("registration") {
        sides.registration(settings, report).await;
    }
    if settings.wants("apply") {
        sides.apply(settings, report).await;
    }
    if settings.wants("one-organization") {
        sides.one_organization(settings, report).await;
    }
    if settings.wants("fewer-clients") {
        sides.fewer_clients(settings, report).await;
    }
    if settings.wants("one-client") {
        sides.one_client(settings, report).await;
    }
    if settings.wants("old-snapshot") {
        sides.old_snapshot(settings, report).await;
    }
    let registered = sides.product.registered.load(Ordering::Relaxed);
    let count = |table: &str| {
        let text = sides.ours.value(&format!("SELECT count(*) FROM {table} WHERE tenant_id LIKE 't-%'"));
        text.parse::<u64>().expect("a number")
    };
    whole(registered, &WRITTEN.map(|table| (table, count(table))));
    let used = sides.ours.value(
        "SELECT coalesce(sum(tenants), 0) FROM (SELECT DISTINCT ON (organization_id) tenants \
         FROM organization_usage ORDER BY organization_id, serial DESC) newest",
    );
    let logged =
        sides.ours.value("SELECT sum(last_position - first_position + 1) FROM log_batches WHERE first_position > 0");
    let number = |text: String| text.parse::<u64>().expect("a number");
    // In addition to the registrations there is one event: the creation of the API key.
    whole(registered, &[("organization_usage", number(used)), ("log_batches", number(logged) - 1)]);
    let batches = sides.ours.value("SELECT count(*) FROM log_batches").parse::<f64>().expect("a number");
    #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
    let members = registered as f64 / batches;
    report.say(format!("{registered} registrations in {batches} commits: {members:.1} per commit"));
    sides.product.stop().await;
}

impl Sides {
    async fn start(names: Names) -> Self {
        let postgres = Postgres::start();
        let (ours, theirs) = (postgres.database("product"), postgres.database("reference"));
        for database in [&ours, &theirs] {
            Database::Postgres(database.url().to_owned()).migrate(false).await.expect("migrated");
        }
        reference::seed(&ours, SEEDED);
        reference::prepare(&theirs, SEEDED);
        let product = Product::start(&Database::Postgres(ours.url().to_owned()), names).await;
        Self { postgres, ours, theirs, product, names }
    }

    async fn pgbench(&self, script: &str, clients: usize, seconds: u64) -> Rate {
        // pgbench runs in a separate process; this thread waits for it and sends no load meanwhile.
        reference::run(&self.postgres, &self.theirs, script, self.names, clients, seconds)
    }

    async fn registration(&self, settings: &Settings, report: &mut Report) {
        let (mut rates, mut bares, mut sames) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            rates.push(self.product.register(64, settings.seconds, Spread::Hundred).await.per_second);
            bares.push(self.pgbench(&bare(), 64, settings.seconds).await);
            sames.push(self.pgbench(&same_rows(), 64, settings.seconds).await);
        }
        let rate = median(rates);
        report.ratio("registration_pg_vs_one_statement", rate, middle(&bares).per_second, 1.3, "per second");
        report.ratio("registration_pg_vs_same_rows", rate, middle(&sames).per_second, 4.0, "per second");
    }

    /// Measures a file of new tenants, and the same file again, against registrations one by one.
    async fn apply(&self, settings: &Settings, report: &mut Report) {
        let (mut rates, mut news, mut sames) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            rates.push(self.product.register(64, settings.seconds, Spread::Hundred).await.per_second);
            let (new, same) = self.product.apply(APPLIED).await;
            news.push(new);
            sames.push(same);
        }
        let rate = median(rates);
        report.ratio("apply_pg_new_vs_registration", median(news), rate, 0.3, "per second");
        report.ratio("apply_pg_unchanged_vs_registration", median(sames), rate, 2.0, "per second");
    }

    async fn one_organization(&self, settings: &Settings, report: &mut Report) {
        let (mut ones, mut hundreds) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            ones.push(self.product.register(64, settings.seconds, Spread::One).await.per_second);
            hundreds.push(self.product.register(64, settings.seconds, Spread::Hundred).await.per_second);
        }
        report.beside("registration_pg_one_vs_hundred_organizations", median(ones), median(hundreds), "per second");
    }

    async fn fewer_clients(&self, settings: &Settings, report: &mut Report) {
        let (mut rates, mut bares, mut sames) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            rates.push(self.product.register(16, settings.seconds, Spread::Hundred).await.per_second);
            bares.push(self.pgbench(&bare(), 16, settings.seconds).await);
            sames.push(self.pgbench(&same_rows(), 16, settings.seconds).await);
        }
        let rate = median(rates);
        report.beside("registration_pg_vs_one_statement_16_clients", rate, middle(&bares).per_second, "per second");
        report.beside("registration_pg_vs_same_rows_16_clients", rate, middle(&sames).per_second, "per second");
    }

    async fn reads(&self, settings: &Settings, report: &mut Report) {
        let (mut rates, mut selects) = (Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            rates.push(self.product.read(64, settings.seconds, SEEDED).await.per_second);
            selects.push(self.pgbench(&reference::select(SEEDED), 64, settings.seconds).await);
        }
        report.ratio("get_pg_vs_select", median(rates), middle(&selects).per_second, 1.2, "per second");
    }

    async fn one_client(&self, settings: &Settings, report: &mut Report) {
        let (mut ours, mut sames, mut bares) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..settings.rounds {
            ours.push(self.product.register(1, settings.seconds, Spread::Hundred).await.latency_ms);
            sames.push(self.pgbench(&same_rows(), 1, settings.seconds).await);
            bares.push(self.pgbench(&bare(), 1, settings.seconds).await);
        }
        let ours = median(ours);
        report.at_most("registration_pg_latency_one_client", ours, middle(&sames).latency_ms, 1.5, "ms");
        report.beside("registration_pg_latency_one_client_vs_bare", ours, middle(&bares).latency_ms, "ms");
    }

    /// Measures the same registration while another session holds an old snapshot for the whole run. Dead row versions
    /// need time to accumulate before they have an effect.
    async fn old_snapshot(&self, settings: &Settings, report: &mut Report) {
        let (mut with, mut without) = (Vec::new(), Vec::new());
        let seconds = 3 * settings.seconds;
        for _ in 0..settings.rounds {
            without.push(self.product.register(64, seconds, Spread::Hundred).await.per_second);
            let idle = self.ours.connect().await;
            idle.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM tenants")
                .await
                .expect("held");
            with.push(self.product.register(64, seconds, Spread::Hundred).await.per_second);
            idle.batch_execute("COMMIT").await.expect("committed");
        }
        report.ratio("registration_pg_old_snapshot", median(with), median(without), 0.9, "per second");
    }
}
