//! The product: the real server on a real database, without its job runner, so that only registrations are measured and
//! not the work after them. The load comes from another thread, as that of pgbench comes from another process.

use crate::Names;
use crate::load::{Load, Request, once, paced, request, run};
use std::collections::HashMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tenancy_core::Error;
use tenancy_core::apikey::Role;
use tenancy_core::ids::CorrelationId;
use tenancy_core::rules::keys;
use tenancy_server::config::Config;
use tenancy_server::tenancy::{RequestContext, Tenancy};
use tenancy_server::token::Token;
use tenancy_store::Store;
use tenancy_store::database::Database;
use tenancy_vault::Vault;
use tenancy_vault::directory::Directory;
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Number of possible names, and the factor that spreads them. The two have no common divisor, so no name repeats.
const UNIQUE_NAMES: u64 = 1_000_000_000_000_000;
const UNIQUE_FACTOR: u64 = 618_033_988_749;

/// Returns the name of the tenant with this number, after a letter for its side. It ends with one of 64 clients, as
/// pgbench counts.
pub fn name(letter: char, names: Names, number: u64) -> String {
    let unique = match names {
        Names::InOrder => number / 64,
        Names::InNoOrder => number.wrapping_mul(UNIQUE_FACTOR) % UNIQUE_NAMES,
    };
    format!("{letter}-{unique:016}-{}", number % 64)
}

/// A running server.
pub struct Product {
    /// Address of the server.
    pub address: SocketAddr,
    /// API key with all permissions.
    pub token: String,
    /// Number of registrations that were answered with 201.
    pub registered: AtomicU64,
    numbers: Arc<AtomicU64>,
    names: Names,
    store: Store,
    stop: CancellationToken,
    task: JoinHandle<Result<(), Error>>,
    runtime: Runtime,
    keys: Arc<TempDir>,
}

/// Distribution of tenants over organizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Over a hundred organizations.
    Hundred,
    /// All in one organization.
    One,
}

/// Which key wraps the data keys of the tenants that are registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wrapping {
    /// The key that all tenants share, which is the default.
    Shared,
    /// A key of the tenant's own: the policy `kms-per-tenant`.
    PerTenant,
}

/// Manifest of a tenant, after the members `before`. As cheap as in pgbench: the load runs on the same two cores.
fn tenant(name: &str, organization: u64, before: &str, wrapping: Wrapping) -> String {
    let encryption = if wrapping == Wrapping::PerTenant { r#", "encryption": "kms-per-tenant""# } else { "" };
    format!(
        r#"{{{before}"tenant_id": "{name}", "organization_id": "org-{organization}", "display_name": "A customer",
        "region": "eu-west-1", "labels": {{"tier": "gold"}},
        "quotas": {{"storageGiB": 500, "concurrentJobs": 10, "apiRateLimit": 200}},
        "policies": {{"dataResidency": "in-region-only", "retentionDays": 365{encryption}}},
        "billing": {{"plan": "enterprise"}}}}"#
    )
}

impl Product {
    /// Opens and serves a migrated database, with as many threads as the program would use.
    pub async fn start(database: &Database, names: Names) -> Self {
        Self::open(database, names, Config::default(), None).await
    }

