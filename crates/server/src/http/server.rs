//! State that handlers share.

use super::key_traffic::KeyTraffic;
use super::response_cache::ResponseCache;
use crate::authentication::Authentication;
use crate::background::Background;
use crate::config::Limits;
use crate::feed::Seats;
use crate::metrics::Metrics;
use crate::provisioner::ProvisionerKind;
use crate::tenancy::Tenancy;
use crate::webhooks::deliverer::Deliverer;
use std::sync::Arc;
use tokio_util::sync::CancellationToken;

/// The server's state.
pub struct Server {
    /// Shared state of operations.
    pub tenancy: Arc<Tenancy>,
    /// Limits on requests.
    pub limits: Limits,
    /// Metrics.
    pub metrics: Arc<Metrics>,
    /// Response cache for tenants.
    pub response_cache: ResponseCache,
    /// Looks up tokens.
    pub authentication: Authentication,
    /// Limits on the requests of each key.
    pub key_traffic: KeyTraffic,
    /// Limits on requests that follow events.
    pub event_seats: Arc<Seats>,
    /// Sends events to webhooks.
    pub deliverer: Arc<Deliverer>,
    /// What does the steps of jobs; `None` if this process runs no jobs.
    pub provisioner: Option<ProvisionerKind>,
    /// Status of the background loops.
    pub background: Arc<Background>,
    /// Cancelled when the server stops. Requests that wait then answer at once.
    pub stop: CancellationToken,
}
