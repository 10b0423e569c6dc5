//! Health and readiness of the server.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Response of `/healthz`: the process runs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Health {
    /// `ok`.
    pub status: String,
}

impl Health {
    /// The status of a process that runs.
    pub const OK: &'static str = "ok";
}

/// Response of `/readyz`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Readiness {
    /// `ok`, or `not ready`.
    pub status: String,
    /// Conditions that will cause failures if they are not corrected.
    pub warnings: Vec<String>,
    /// Reasons why the server is not ready.
    pub wrong: Vec<String>,
}

impl Readiness {
    /// Builds the response: ready if `wrong` is empty.
    pub fn of(wrong: Vec<String>, warnings: Vec<String>) -> Self {
        let status = if wrong.is_empty() { Health::OK } else { "not ready" };
        Self { status: status.to_owned(), warnings, wrong }
    }

    /// Whether the server is ready.
    pub fn is_ready(&self) -> bool {
        self.status == Health::OK
    }
}