    /// Does the same with another configuration, and with the keys of another product if its database was copied. Creates
    /// the organizations, which other databases get when they are seeded.
    pub async fn start_with(database: &Database, names: Names, config: Config, keys: Option<Arc<TempDir>>) -> Self {
        let product = Self::open(database, names, config, keys).await;
        let one = |number| format!(r#"{{"kind": "Organization", "organization_id": "org-{number}"}}"#);
        let all: Vec<_> = (1..=100).map(one).collect();
        product.send("POST", "/v1/apply", &format!("[{}]", all.join(",")), 200).await;
        product
    }

    async fn open(database: &Database, names: Names, mut config: Config, keys: Option<Arc<TempDir>>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let runtime = Builder::new_multi_thread().worker_threads(database.request_threads(cores)).enable_all().build();
        let (runtime, database) = (runtime.expect("threads"), database.clone());
        // A copy has the key of the original.
        let key_name = if keys.is_some() { "bench-copy" } else { "bench" };
        let (keys, service) = match keys {
            Some(keys) => (Arc::clone(&keys), Directory::open(&keys.path().join("keys")).expect("keys")),
            None => {
                let keys = tempfile::tempdir().expect("a directory");
                let service = Directory::create(&keys.path().join("keys")).expect("keys");
                (Arc::new(keys), service)
            }
        };
        let vault = Vault::new(Arc::new(service), 20_000);
        let opening = async move { database.open(vault).await.expect("open") };
        let store = runtime.spawn(opening).await.expect("opened");
        config.jobs.enabled = false;
        let tenancy = Tenancy::new(store.clone(), config.declared.clone());
        let token = Token::fresh().expect("random");
        let asked = RequestContext::by_part("bench", CorrelationId::known("bench"));
        let mut context = tenancy.context(&asked).expect("a context");
        let key = keys::create(key_name, keys::Rights::unlimited(Role::Admin), None, token.digest(), &mut context)
            .expect("decided");
        store.commit(key.changes.expect("a change")).await.expect("committed");
        let stop = CancellationToken::new();
        let serving = {
            let (store, stop) = (store.clone(), stop.clone());
            async move {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("bound");
                let address = listener.local_addr().expect("an address");
                (address, tokio::spawn(tenancy_server::serve(config, store, listener, stop)))
            }
        };
        let (address, task) = runtime.spawn(serving).await.expect("serves");
        let numbers = Arc::new(AtomicU64::new(0));
        let (token, registered) = (token.reveal().to_owned(), AtomicU64::new(0));
        Self { address, token, registered, numbers, names, store, stop, task, runtime, keys }
    }

    /// Directory of the keys, which a copy of the database needs.
    pub fn keys(&self) -> Arc<TempDir> {
        Arc::clone(&self.keys)
    }

    /// Threads of the server.
    pub fn threads(&self) -> &Handle {
        self.runtime.handle()
    }

    /// Registers tenants as fast as the server answers.
    pub async fn register(&self, connections: usize, seconds: u64, spread: Spread) -> Load {
        self.register_under(connections, seconds, spread, Wrapping::Shared).await
    }

    /// Registers tenants whose data keys are wrapped like this.
    pub async fn register_under(&self, connections: usize, seconds: u64, spread: Spread, wrapping: Wrapping) -> Load {
        let make = self.registration(spread, wrapping);
        let load = run(self.address, connections, Duration::from_secs(seconds), 201, make, &self.numbers).await;
        self.registered.fetch_add(load.answered, Ordering::Relaxed);
        load
    }

    /// Registers a number of tenants per second. Returns their names, with the times of the answers.
    pub async fn register_at(&self, per_second: u64, seconds: u64, spread: Spread) -> HashMap<String, Instant> {
        let (make, count) = (self.registration(spread, Wrapping::Shared), per_second * seconds);
        let first = self.numbers.fetch_add(count, Ordering::Relaxed);
        let answers = paced(self.address, 32, per_second, first..first + count, 201, make).await;
        self.registered.fetch_add(count, Ordering::Relaxed);
        self.named(answers)
    }

    /// Returns the names of registered tenants, with the times of the answers.
    pub fn named(&self, answers: Vec<(u64, Instant)>) -> HashMap<String, Instant> {
        answers.into_iter().map(|(number, at)| (name('t', self.names, number), at)).collect()
    }

    /// Leaves out names that were used before the database was copied or opened again.
    pub fn skip(&self, count: u64) {
        self.numbers.fetch_add(count, Ordering::Relaxed);
    }

    fn registration(&self, spread: Spread, wrapping: Wrapping) -> Request {
        let (token, names) = (self.token.clone(), self.names);
        Arc::new(move |number| {
            let organization = if spread == Spread::One { 1 } else { 1 + number % 100 };
            let body = tenant(&name('t', names, number), organization, "", wrapping);
            request("POST", "/v1/tenants", &token, &body)
        })
    }

    /// Applies a file of new tenants, and then the same file again. Returns both rates, in documents per second.
    pub async fn apply(&self, count: u64) -> (f64, f64) {
        let file = self.file(count);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let documents = count as f64;
        let new = documents / once(self.address, &file, 200).await;
        self.registered.fetch_add(count, Ordering::Relaxed);
        (new, documents / once(self.address, &file, 200).await)
    }

    /// Applies a file of new tenants, once.
    pub async fn apply_new(&self, count: u64) {
        once(self.address, &self.file(count), 200).await;
        self.registered.fetch_add(count, Ordering::Relaxed);
    }

    fn file(&self, count: u64) -> Vec<u8> {
        let first = self.numbers.fetch_add(count, Ordering::Relaxed);
        let before = r#""kind": "Tenant", "#;
        let one = |number| tenant(&name('t', self.names, number), 1 + number % 100, before, Wrapping::Shared);
        let all: Vec<_> = (first..first + count).map(one).collect();
        request("POST", "/v1/apply", &self.token, &format!("[{}]", all.join(",")))
    }

    /// Sends one request that must be answered with this status.
    pub async fn send(&self, method: &str, path: &str, body: &str, expected: u16) {
        once(self.address, &request(method, path, &self.token, body), expected).await;
    }

    /// Reads tenants that were seeded.
    pub async fn read(&self, connections: usize, seconds: u64, tenants: u64) -> Load {
        let token = self.token.clone();
        // A multiplicative hash: every tenant is read, in scattered order.
        let make: Request = Arc::new(move |number| {
            let tenant = 1 + number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % tenants;
            request("GET", &format!("/v1/tenants/seed-{tenant}"), &token, "")
        });
        run(self.address, connections, Duration::from_secs(seconds), 200, make, &self.numbers).await
    }

    /// Stops the server and waits until it has ended.
    pub async fn stop(self) {
        self.stop.cancel();
        self.task.await.expect("stopped").expect("served");
        self.store.close().await;
        self.runtime.shutdown_background();
    }
}
