//! A server with its store, called without a network.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use futures_util::StreamExt;
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tempfile::TempDir;
use tenancy_core::apikey::Role;
use tenancy_core::declared::Declared;
use tenancy_server::authentication::Authentication;
use tenancy_server::background::Background;
use tenancy_server::config::{Jobs, Limits, Webhooks};
use tenancy_server::feed::{EventLimits, Seats};
use tenancy_server::http::key_traffic::KeyTraffic;
use tenancy_server::http::response_cache::ResponseCache;
use tenancy_server::http::router::router;
use tenancy_server::http::server::Server;
use tenancy_server::jobs::Runner;
use tenancy_server::key_limits::KeyLimits;
use tenancy_server::metrics::Metrics;
use tenancy_server::operations::keys::make_first;
use tenancy_server::provisioner::{Provisioner, ProvisionerKind, Recorder};
use tenancy_server::serve::loops;
use tenancy_server::tenancy::Tenancy;
use tenancy_server::webhooks::deliverer::Deliverer;
use tenancy_server::webhooks::sending::Sender;
use tenancy_store::Store;
use tenancy_store::database::Database;
use tenancy_testkit::Postgres;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

/// Database of a test.
#[derive(Debug, Clone, Copy)]
pub enum On {
    Sqlite,
    Postgres,
}

/// Defines a test for each database from one function that takes an [`On`].
macro_rules! on_both {
    ($($name:ident),+ $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::house::On::Sqlite).await; })+
        }
        mod postgres {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() { super::$name($crate::house::On::Postgres).await; })+
        }
    };
}
pub(crate) use on_both;

/// A new or copied database. Its files are deleted with it.
pub struct Place {
    database: Database,
    directory: Option<TempDir>,
    postgres: Option<tenancy_testkit::Database>,
}

/// Contents of a database that is copied for each test, since creating and filling one takes much longer.
pub struct Original {
    kept: Kept,
    keys: Vec<(Role, String)>,
}

enum Kept {
    Files(Vec<(String, Vec<u8>)>),
    Postgres(tenancy_testkit::Database),
}

impl Original {
    /// Creates the original with `furnish`, once. Uses its own runtime, so that no connection stays open.
    pub async fn of<F: Future>(
        originals: &'static [OnceCell<Original>; 2],
        on: On,
        furnish: impl FnOnce(Arc<House>) -> F + Send + 'static,
    ) -> &'static Self {
        let make = move || {
            let runtime = tokio::runtime::Runtime::new().expect("a runtime");
            runtime.block_on(Self::make(on, furnish))
        };
        let made = || async { tokio::task::spawn_blocking(make).await.expect("made").settled().await };
        originals[on as usize].get_or_init(made).await
    }

    /// Waits until no connection is open, since PostgreSQL cannot copy a database in use and connections end shortly
    /// after their runtime.
    async fn settled(self) -> Self {
        let others = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                      AND pid <> pg_backend_pid()";
        if let Kept::Postgres(postgres) = &self.kept {
            while postgres.value(others) != "0" {
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        }
        self
    }

    async fn make<F: Future>(on: On, furnish: impl FnOnce(Arc<House>) -> F) -> Self {
        let (directory, postgres, database) = match on {
            On::Sqlite => {
                let directory = tempfile::tempdir().expect("a directory");
                let database = Database::Sqlite(directory.path().join("tenancy.db"));
                (Some(directory), None, database)
            }
            On::Postgres => {
                let postgres = Postgres::shared().database("original");
                let database = Database::Postgres(postgres.url());
                (None, Some(postgres), database)
            }
        };
        database.migrate(false).await.expect("migrated");
        let store = database.open_for_test().await.expect("open");
        let tenancy = Tenancy::new(store.clone(), Declared::default());
        let mut keys = Vec::new();
        for (name, role) in Role::WORDS.iter().filter(|(_, role)| *role != Role::Customer) {
            // Tests create a key with this name.
            let name = if *role == Role::Gateway { "first gateway" } else { *name };
            let made = make_first(&tenancy, name, *role, "test").await.expect("a key");
            keys.push((*role, made.token.reveal().to_owned()));
        }
        let limits = KeyLimits::default();
        furnish(Arc::new(House::open(tenancy, keys.clone(), Arc::new(Recorder), None, limits))).await;
        store.close().await;
        let kept = match (postgres, directory) {
            (Some(postgres), _) => Kept::Postgres(postgres),
            (None, directory) => Kept::Files(read(directory.expect("one of the two").path())),
        };
        Self { kept, keys }
    }

    fn copy(&self) -> Place {
        match &self.kept {
            Kept::Files(files) => {
                let directory = tempfile::tempdir().expect("a directory");
                for (name, content) in files {
                    std::fs::write(directory.path().join(name), content).expect("written");
                }
                let database = Database::Sqlite(directory.path().join("tenancy.db"));
                Place { database, directory: Some(directory), postgres: None }
            }
            Kept::Postgres(original) => {
                let copy = Postgres::shared().copy_of(original, "copy");
                Place { database: Database::Postgres(copy.url()), directory: None, postgres: Some(copy) }
            }
        }
    }
}

