//! Metrics for Prometheus. Labels are routes, statuses and fixed words; they never identify a tenant.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use tenancy_core::{Error, Timestamp};

/// Labels of a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RequestLabels {
    /// `GET`, `POST`, …
    pub method: String,
    /// Route as registered, with parameters in braces.
    pub route: String,
    /// Status of the answer.
    pub status: u16,
}

/// Labels of a route.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RouteLabels {
    /// `GET`, `POST`, …
    pub method: String,
    /// Route as registered, with parameters in braces.
    pub route: String,
}

/// Labels of the outcome of a job.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct JobLabels {
    /// `create`, `activate`, …
    pub action: &'static str,
    /// `completed`, `failed`, `cancelled` or `lost`; for a job that is requeued, `waits` or `given_back`.
    pub outcome: &'static str,
}

/// Limit on connections and on what clients leave unread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionLimit {
    /// All connections.
    All,
    /// Connections of one peer.
    PerPeer,
    /// Connections without a valid key.
    WithoutKey,
    /// Open files of the process.
    OpenFiles,
    /// Time and rate in which a client accepts a response.
    WriteTimeout,
    /// Size of the responses that clients have not accepted.
    ResponseBytes,
}

impl ConnectionLimit {
    fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::PerPeer => "per_peer",
            Self::WithoutKey => "without_key",
            Self::OpenFiles => "open_files",
            Self::WriteTimeout => "write_timeout",
            Self::ResponseBytes => "response_bytes",
        }
    }
}

/// Label of a limit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LimitLabels {
    /// `all`, `per_peer`, `without_key`, `open_files`, `write_timeout` or `response_bytes`.
    pub limit: &'static str,
}

/// Label of a background loop.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LoopLabels {
    /// Name of the loop.
    pub name: &'static str,
}

/// Labels of the outcome of a run of a background loop.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RunLabels {
    /// Name of the loop.
    pub name: &'static str,
    /// `ok` or `error`.
    pub outcome: &'static str,
}

/// Label of the outcome of a commit.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CommitLabels {
    /// `committed`, or the error's code.
    pub outcome: &'static str,
}

/// Label of the outcome of an attempt to deliver an event.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
}

/// Counter of commits by outcome, including conflicts and failures.
#[derive(Debug, Clone, Default)]
pub struct Commits(Family<CommitLabels, Counter>);

impl Commits {
    /// Counts a commit.
    pub fn ended<T>(&self, done: &Result<T, Error>) {
        let outcome = done.as_ref().map_or_else(Error::code, |_| "committed");
        self.0.get_or_create(&CommitLabels { outcome }).inc();
    }
}

/// Metrics of a process.
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    seconds: Family<RouteLabels, Histogram, fn() -> Histogram>,
    jobs_ended: Family<JobLabels, Counter>,
    delivery_attempts: Family<AttemptLabels, Counter>,
    connections_limited: Family<LimitLabels, Counter>,
    background_runs: Family<RunLabels, Counter>,
    background_last_success: Family<LoopLabels, Gauge>,
    /// Jobs that are running now.
    pub jobs_running: Gauge,
    /// Connections that are open now.
    pub connections: Gauge,
    /// Changes that are waiting to be committed now.
    pub commits_waiting: Gauge,
}

/// Metrics of one route, looked up once.
pub struct RouteMetrics {
    labels: RouteLabels,
    requests: Family<RequestLabels, Counter>,
    /// Counters of this route by status, each looked up once.
    answered: RwLock<Vec<(u16, Counter)>>,
    seconds: Histogram,
}

