//! The status of the server as responses show it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use utoipa::ToSchema;

/// Status of the server process that answers the request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status<'a> {
    /// Version of the server.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "0.1.0")]
    pub version: Option<Cow<'a, str>>,
    /// The database. Only keys without a scope see it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub database: Option<Database<'a>>,
    /// Open jobs of all tenants. Only keys without a scope see them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jobs: Option<JobQueue<'a>>,
    /// What does the steps of jobs in this process: `record` makes nothing, `sqlite` makes SQLite files. Omitted if the
    /// process runs no jobs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, example = "sqlite")]
    pub provisioner: Option<Cow<'a, str>>,
    /// Background loops of this process.
    pub background: Vec<BackgroundLoop<'a>>,
}

/// The database of the server.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Database<'a> {
    /// `SQLite` or `PostgreSQL`.
    #[schema(value_type = String, example = "PostgreSQL")]
    pub kind: Cow<'a, str>,
    /// Size of the database, in bytes.
    pub bytes: i64,
}

/// The open jobs of all tenants. At most 1,000 due jobs and 1,000 others are counted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct JobQueue<'a> {
    /// Number of jobs that are due and that no process works on.
    pub due: usize,
    /// Number of jobs that wait for a condition or for a time.
    pub waiting: usize,
    /// Number of jobs that a process works on.
    pub running: usize,
    /// Whether there are more jobs than were counted.
    pub is_more: bool,
    /// Time since which the oldest due job is due.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub oldest_due_at: Option<Timestamp>,
    /// Number of processes that work on a job now.
    pub processes: usize,
    /// What jobs wait for, the most frequent first. At most 10 conditions.
    pub waits_for: Vec<WaitingJobs<'a>>,
}

/// Jobs that wait for the same condition.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WaitingJobs<'a> {
    /// The condition.
    #[schema(value_type = String)]
    pub condition: Cow<'a, str>,
    /// Number of jobs.
    pub jobs: usize,
}

/// A background loop. Its figures count from the start of the process.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BackgroundLoop<'a> {
    /// Name of the loop.
    #[schema(value_type = String, example = "ended-holds")]
    pub name: Cow<'a, str>,
    /// Maximum time between two runs, in seconds.
    pub period_seconds: f64,
    /// Number of runs.
    pub runs: u64,
    /// Number of runs that failed.
    pub errors: u64,
    /// Time at which the last run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_run_at: Option<Timestamp>,
    /// Time at which the last successful run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_at: Option<Timestamp>,
    /// Time at which the last failed run ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_error_at: Option<Timestamp>,
    /// Error of the last failed run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}