fn read(directory: &std::path::Path) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(directory).expect("readable").map(|entry| entry.expect("readable").path());
    let databases =
        files.filter(|path| path.to_string_lossy().contains(".db") && !path.to_string_lossy().ends_with("lock"));
    let content = |path: std::path::PathBuf| {
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        (name, std::fs::read(&path).expect("readable"))
    };
    databases.map(content).collect()
}

impl On {
    /// A store that contains only keys, and the admin's token.
    pub async fn store(self) -> (Store, String, Option<TempDir>) {
        let original = empty(self).await;
        let place = original.copy();
        let admin = original.keys.iter().find(|(role, _)| *role == Role::Admin).expect("an admin").1.clone();
        (place.database.open_for_test().await.expect("open"), admin, place.directory)
    }
}

async fn empty(on: On) -> &'static Original {
    static ORIGINALS: [OnceCell<Original>; 2] = [const { OnceCell::const_new() }; 2];
    Original::of(&ORIGINALS, on, |_| async {}).await
}

pub struct House {
    pub server: Arc<Server>,
    pub runner: Arc<Runner>,
    pub router: Router,
    keys: Vec<(Role, String)>,
    next: AtomicU64,
    _directory: Option<TempDir>,
    /// Returns the database, if it is PostgreSQL.
    pub postgres: Option<tenancy_testkit::Database>,
}

/// A complete answer.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    /// The body as it was sent.
    pub bytes: Vec<u8>,
    /// The body as JSON, or as text.
    pub body: Value,
}

impl Answered {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ascii"))
    }

    /// Checks that the request was refused with this status and code.
    #[track_caller]
    pub fn refused(self, status: u16, code: &str) -> Self {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
        self
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// Returns the answer if it has this status; panics otherwise.
    #[track_caller]
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self
    }
}

impl House {
    pub async fn new(on: On) -> Self {
        Self::with(on, Arc::new(Recorder)).await
    }

    pub async fn with(on: On, provisioner: Arc<dyn Provisioner>) -> Self {
        Self::copy_of(empty(on).await, provisioner).await
    }

    /// A house with these limits on the requests of each key.
    pub async fn limited(on: On, limits: KeyLimits) -> Self {
        Self::limited_copy_of(empty(on).await, Arc::new(Recorder), limits).await
    }

    pub async fn copy_of(original: &Original, provisioner: Arc<dyn Provisioner>) -> Self {
        // A test can send more requests in a second than a customer may.
        let limits = KeyLimits { scoped_requests_per_second: 0, ..KeyLimits::default() };
        Self::limited_copy_of(original, provisioner, limits).await
    }

