//! `/v1/jobs` and the jobs of a tenant.

use crate::answer::Answer;
use crate::authentication::Caller;
use crate::http::caller::By;
use crate::http::path::Named;
use crate::http::problem::Problem;
use crate::http::query::Query;
use crate::http::respond::{self, json, text};
use crate::http::server::Server;
use crate::http::write::WriteRequest;
use crate::operations::jobs::{self, Cancel, MAX_WAIT_SECONDS, find, wait};
use crate::tenancy::Tenancy;
use axum::extract::State;
use axum::response::Response;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use tenancy_api::document::Cancellation;
use tenancy_api::job::Job as JobView;
use tenancy_api::list::List;
use tenancy_api::schema;
use tenancy_core::Error;
use tenancy_core::document;
use tenancy_core::hold::MAX_REASON_LENGTH_BYTES;
use tenancy_core::job::{Job, JobState};
use tenancy_store::page::{JobFilter, Page};

/// Lists the jobs of all tenants that the key can read, newest first.
#[utoipa::path(
    get, path = "/v1/jobs", tag = "jobs", operation_id = "list_jobs",
    params(
        ("state" = Option<Vec<schema::JobState>>, Query,
            description = "Only jobs in one of these states. Repeat the parameter, or separate states with commas."),
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
    ),
    responses((status = 200, body = List<JobView>)),
)]
pub async fn list(State(server): State<Arc<Server>>, By(caller): By, query: Query) -> Result<Response, Problem> {
    let (filter, wanted) = read(query)?;
    let listed = jobs::explained_list(&server.tenancy, &caller, &filter, &wanted).await?;
    server.tenancy.load_key_names(listed.items.iter().map(|job| job.requested_by.as_str())).await?;
    let count = listed.items.len();
    let render = move || {
        let viewpoint = caller.viewpoint(&server.tenancy);
        respond::page(&listed, |job| JobView::row(viewpoint, job))
    };
    respond::listed(count, render).await
}

/// Lists the jobs of a tenant, newest first.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/jobs", tag = "jobs", operation_id = "list_tenant_jobs",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("state" = Option<Vec<schema::JobState>>, Query,
            description = "Only jobs in one of these states. Repeat the parameter, or separate states with commas."),
        ("limit" = Option<u64>, Query, description = "Maximum number of items in a page, 1 to 500. Defaults to 50."),
        ("after" = Option<String>, Query, description = "Value of `next` from the previous page."),
    ),
    responses((status = 200, body = List<JobView>)),
)]
pub async fn of_tenant(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named(tenant): Named<String>,
    query: Query,
) -> Result<Response, Problem> {
    let (filter, wanted) = read(query)?;
    let listed = jobs::of_tenant(&server.tenancy, &caller, &tenant, filter, &wanted).await?;
    server.tenancy.load_key_names(listed.items.iter().map(|job| job.requested_by.as_str())).await?;
    let count = listed.items.len();
    let render = move || {
        let viewpoint = caller.viewpoint(&server.tenancy);
        respond::page(&listed, |job| JobView::row(viewpoint, job))
    };
    respond::listed(count, render).await
}

fn read(mut query: Query) -> Result<(JobFilter, Page), Error> {
    let filter = JobFilter { tenant_id: None, states: query.words("state", JobState::WORDS)? };
    let wanted = query.page()?;
    query.no_others()?;
    Ok((filter, wanted))
}

/// Returns a job with its log. With `wait_seconds`, waits until the job ends or the time is over.
#[utoipa::path(
    get, path = "/v1/tenants/{tenant_id}/jobs/{job_id}", tag = "jobs", operation_id = "get_job",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("job_id" = String, Path, description = "Id of the job."),
        ("wait_seconds" = Option<u64>, Query,
            description = "Maximum time to wait for the end of the job, in seconds, 0 to 60. Defaults to 0."),
    ),
    responses((status = 200, body = JobView)),
)]
pub async fn get(
    State(server): State<Arc<Server>>,
    By(caller): By,
    Named((tenant, job)): Named<(String, String)>,
    mut query: Query,
) -> Result<Response, Problem> {
    let seconds = query.number("wait_seconds", 0..=MAX_WAIT_SECONDS)?;
    query.no_others()?;
    let job = match seconds {
        None | Some(0) => find(&server.tenancy, &caller, &tenant, &job).await?,
        Some(seconds) => {
            let time = Duration::from_secs(seconds);
            wait(&server.tenancy, &caller, (&tenant, &job), time, &server.stop).await?
        }
    };
    server.tenancy.load_key_names([job.requested_by.as_str()]).await?;
    json(&JobView::of(caller.viewpoint(&server.tenancy), &job))
}

/// Cancels a job that is queued, waits or runs.
///
/// Completed steps are kept. The job fails with the code `cancelled` and is not retried automatically. A purge that has
/// started cannot be cancelled.
#[utoipa::path(
    post, path = "/v1/tenants/{tenant_id}/jobs/{job_id}/cancel", tag = "jobs", operation_id = "cancel_job",
    params(
        ("tenant_id" = String, Path, description = "Id of the tenant, or an alias as `kind:value`."),
        ("job_id" = String, Path, description = "Id of the job."),
    ),
    request_body(content = Option<Cancellation>),
    responses((status = 200, body = JobView)),
)]
pub async fn cancel(
    State(server): State<Arc<Server>>,
    Named((tenant, job)): Named<(String, String)>,
    write: WriteRequest,
) -> Result<Response, Problem> {
    let reason = cancellation(&write.document_if_any().await?)?;
    let command = Cancel { tenant, job, reason, precondition: write.precondition.clone() };
    write.carry_out(&server, command, cancelled).await
}

/// Omits the log, so that the stored answer for an Idempotency-Key does not duplicate it.
fn cancelled(_: &Tenancy, caller: &Caller, job: &Job) -> Answer {
    Answer { status: 200, body: text(&JobView::row(caller.viewpoint_of_writes(), job)), ..Answer::default() }
}

fn cancellation(document: &Value) -> Result<Option<String>, Error> {
    document::read(document, |fields, findings| Some(fields.text("reason", MAX_REASON_LENGTH_BYTES, findings)))
}
