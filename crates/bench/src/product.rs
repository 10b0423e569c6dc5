//! The product: the real server on a real database, without its job runner, so that only registrations are measured and
//! not the work after them. The load comes from another thread, as that of pgbench comes from another process.

use crate::Names;
use crate::load::{Load, Request, once, request, run};
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;
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
use tokio::runtime::{Builder, Runtime};
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
    _keys: tempfile::TempDir,
}

/// Distribution of tenants over organizations.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// Over a hundred organizations.
    Hundred,
    /// All in one organization.
    One,
}

/// Manifest of a tenant, after the members `before`. As cheap as in pgbench: the load runs on the same two cores.
fn tenant(name: &str, organization: u64, before: &str) -> String {
    format!(
        r#"{{{before}"tenant_id": "{name}", "organization_id": "org-{organization}", "display_name": "A customer",
        "region": "eu-west-1", "labels": {{"tier": "gold"}},
        "quotas": {{"storageGiB": 500, "concurrentJobs": 10, "apiRateLimit": 200}},
        "policies": {{"dataResidency": "in-region-only", "retentionDays": 365}},
        "billing": {{"plan": "enterprise"}}}}"#
    )
}

impl Product {
    /// Opens and serves a migrated database, with as many threads as the program would use.
    pub async fn start(database: &Database, names: Names) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let runtime = Builder::new_multi_thread().worker_threads(database.request_threads(cores)).enable_all().build();
        let (runtime, database) = (runtime.expect("threads"), database.clone());
        let keys = tempfile::tempdir().expect("a directory");
        let service = Directory::create(&keys.path().join("keys")).expect("keys");
        let vault = Vault::new(Arc::new(service), 20_000);
        let opening = async move { database.open(vault).await.expect("open") };
        let store = runtime.spawn(opening).await.expect("opened");
        let mut config = Config::default();
        config.jobs.enabled = false;
        let tenancy = Tenancy::new(store.clone(), config.declared.clone());
        let token = Token::fresh().expect("random");
        let asked = RequestContext::by_part("bench", CorrelationId::known("bench"));
        let mut context = tenancy.context(&asked).expect("a context");
        let key = keys::create("bench", keys::Rights::unlimited(Role::Admin), None, token.digest(), &mut context)
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
        Self { address, token, registered, numbers, names, store, stop, task, runtime, _keys: keys }
    }

    /// Registers tenants.
    pub async fn register(&self, connections: usize, seconds: u64, spread: Spread) -> Load {
        let (token, names) = (self.token.clone(), self.names);
        let make: Request = Arc::new(move |number| {
            let organization = if spread == Spread::One { 1 } else { 1 + number % 100 };
            let body = tenant(&name('t', names, number), organization, "");
            request("POST", "/v1/tenants", &token, &body)
        });
        let load = run(self.address, connections, Duration::from_secs(seconds), 201, make, &self.numbers).await;
        self.registered.fetch_add(load.answered, std::sync::atomic::Ordering::Relaxed);
        load
    }

    /// Applies a file of new tenants, and then the same file again. Returns both rates, in documents per second.
    pub async fn apply(&self, count: u64) -> (f64, f64) {
        let first = self.numbers.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        let one = |number| tenant(&name('t', self.names, number), 1 + number % 100, r#""kind": "Tenant", "#);
        let all: Vec<_> = (first..first + count).map(one).collect();
        let file = request("POST", "/v1/apply", &self.token, &format!("[{}]", all.join(",")));
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52")]
        let documents = count as f64;
        let new = documents / once(self.address, &file, 200).await;
        self.registered.fetch_add(count, std::sync::atomic::Ordering::Relaxed);
        (new, documents / once(self.address, &file, 200).await)
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
