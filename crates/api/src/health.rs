//! Whether the server can do its work.

use serde::{Deserialize, Serialize};

/// The answer of `/healthz`: the process runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Health {
    /// `ok`.
    pub status: String,
}

impl Health {
    /// The status of a process that runs.
    pub const OK: &'static str = "ok";
}

/// The answer of `/readyz`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Readiness {
    /// `ok`, or `not ready`.
    pub status: String,
    /// What will fail if nobody acts.
    pub warnings: Vec<String>,
    /// Why the server is not ready.
    pub wrong: Vec<String>,
}

impl Readiness {
    /// Ready, unless something is wrong.
    pub fn of(wrong: Vec<String>, warnings: Vec<String>) -> Self {
        let status = if wrong.is_empty() { Health::OK } else { "not ready" };
        Self { status: status.to_owned(), warnings, wrong }
    }

    /// Whether the server can do its work.
    pub fn is_ready(&self) -> bool {
        self.status == Health::OK
    }
}
