//! What handlers are given.

use super::response_cache::ResponseCache;
use crate::authentication::Authentication;
use crate::background::Background;
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::tenancy::Tenancy;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The server's state.
pub struct Server {
    /// What operations stand on.
    pub tenancy: Arc<Tenancy>,
    /// Limits on requests.
    pub limits: Limits,
    /// Figures.
    pub metrics: Arc<Metrics>,
    /// Tenants as they were rendered last.
    pub response_cache: ResponseCache,
    /// Looks tokens up.
    pub authentication: Authentication,
    /// What runs in the background.
    pub background: Arc<Background>,
    /// Cancelled when the server stops: whoever waits answers now.
    pub stop: CancellationToken,
}
