//! What runs in the background, as it is read.

use serde::Serialize;
use tenancy_core::Timestamp;
use utoipa::ToSchema;

/// The state of the process that answers.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Status)]
pub struct StatusView<'a> {
    /// Loops in the background of this process.
    pub background: Vec<LoopView<'a>>,
}

/// A loop in the background, since the process started.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = BackgroundLoop)]
pub struct LoopView<'a> {
    /// Its name.
    #[schema(example = "ended-holds")]
    pub name: &'a str,
    /// Longest time between two runs, in seconds.
    pub period_seconds: f64,
    /// Number of runs.
    pub runs: u64,
    /// Number of runs that failed.
    pub errors: u64,
    /// End of the last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_run_at: Option<Timestamp>,
    /// End of the last run that did not fail.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_success_at: Option<Timestamp>,
    /// End of the last run that failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_error_at: Option<Timestamp>,
    /// Error of that run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_error: Option<String>,
}
