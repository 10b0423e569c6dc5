//! A server with its store, called without a network in between.

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use tenancy_core::apikey::Role;
use tenancy_core::declared::Declared;
use tenancy_server::config::{Jobs, Limits};
use tenancy_server::http::router::router;
use tenancy_server::http::server::Server;
use tenancy_server::metrics::Metrics;
use tenancy_server::operations::keys::make_first;
use tenancy_server::provisioner::{Provisioner, Recorder};
use tenancy_server::runner::Runner;
use tenancy_server::tenancy::Tenancy;
use tenancy_store::database::Database;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub struct House {
    pub server: Arc<Server>,
    pub runner: Arc<Runner>,
    router: Router,
    keys: Vec<(Role, String)>,
    _place: TempDir,
}

/// An answer, read whole.
#[derive(Debug)]
pub struct Answered {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Value,
}

impl Answered {
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ascii"))
    }

    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }

    /// The answer, if its status is this one.
    #[track_caller]
    pub fn ok(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{:#}", self.body);
        self
    }
}

impl House {
    pub async fn new() -> Self {
        Self::with(Arc::new(Recorder)).await
    }

    pub async fn with(provisioner: Arc<dyn Provisioner>) -> Self {
        let place = tempfile::tempdir().expect("a directory");
        let database = Database::Sqlite(place.path().join("tenancy.db"));
        database.migrate(false).await.expect("migrated");
        let tenancy = Tenancy::new(database.open().await.expect("open"), Declared::default());
        let mut keys = Vec::new();
        for (name, role) in Role::WORDS {
            let made = make_first(&tenancy, name, *role).await.expect("a key");
            keys.push((*role, made.token.reveal().to_owned()));
        }
        let (metrics, stop) = (Arc::new(Metrics::default()), CancellationToken::new());
        let runner =
            Runner::new(Arc::clone(&tenancy), provisioner, Arc::clone(&metrics), Jobs::default(), stop.clone());
        let server = Arc::new(Server { tenancy, limits: Limits::default(), metrics, stop });
        Self { router: router(&server), server, runner, keys, _place: place }
    }

    pub fn token(&self, role: Role) -> &str {
        &self.keys.iter().find(|(of, _)| *of == role).expect("a key of each role").1
    }

    /// Sends a request of the admin.
    pub async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)], body: impl Into<Sent>) -> Answered {
        let token = format!("Bearer {}", self.token(Role::Admin));
        let headers: Vec<_> = headers.iter().copied().chain([("authorization", token.as_str())]).collect();
        self.send_as_it_is(method, path, &headers, body).await
    }

    /// Sends a request with these headers and no others.
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
        let body = to_bytes(body, usize::MAX).await.expect("a body");
        let body = match serde_json::from_slice(&body) {
            Ok(body) => body,
            Err(_) => Value::String(String::from_utf8_lossy(&body).into_owned()),
        };
        Answered { status: parts.status, headers: parts.headers, body }
    }

    pub async fn get(&self, path: &str) -> Answered {
        self.send("GET", path, &[], ()).await
    }

    pub async fn post(&self, path: &str, body: impl Into<Sent>) -> Answered {
        self.send("POST", path, &[], body).await
    }

    /// Works all jobs, those that follow from others too.
    pub async fn work(&self) {
        while self.runner.run_once().await.expect("jobs") > 0 {}
    }

    /// Events of the log, oldest first, as `type actor-kind`.
    pub async fn events(&self, query: &str) -> Vec<Value> {
        let page = self.get(&format!("/v1/audit?limit=500&{query}")).await.ok(200);
        page.body["items"].as_array().expect("items").clone()
    }

    /// An organization `acme` with a tenant `acme-eu` in service.
    pub async fn furnish(&self) {
        self.post("/v1/organizations", json!({"organization_id": "acme", "display_name": "Acme"})).await.ok(201);
        self.post("/v1/tenants", acme_eu()).await.ok(201);
        self.work().await;
    }
}

/// A manifest.
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

/// A body that can be sent.
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