impl Metrics {
    /// Creates the metrics, including those of commits.
    pub fn new(commits: &Commits) -> Self {
        let mut registry = Registry::with_prefix("tenancy");
        let seconds: fn() -> Histogram =
            || Histogram::new([0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 60.0]);
        let metrics = Self {
            requests: Family::default(),
            seconds: Family::new_with_constructor(seconds),
            jobs_ended: Family::default(),
            delivery_attempts: Family::default(),
            connections_limited: Family::default(),
            background_runs: Family::default(),
            background_last_success: Family::default(),
            jobs_running: Gauge::default(),
            connections: Gauge::default(),
            commits_waiting: Gauge::default(),
            registry: Registry::default(),
        };
        registry.register("http_requests", "Requests by route and status", metrics.requests.clone());
        registry.register("http_request_seconds", "Duration of requests by route", metrics.seconds.clone());
        registry.register("jobs_ended", "Jobs by action and outcome", metrics.jobs_ended.clone());
        let attempts = metrics.delivery_attempts.clone();
        registry.register("webhook_attempts", "Attempts to deliver events to webhooks by outcome", attempts);
        let (runs, success) = (metrics.background_runs.clone(), metrics.background_last_success.clone());
        registry.register("background_runs", "Runs of background loops by outcome", runs);
        let when = "Unix time of the last successful run of a background loop";
        registry.register("background_last_success_timestamp_seconds", when, success);
        registry.register("jobs_running", "Jobs that are running now", metrics.jobs_running.clone());
        registry.register("http_connections", "Connections that are open now", metrics.connections.clone());
        registry.register(
            "http_connections_limited",
            "Connections and responses that a limit closed or refused",
            metrics.connections_limited.clone(),
        );
        registry.register("commits", "Commits by outcome", commits.0.clone());
        registry.register(
            "commits_waiting",
            "Changes that are waiting to be committed",
            metrics.commits_waiting.clone(),
        );
        Self { registry, ..metrics }
    }

    /// Returns the metrics of a route.
    pub fn route(&self, method: &str, route: &str) -> RouteMetrics {
        let labels = RouteLabels { method: method.to_owned(), route: route.to_owned() };
        let seconds = self.seconds.get_or_create_owned(&labels);
        RouteMetrics { labels, requests: self.requests.clone(), answered: RwLock::default(), seconds }
    }

    /// Counts a job that ended.
    pub fn job_ended(&self, action: &'static str, outcome: &'static str) {
        self.jobs_ended.get_or_create(&JobLabels { action, outcome }).inc();
    }

    /// Counts an attempt to deliver an event to a webhook.
    pub fn delivery_attempted(&self, outcome: &'static str) {
        self.delivery_attempts.get_or_create(&AttemptLabels { outcome }).inc();
    }

    /// Counts a connection or a response that a limit closed or refused.
    pub fn limited(&self, limit: ConnectionLimit) {
        self.connections_limited.get_or_create(&LimitLabels { limit: limit.name() }).inc();
    }

    /// Counts a run of a background loop.
    pub fn loop_ended(&self, name: &'static str, is_good: bool, now: Timestamp) {
        let outcome = if is_good { "ok" } else { "error" };
        self.background_runs.get_or_create(&RunLabels { name, outcome }).inc();
        if is_good {
            self.background_last_success.get_or_create(&LoopLabels { name }).set(now.as_second());
        }
    }

    /// Returns all metrics in the OpenMetrics text format.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}

impl RouteMetrics {
    /// Counts an answer.
    pub fn answered(&self, status: u16, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
        let known = self.answered.read().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, counter)) = known.iter().find(|(known, _)| *known == status) {
            counter.inc();
            return;
        }
        drop(known);
        let labels = RequestLabels { method: self.labels.method.clone(), route: self.labels.route.clone(), status };
        let counter = self.requests.get_or_create_owned(&labels);
        counter.inc();
        // If two requests see a new status at the same time, both store the same counter.
        self.answered.write().unwrap_or_else(PoisonError::into_inner).push((status, counter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_say_how_many_and_how_fast() {
        let commits = Commits::default();
        let metrics = Metrics::new(&commits);
        commits.ended(&Ok(()));
        commits.ended::<()>(&Err(Error::Internal("a full disk".to_owned())));
        metrics.route("GET", "/v1/tenants/{tenant_id}").answered(200, Duration::from_millis(3));
        metrics.job_ended("create", "completed");
        let text = metrics.text();
        let line = "tenancy_http_requests_total{method=\"GET\",route=\"/v1/tenants/{tenant_id}\",status=\"200\"} 1";
        assert!(text.contains(line), "{text}");
        assert!(text.contains("tenancy_commits_total{outcome=\"committed\"} 1"), "{text}");
        assert!(text.contains("tenancy_commits_total{outcome=\"internal\"} 1"), "{text}");
        assert!(text.contains("tenancy_jobs_ended_total{action=\"create\",outcome=\"completed\"} 1"), "{text}");
    }
}
