//! Jobs, as they are read.

use crate::viewpoint::Viewpoint;
use crate::word::Word;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::action::Action;
use tenancy_core::job::{self as core, JobState, StepState};
use utoipa::ToSchema;

/// The open job of a tenant, in short.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct OpenJob<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub job_id: Cow<'a, str>,
    /// What it does.
    #[schema(schema_with = super::schema::action)]
    pub action: Word<Action>,
    /// How far it is.
    #[schema(schema_with = super::schema::job_state)]
    pub state: Word<JobState>,
    /// From 0 to 1.
    pub progress: f64,
}

/// One step of a job.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Step<'a> {
    /// Unique within the job.
    #[schema(value_type = String, example = "provision dev")]
    pub name: Cow<'a, str>,
    /// How far it is.
    #[schema(schema_with = super::schema::step_state)]
    pub state: Word<StepState>,
}

/// A job.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Job<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub job_id: Cow<'a, str>,
    /// On whom.
    #[schema(value_type = String)]
    pub tenant_id: Cow<'a, str>,
    /// What it does.
    #[schema(schema_with = super::schema::action)]
    pub action: Word<Action>,
    /// How far it is.
    #[schema(schema_with = super::schema::job_state)]
    pub state: Word<JobState>,
    /// From 0 to 1.
    pub progress: f64,
    /// Its steps, in order.
    pub steps: Vec<Step<'a>>,
    /// Lines for people; left out in lists, and when it is cancelled.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub logs: Option<Cow<'a, str>>,
    /// For what it waits, while it is queued.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub waiting_for: Option<Cow<'a, str>>,
    /// Queued: not before; running: until when its lease holds.
    #[schema(value_type = String, format = DateTime)]
    pub due_at: Timestamp,
    /// How often it was begun.
    pub attempt: i64,
    /// How it failed: stable.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub error_code: Option<Cow<'a, str>>,
    /// How it failed, with what to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub error: Option<Cow<'a, str>>,
    /// In which request it was asked for.
    #[schema(value_type = String)]
    pub correlation_id: Cow<'a, str>,
    /// Who asked for it.
    #[schema(value_type = String)]
    pub requested_by: Cow<'a, str>,
    /// The name of the key, where that is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub requested_by_name: Option<Cow<'a, str>>,
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
    pub fn of(job: &'a core::Job) -> Self {
        Self {
            job_id: job.job_id.as_str().into(),
            action: job.action.into(),
            state: job.state.into(),
            progress: job.progress,
        }
    }
}

impl Step<'_> {
    fn of(step: &core::Step) -> Self {
        Self { name: step.to_string().into(), state: step.state.into() }
    }
}

impl<'a> Job<'a> {
    /// Of a row.
    pub fn of(viewpoint: Viewpoint<'_>, job: &'a core::Job) -> Self {
        Self { logs: Some(job.logs.as_str().into()), ..Self::row(viewpoint, job) }
    }

    /// Of a row, for a list: without its log.
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
            waiting_for: job.waiting_for.as_deref().map(Cow::Borrowed),
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

/// Where a job is read.
pub fn location(job: &core::Job) -> String {
    format!("/v1/tenants/{}/jobs/{}", job.tenant_id, job.job_id)
}