    async fn limited_copy_of(original: &Original, provisioner: Arc<dyn Provisioner>, limits: KeyLimits) -> Self {
        let place = original.copy();
        let tenancy = Tenancy::new(place.database.open_for_test().await.expect("open"), Declared::default());
        let house = Self::open(tenancy, original.keys.clone(), provisioner, place.directory, limits);
        Self { postgres: place.postgres, ..house }
    }

    fn open(
        tenancy: Arc<Tenancy>,
        keys: Vec<(Role, String)>,
        provisioner: Arc<dyn Provisioner>,
        directory: Option<TempDir>,
        limits: KeyLimits,
    ) -> Self {
        let (metrics, stop) = (Arc::new(Metrics::new(&tenancy.commits)), CancellationToken::new());
        assert!(tenancy.provisioner.set(Arc::clone(&provisioner)).is_ok());
        let runner =
            Runner::new(Arc::clone(&tenancy), provisioner, Arc::clone(&metrics), Jobs::default(), stop.clone());
        let background =
            Background::new(Arc::clone(&tenancy), Arc::clone(&metrics), loops(&Jobs::default()), stop.clone());
        let webhooks = Webhooks { allow_http: true, allow_loopback: true, ..Webhooks::default() };
        let sender = Arc::new(Sender::new(webhooks.policy()).expect("a sender"));
        let deliverer = Deliverer::new(Arc::clone(&tenancy), sender, Arc::clone(&metrics), webhooks, stop.clone());
        let server = Arc::new(Server {
            tenancy,
            background: Arc::new(background.showing(runner.status())),
            limits: Limits::default(),
            metrics,
            response_cache: ResponseCache::new(1 << 20),
            authentication: Authentication::default(),
            key_traffic: KeyTraffic::new(limits),
            deliverer,
            event_seats: Seats::new(EventLimits::default()),
            provisioner: Some(ProvisionerKind::Record),
            stop,
        });
        Self {
            router: router(&server),
            server,
            runner,
            keys,
            next: AtomicU64::new(0),
            _directory: directory,
            postgres: None,
        }
    }

    /// Another process on the same PostgreSQL.
    pub async fn beside(&self) -> Self {
        let database = Database::Postgres(self.postgres.as_ref().expect("PostgreSQL").url());
        let tenancy = Tenancy::new(database.open_for_test().await.expect("open"), Declared::default());
        Self::open(tenancy, self.keys.clone(), Arc::new(Recorder), None, KeyLimits::default())
    }

    pub fn token(&self, role: Role) -> &str {
        &self.keys.iter().find(|(of, _)| *of == role).expect("a key of each role").1
    }

    /// Returns a number that is unique in this house.
    pub fn next(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Sends a request as the admin.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Sent>) -> Answered {
        let token = format!("Bearer {}", self.token(Role::Admin));
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", token.as_str())]).collect();
        self.send_as_it_is(method, path, &headers, body).await
    }

    /// Sends a request as the key of a role.
    pub async fn send_as(&self, role: Role, method: &str, path: &str, body: impl Into<Sent>) -> Answered {
        let token = format!("Bearer {}", self.token(role));
        self.send_as_it_is(method, path, &[("authorization", token.as_str()), ("if-match", "*")], body).await
    }

    /// Returns the house on the same database with other declared names, as after a restart.
    pub fn declaring(&self, declared: Declared) -> Self {
        let tenancy = Tenancy::new(self.server.tenancy.store.clone(), declared);
        Self::open(tenancy, self.keys.clone(), Arc::new(Recorder), None, KeyLimits::default())
    }

