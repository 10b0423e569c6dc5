//! A fresh database of each kind, and short functions to decide and commit.

use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::actor::Actor;
use tenancy_core::changes::Changes;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::ids::{CorrelationId, OrganizationId, TenantId};
use tenancy_core::job::Job;
use tenancy_core::manifest::Manifest;
use tenancy_core::rules::organizations::{self, OrganizationManifest};
use tenancy_core::rules::{Decision, change, outcome, register};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_store::database::Database;
use tenancy_store::{Receipt, Store};
use tenancy_testkit::PgBouncer;
use tenancy_vault::Vault;

/// Fresh database that is removed on drop.
pub struct Bench {
    #[allow(dead_code, reason = "for suites that compare databases")]
    pub name: &'static str,
    pub store: Store,
    pub declared: Declared,
    moments: AtomicU64,
    _directory: Option<tempfile::TempDir>,
}

/// Defines a test for each database from one function that takes a [`Bench`].
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::harness::Bench::sqlite().await).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::harness::Bench::postgres().await).await; })+
        }
    };
}
pub(crate) use on_both;

/// Also defines the test on PostgreSQL behind a pooler.
macro_rules! on_pooled {
    ($($name:ident),+ $(,)?) => {
        mod pooled {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::harness::Bench::pooled().await).await; })+
        }
    };
}
pub(crate) use on_pooled;

/// Also defines the test on the model, for functions that need no upkeep and no filtered list.
macro_rules! on_model {
    ($($name:ident),+ $(,)?) => {
        mod model {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::harness::Bench::model()).await; })+
        }
    };
}
pub(crate) use on_model;

impl Bench {
    pub async fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a directory");
        let database = Database::Sqlite(directory.path().join("tenancy.db"));
        Self::open(database, Some(directory)).await
    }

    pub async fn postgres() -> Self {
        let database = tenancy_testkit::Postgres::shared().database("conformance");
        Self::open(Database::Postgres(database.url().to_owned()), None).await
    }

    /// Connects through PgBouncer, which gives each transaction any free connection.
    pub async fn pooled() -> Self {
        static POOLER: OnceLock<PgBouncer> = OnceLock::new();
        let postgres = tenancy_testkit::Postgres::shared();
        let database = postgres.database("pooled");
        let pooler = POOLER.get_or_init(|| PgBouncer::start(postgres));
        Self::open(Database::Postgres(format!("{}?pooler=transaction", pooler.url(&database))), None).await
    }

    async fn open(database: Database, directory: Option<tempfile::TempDir>) -> Self {
        database.migrate(false).await.expect("migrated");
        Self { _directory: directory, ..Self::on(&database).await }
    }

    /// Opens a migrated database. For the database it is a separate process.
    pub async fn on(database: &Database) -> Self {
        let name = if matches!(database, Database::Sqlite(_)) { "sqlite" } else { "postgres" };
        Self::of(name, database.open_for_test().await.expect("open"))
    }

    /// Opens a migrated database with these keys.
    pub async fn with(database: &Database, vault: Arc<Vault>) -> Result<Self, Error> {
        let name = if matches!(database, Database::Sqlite(_)) { "sqlite" } else { "postgres" };
        Ok(Self::of(name, database.open(vault).await?))
    }

    /// Uses the model.
    pub fn model() -> Self {
        Self::of("model", Store::model())
    }

    fn of(name: &'static str, store: Store) -> Self {
        static BENCHES: AtomicU64 = AtomicU64::new(1);
        // Each bench has different random numbers, so ids never repeat.
        let moments = AtomicU64::new(BENCHES.fetch_add(1, Ordering::Relaxed) << 32);
        Self { name, store, declared: Declared::default(), moments, _directory: None }
    }

    pub fn context(&self) -> DecisionContext {
        let number = self.moments.fetch_add(1, Ordering::Relaxed);
        let mut random = [0; 32];
        random[..8].copy_from_slice(&number.to_le_bytes());
        DecisionContext::new(self.store.now(), random, Actor::system("test"), CorrelationId::known("corr-1"))
    }

    pub async fn commit(&self, changes: Option<Changes>) -> Result<Receipt, Error> {
        self.store.commit(changes.expect("something changes")).await
    }

    /// Creates an organization with caps.
    pub async fn organization(&self, id: &str, caps: Value) {
        let document = json!({"organization_id": id, "caps": caps});
        let (manifest, _) = OrganizationManifest::parse(&self.declared, &document).expect("good");
        let made = organizations::create(&manifest, &mut self.context()).expect("made");
        self.commit(made.changes).await.expect("committed");
    }

    pub fn manifest(&self, document: &Value) -> Manifest {
        Manifest::parse(&self.declared, document).expect("a valid manifest").0
    }

    pub fn registration(&self, document: &Value) -> Decision {
        register::register(&self.declared, &self.manifest(document), Vec::new(), &mut self.context()).expect("decided")
    }

    pub async fn register(&self, document: &Value) -> Result<TenantSnapshot, Error> {
        let decision = self.registration(document);
        self.commit(decision.changes).await?;
        Ok(decision.snapshot)
    }

    pub fn change(&self, snapshot: &TenantSnapshot, document: &Value, allow: &[&str]) -> Result<Decision, Error> {
        // What only removes a limit or a name is not what these suites are about.
        let always = ["remove-alias", "remove-quota", "loosen-policy"];
        let allow: Vec<_> = allow.iter().chain(&always).map(|word| (*word).to_owned()).collect();
        let manifest = self.manifest(document);
        change::change(&self.declared, snapshot, &manifest, Vec::new(), &allow, &mut self.context())
    }

    pub async fn snapshot(&self, id: &str) -> TenantSnapshot {
        self.store.snapshot(&tenant(id)).await.expect("readable").expect("there")
    }

    pub async fn claim(&self) -> Vec<Job> {
        self.store.claim("tester", 100, Duration::from_secs(10)).await.expect("claimed")
    }

    /// Runs jobs until none is due.
    pub async fn drain(&self) {
        loop {
            let jobs = self.claim().await;
            if jobs.is_empty() {
                return;
            }
            for job in jobs {
                let snapshot = self.snapshot(job.tenant_id.as_str()).await;
                let done = outcome::complete(&self.declared, &snapshot, &job, &mut self.context()).expect("decided");
                self.commit(done.changes).await.expect("committed");
            }
        }
    }
}

