//! `/healthz`, `/readyz` and `/metrics` are open and contain nothing about any tenant. `/v1/status` requires a
//! permission.

use crate::background::LoopStatus;
use crate::http::caller::By;
use crate::http::problem::Problem;
use crate::http::query::NoQuery;
use crate::http::respond::{bytes, json};
use crate::http::server::Server;
use crate::operations::job_queue::{self, Overview};
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use std::sync::Arc;
use tenancy_api::health::{Health, Readiness};
use tenancy_api::status::{BackgroundLoop as LoopView, Database as DatabaseView, JobQueue as QueueView};
use tenancy_api::status::{Status as StatusView, WaitingJobs};
use tenancy_core::Error;
use tenancy_store::DatabaseHealth;

/// Returns 200 while the process runs.
#[utoipa::path(get, path = "/healthz", tag = "health", operation_id = "healthz", responses((status = 200, body = Health)))]
pub async fn healthz() -> Result<Response, Problem> {
    json(&Health { status: Health::OK.to_owned() })
}

/// Returns whether the server can serve requests: the database answers, and the server is not stopping.
///
/// `warnings` lists problems that an operator should resolve before they cause failures, such as names that are in use
/// but no longer declared.
#[utoipa::path(
    get, path = "/readyz", tag = "health", operation_id = "readyz",
    responses((status = 200, body = Readiness), (status = 503, body = Readiness)),
)]
pub async fn readyz(State(server): State<Arc<Server>>) -> Result<Response, Problem> {
    let wrong = |error: Error| DatabaseHealth { wrong: vec![error.to_string()], ..DatabaseHealth::default() };
    let DatabaseHealth { mut wrong, mut warnings } = server.tenancy.store.health().await.unwrap_or_else(wrong);
    warnings.extend(server.tenancy.undeclared.warnings());
    if wrong.is_empty() {
        // Only a warning: a database that does not answer is found above.
        warnings.extend(job_queue::warning(&server.tenancy).await.unwrap_or_default());
    }
    if server.stop.is_cancelled() {
        wrong.push("the server is stopping".to_owned());
    }
    let readiness = Readiness::of(wrong, warnings);
    let mut response = json(&readiness)?;
    if !readiness.is_ready() {
        *response.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    }
    Ok(response)
}

/// Returns the version of the server, its database and open jobs, and the background loops of the process that answers.
///
/// Figures of background loops count from the start of the process.
#[utoipa::path(
    get, path = "/v1/status", tag = "health", operation_id = "status",
    responses((status = 200, body = StatusView)),
)]
pub async fn status(State(server): State<Arc<Server>>, By(caller): By, _: NoQuery) -> Result<Response, Problem> {
    let view = |status: &LoopStatus| {
        let figures = status.figures();
        LoopView {
            name: status.name.into(),
            period_seconds: status.period.as_secs_f64(),
            runs: figures.runs,
            errors: figures.errors,
            last_run_at: figures.last_run_at,
            last_success_at: figures.last_success_at,
            last_error_at: figures.last_error_at,
            last_error: figures.last_error,
        }
    };
    let overview = job_queue::overview(&server.tenancy, &caller).await?;
    let (database, jobs) = overview.map(shown).unzip();
    let background = server.background.status().map(view).collect();
    let provisioner = server.provisioner.map(|kind| kind.as_str().into());
    json(&StatusView { version: Some(env!("CARGO_PKG_VERSION").into()), database, jobs, provisioner, background })
}

fn shown(overview: Overview) -> (DatabaseView<'static>, QueueView<'static>) {
    let Overview { kind, bytes, jobs } = overview;
    let waits_for = jobs.waits_for.into_iter();
    let queue = QueueView {
        due: jobs.due,
        waiting: jobs.waiting,
        running: jobs.running,
        is_more: jobs.is_more,
        oldest_due_at: jobs.oldest_due_at,
        processes: jobs.processes,
        waits_for: waits_for.map(|(condition, jobs)| WaitingJobs { condition: condition.into(), jobs }).collect(),
    };
    (DatabaseView { kind: kind.into(), bytes }, queue)
}

/// Returns metrics for Prometheus.
#[utoipa::path(
    get, path = "/metrics", tag = "health", operation_id = "metrics",
    responses((status = 200, body = String, content_type = "application/openmetrics-text")),
)]
pub async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let media_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    server.metrics.commits_waiting.set(i64::try_from(server.tenancy.store.waiting()).unwrap_or(i64::MAX));
    bytes(StatusCode::OK, media_type, server.metrics.text())
}