    /// Sends a request with exactly these headers.
    pub async fn send_as_it_is(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Sent>,
    ) -> Answered {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body.into().0)).expect("a request");
        let (parts, body) = self.router.clone().oneshot(request).await.expect("an answer").into_parts();
        let is_stream = parts.headers.get("content-type").is_some_and(|media| media == "text/event-stream");
        let bytes =
            if is_stream { beginning(body).await } else { to_bytes(body, usize::MAX).await.expect("a body").to_vec() };
        let body = match serde_json::from_slice(&bytes) {
            Ok(body) => body,
            Err(_) => Value::String(String::from_utf8_lossy(&bytes).into_owned()),
        };
        crate::catalogue::check(&body);
        Answered { status: parts.status, headers: parts.headers, bytes, body }
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.send("GET", path, &[], ()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Sent>) -> Answered {
        self.send("POST", path, &[], body).await
    }

    /// Another runner of jobs, with another provisioner.
    pub fn working_with(&self, provisioner: Arc<dyn Provisioner>) -> Arc<Runner> {
        let (tenancy, metrics) = (Arc::clone(&self.server.tenancy), Arc::clone(&self.server.metrics));
        Runner::new(tenancy, provisioner, metrics, Jobs::default(), CancellationToken::new())
    }

    /// Runs all jobs, including follow-up jobs.
    pub async fn work(&self) {
        while self.runner.run_once().await.expect("jobs") > 0 {}
    }

    /// Makes deliveries of all events, and sends those that are due.
    pub async fn deliver(&self) {
        let tenancy = &self.server.tenancy;
        tenancy.dispatcher.run_once(tenancy).await.expect("dispatched");
        while self.server.deliverer.run_once().await.expect("delivered") > 0 {}
    }

    /// Continues replays, and sends what they make due.
    pub async fn replay(&self) {
        let tenancy = &self.server.tenancy;
        tenancy.dispatcher.run_once(tenancy).await.expect("dispatched");
        while tenancy_server::webhooks::replay::run_once(tenancy).await.expect("replayed") > 0 {}
        self.deliver().await;
    }

    /// Returns the events of the log, oldest first, as `type actor-kind`.
    pub async fn events(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/v1/audit?limit=500&{query}")).await.ok(200);
        page.body["items"].as_array().expect("items").clone()
    }

    /// Creates organization `acme` with an active tenant `acme-eu`.
    pub async fn furnish(&self) {
        self.post("/v1/organizations", json!({"organization_id": "acme", "display_name": "Acme"})).await.ok(201);
        self.post("/v1/tenants", acme_eu()).await.ok(201);
        self.work().await;
    }
}

/// Returns what a stream sends at first. It does not end by itself.
async fn beginning(body: Body) -> Vec<u8> {
    let (mut frames, mut bytes) = (body.into_data_stream(), Vec::new());
    while let Ok(Some(frame)) = tokio::time::timeout(Duration::from_millis(300), frames.next()).await {
        bytes.extend_from_slice(&frame.expect("a frame"));
    }
    bytes
}

/// Returns a manifest.
pub fn acme_eu() -> Value {
    json!({
        "tenant_id": "acme-eu", "organization_id": "acme", "display_name": "Acme Europe", "desired_state": "Active",
        "region": "eu-west-1", "aliases": {"stripe": "cus_9s6"}, "quotas": {"storageGiB": 500},
        "policies": {"retentionDays": 365},
        "environments": [
            {"name": "dev", "isolation_level": "shared", "quotas": {"storageGiB": 50}, "retention_days": 30},
            {"name": "prod", "quotas": {"storageGiB": 400}},
        ],
    })
}

/// A request body.
pub struct Sent(Vec<u8>);

impl From<()> for Sent {
    fn from((): ()) -> Self {
        Self(Vec::new())
    }
}

impl From<Value> for Sent {
    fn from(body: Value) -> Self {
        Self(body.to_string().into_bytes())
    }
}

impl From<&Value> for Sent {
    fn from(body: &Value) -> Self {
        Self(body.to_string().into_bytes())
    }
}

impl From<&str> for Sent {
    fn from(body: &str) -> Self {
        Self(body.as_bytes().to_vec())
    }
}
