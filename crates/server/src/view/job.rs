//! Jobs, as they are read.

use serde::Serialize;
use tenancy_core::Timestamp;
use tenancy_core::action::Action;
use tenancy_core::ids::{CorrelationId, JobId, TenantId};
use tenancy_core::job::{Job, JobState, Step};
use utoipa::ToSchema;

/// The open job of a tenant, in short.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = OpenJob)]
pub struct OpenJob<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub job_id: &'a JobId,
    /// What it does.
    #[schema(schema_with = super::schema::action)]
    pub action: Action,
    /// How far it is.
    #[schema(schema_with = super::schema::job_state)]
    pub state: JobState,
    /// From 0 to 1.
    pub progress: f64,
}

/// One step of a job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Step)]
pub struct StepView {
    /// Unique within the job.
    #[schema(example = "provision dev")]
    pub name: String,
    /// How far it is.
    #[schema(schema_with = super::schema::step_state)]
    pub state: tenancy_core::job::StepState,
}

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub struct JobView<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub job_id: &'a JobId,
    /// On whom.
    #[schema(value_type = String)]
    pub tenant_id: &'a TenantId,
    /// What it does.
    #[schema(schema_with = super::schema::action)]
    pub action: Action,
    /// How far it is.
    #[schema(schema_with = super::schema::job_state)]
    pub state: JobState,
    /// From 0 to 1.
    pub progress: f64,
    /// Its steps, in order.
    pub steps: Vec<StepView>,
    /// Lines for people; left out in lists, and when it is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub logs: Option<&'a str>,
    /// For what it waits, while it is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_for: Option<&'a str>,
    /// Queued: not before; running: until when its lease holds.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// How often it was begun.
    pub attempt: i64,
    /// How it failed: stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_code: Option<&'a str>,
    /// How it failed, with what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<&'a str>,
    /// In which request it was asked for.
    #[schema(value_type = String)]
    pub correlation_id: &'a CorrelationId,
    /// Who asked for it.
    pub requested_by: &'a str,
    /// When it was queued.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl<'a> OpenJob<'a> {
    /// Of a row.
    pub fn of(job: &'a Job) -> Self {
        Self { job_id: &job.job_id, action: job.action, state: job.state, progress: job.progress }
    }
}

impl StepView {
    fn of(step: &Step) -> Self {
        Self { name: step.to_string(), state: step.state }
    }
}

impl<'a> JobView<'a> {
    /// Of a row.
    pub fn of(job: &'a Job) -> Self {
        Self { logs: Some(&job.logs), ..Self::row(job) }
    }

    /// Of a row, for a list: without its log.
    pub fn row(job: &'a Job) -> Self {
        Self {
            job_id: &job.job_id,
            tenant_id: &job.tenant_id,
            action: job.action,
            state: job.state,
            progress: job.progress,
            steps: job.steps.iter().map(StepView::of).collect(),
            logs: None,
            waiting_for: job.waiting_for.as_deref(),
            due_at: job.due_at,
            attempt: job.attempt,
            error_code: job.error_code.as_deref(),
            error: job.error.as_deref(),
            correlation_id: &job.correlation_id,
            requested_by: &job.requested_by,
            created_at: job.created_at,
            updated_at: job.updated_at,
            finished_at: job.finished_at,
        }
    }
}

/// Where a job is read.
pub fn location(job: &Job) -> String {
    format!("/v1/tenants/{}/jobs/{}", job.tenant_id, job.job_id)
}
