//! Metrics of the agent, for Prometheus.

use super::answers::typed;
use axum::body::Body;
use axum::http::header::RETRY_AFTER;
use axum::http::{Response, StatusCode};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
use tenancy_client::AccessCache;

/// Counters of answers.
#[derive(Debug, Default)]
pub struct Metrics {
    answered: AtomicU64,
    refused: AtomicU64,
    limited: AtomicU64,
}

impl Metrics {
    /// Counts an answer about a tenant. An answer with `Retry-After` is one to a tenant that sends too many requests,
    /// whatever its status.
    pub fn count(&self, answer: &Response<Body>) {
        let counter = match answer.status() {
            _ if answer.headers().contains_key(RETRY_AFTER) => &self.limited,
            StatusCode::OK | StatusCode::NOT_MODIFIED => &self.answered,
            _ => &self.refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Returns all metrics.
    pub fn response(&self, cache: &AccessCache) -> Response<Body> {
        let mut text = String::new();
        let mut line = |name: &str, kind: &str, help: &str, samples: &[(&str, String)]| {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}");
            for (labels, value) in samples {
                let _ = writeln!(text, "{name}{labels} {value}");
            }
        };
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed).to_string();
        let answers = [
            ("{answer=\"answered\"}", count(&self.answered)),
            ("{answer=\"refused\"}", count(&self.refused)),
            ("{answer=\"limited\"}", count(&self.limited)),
        ];
        line("tenancy_agent_answers_total", "counter", "Answers about tenants.", &answers);
        let tenants = [("", cache.tenants().to_string())];
        line("tenancy_agent_tenants", "gauge", "Tenants in memory.", &tenants);
        let following = [("", u8::from(cache.is_current()).to_string())];
        line("tenancy_agent_following", "gauge", "Whether the agent follows all changes.", &following);
        if let Some(age) = cache.age() {
            let age = [("", format!("{:.3}", age.as_secs_f64()))];
            line("tenancy_agent_age_seconds", "gauge", "Time since the server confirmed what is in memory.", &age);
        }
        typed(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text)
    }
}
