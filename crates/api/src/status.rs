//! What runs in the background, as it is read.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use utoipa::ToSchema;

/// The state of the process that answers.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status<'a> {
    /// Loops in the background of this process.
    pub background: Vec<BackgroundLoop<'a>>,
}

/// A loop in the background, since the process started.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct BackgroundLoop<'a> {
    /// Its name.
    #[schema(value_type = String, example = "ended-holds")]
    pub name: Cow<'a, str>,
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
