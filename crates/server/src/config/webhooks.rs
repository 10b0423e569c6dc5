//! How this process delivers events to webhooks.

use crate::network::Network;
use crate::webhooks::sending::Policy;
use serde::{Deserialize, Serialize};
use std::ops::RangeInclusive;
use tenancy_core::delivery::MAX_RETENTION_DAYS;

/// How this process delivers events to webhooks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Webhooks {
    /// Whether this process sends deliveries. They are recorded in any case.
    pub send: bool,
    /// Whether URLs may begin with `http://`.
    pub allow_http: bool,
    /// Whether URLs may lead to this machine.
    pub allow_loopback: bool,
    /// Networks that webhooks of the platform may be in beside public addresses.
    pub platform_networks: Vec<Network>,
    /// Maximum number of webhooks that this process sends to at once.
    pub max_running: usize,
    /// Maximum number of requests that this process sends at once.
    pub max_requests: usize,
    /// Duration of a lease without a heartbeat, in seconds.
    pub lease_seconds: u64,
    /// Interval of heartbeats, in seconds.
    pub heartbeat_seconds: u64,
    /// Interval at which the process looks for due deliveries, in milliseconds.
    pub poll_milliseconds: u64,
    /// Time of nothing but failures after which a webhook is disabled, in hours.
    pub disable_after_hours: u32,
    /// Time for which deliveries and their attempts are kept, in days.
    pub retention_days: u32,
}

impl Default for Webhooks {
    fn default() -> Self {
        Self {
            send: true,
            allow_http: false,
            allow_loopback: false,
            platform_networks: Vec::new(),
            max_running: 256,
            max_requests: 256,
            lease_seconds: 30,
            heartbeat_seconds: 5,
            poll_milliseconds: 1000,
            disable_after_hours: 120,
            retention_days: 30,
        }
    }
}

impl Webhooks {
    /// Returns which addresses may be connected to.
    pub fn policy(&self) -> Policy {
        Policy {
            allows_http: self.allow_http,
            allows_loopback: self.allow_loopback,
            platform_networks: self.platform_networks.clone(),
        }
    }

    /// Returns the numbers with their ranges.
    pub(super) fn numbers(&self) -> [(&'static str, u64, RangeInclusive<u64>); 7] {
        let size = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        [
            ("webhooks.max_running", size(self.max_running), 1..=10_000),
            ("webhooks.max_requests", size(self.max_requests), 1..=10_000),
            ("webhooks.lease_seconds", self.lease_seconds, 1..=3600),
            ("webhooks.heartbeat_seconds", self.heartbeat_seconds, 1..=1800),
            ("webhooks.poll_milliseconds", self.poll_milliseconds, 1..=3_600_000),
            ("webhooks.disable_after_hours", self.disable_after_hours.into(), 1..=8760),
            ("webhooks.retention_days", self.retention_days.into(), 1..=MAX_RETENTION_DAYS.into()),
        ]
    }
}
