//! Jobs as responses show them.

use crate::viewpoint::Viewpoint;
use crate::word::Word;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::action::Action;
use tenancy_core::job::{self as core, JobState, StepState};
use utoipa::ToSchema;

/// Open job of a tenant. Its state and progress change without a change of the tenant: read the job to see them.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OpenJob<'a> {
    /// Id of the job.
    #[schema(value_type = String)]
    pub job_id: Cow<'a, str>,
    /// Action of the job.
    #[schema(value_type = crate::schema::Action)]
    pub action: Word<Action>,
}

/// One step of a job.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Step<'a> {
    /// Name of the step, unique within the job.
    #[schema(value_type = String, example = "provision dev")]
    pub name: Cow<'a, str>,
    /// State of the step.
    #[schema(value_type = crate::schema::StepState)]
    pub state: Word<StepState>,
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Job<'a> {
    /// Id of the job.
    #[schema(value_type = String)]
    pub job_id: Cow<'a, str>,
    /// Tenant that the job works on.
    #[schema(value_type = String)]
    pub tenant_id: Cow<'a, str>,
    /// Action of the job.
    #[schema(value_type = crate::schema::Action)]
    pub action: Word<Action>,
    /// State of the job.
    #[schema(value_type = crate::schema::JobState)]
    pub state: Word<JobState>,
    /// Progress, from 0 to 1.
    pub progress: f64,
    /// Steps of the job, in order.
    pub steps: Vec<Step<'a>>,
    /// Log of the job, for people. Omitted in lists and in the response of `cancel`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub logs: Option<Cow<'a, str>>,
    /// Condition that a queued job waits for.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub waiting_for: Option<Cow<'a, str>>,
    /// If the job is queued: earliest time at which it runs. If it is running: time at which its lease expires.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// Number of times that the job was started.
    pub attempt: i64,
    /// Stable code of the failure.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub error_code: Option<Cow<'a, str>>,
    /// Reason of the failure and what to do, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub error: Option<Cow<'a, str>>,
    /// Correlation id of the request that queued the job.
    #[schema(value_type = String)]
    pub correlation_id: Cow<'a, str>,
    /// Actor that requested the job: `kind:subject`.
    #[schema(value_type = String)]
    pub requested_by: Cow<'a, str>,
    /// Name of the key, if the actor is a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub requested_by_name: Option<Cow<'a, str>>,
    /// Time at which the job was queued.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Time at which the job ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub finished_at: Option<Timestamp>,
}

impl<'a> OpenJob<'a> {
    /// Builds the response from a row.
    pub fn of(job: &'a core::Job) -> Self {
        Self { job_id: job.job_id.as_str().into(), action: job.action.into() }
    }
}

impl Step<'_> {
    fn of(step: &core::Step) -> Self {
        Self { name: step.to_string().into(), state: step.state.into() }
    }
}

impl<'a> Job<'a> {
    /// Builds the response from a row.
    pub fn of(viewpoint: Viewpoint<'_>, job: &'a core::Job) -> Self {
        Self { logs: Some(job.logs.as_str().into()), ..Self::row(viewpoint, job) }
    }

    /// Builds the item of a list from a row, without the log.
    pub fn row(viewpoint: Viewpoint<'_>, job: &'a core::Job) -> Self {
        let (requested_by, requested_by_name) = viewpoint.actor(&job.requested_by);
        Self {
            job_id: job.job_id.as_str().into(),
            tenant_id: job.tenant_id.as_str().into(),
            action: job.action.into(),
            state: job.state.into(),
            progress: job.progress,
            steps: job.steps.iter().map(Step::of).collect(),
            logs: None,
            waiting_for: viewpoint.internal(job.waiting_for.as_deref()).flatten().map(Cow::Borrowed),
            due_at: job.due_at,
            attempt: job.attempt,
            error_code: job.error_code.as_deref().map(Cow::Borrowed),
            error: job.error.as_deref().map(Cow::Borrowed),
            correlation_id: job.correlation_id.as_str().into(),
            requested_by,
            requested_by_name,
            created_at: job.created_at,
            updated_at: job.updated_at,
            finished_at: job.finished_at,
        }
    }
}

/// Returns the path of a job, for `Location`.
pub fn location(job: &core::Job) -> String {
    format!("/v1/tenants/{}/jobs/{}", job.tenant_id, job.job_id)
}
