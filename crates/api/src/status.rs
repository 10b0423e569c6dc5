//! The status of the server as responses show it.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use tenancy_core::Timestamp;
use utoipa::ToSchema;

/// Status of the server process that answers the request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Status<'a> {
    /// Background loops of this process.
    pub background: Vec<BackgroundLoop<'a>>,
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