pub fn tenant(id: &str) -> TenantId {
    TenantId::parse(id).expect("a valid id")
}

pub fn organization(id: &str) -> OrganizationId {
    OrganizationId::parse(id).expect("a valid id")
}

/// Minimal manifest.
pub fn small(id: &str, organization: &str) -> Value {
    json!({"tenant_id": id, "organization_id": organization, "region": "eu-west-1"})
}

/// Manifest with every field.
pub fn full(id: &str, organization: &str) -> Value {
    json!({
        "tenant_id": id,
        "organization_id": organization,
        "display_name": "Acme Europe",
        "profile": "mt-standard",
        "desired_state": "Active",
        "region": "eu-west-1",
        "labels": {"tier": "gold", "team/owner": "a.b"},
        "aliases": {"stripe": format!("cus_{id}"), "host": [format!("{id}.example.com"), format!("www.{id}.example.com")]},
        "quotas": {"storageGiB": 500, "concurrentJobs": 10, "apiRateLimit": 200, "odd": {"kept": [1.5, null, 1e30]}},
        "policies": {"dataResidency": "in-region-only", "encryption": "kms-per-tenant", "retentionDays": 365},
        "billing": {"plan": "enterprise", "costCenter": "CC-1042"},
        "environments": [
            {"name": "dev", "isolation_level": "shared", "quotas": {"storageGiB": 50}, "retention_days": 30},
            {"name": "prod", "isolation_level": "strict", "quotas": {"storageGiB": 400}, "retention_days": 365},
        ],
        "webhooks": [{
            "name": "main",
            "url": "https://hooks.example.com/tenancy",
            "events": ["TENANCY_*"],
            "retry_policy": {"backoff": "exponential", "max_retries": 8},
        }],
    })
}
