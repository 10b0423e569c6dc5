//! Sends one webhook once: checks the address, signs, and reports what the receiver answered.
//!
//! A receiver is a stranger that a customer names. So the address that is connected to is the address that was checked,
//! nothing follows a redirect or a proxy, and time and memory of an attempt are bounded.

pub mod address;
mod answer;
mod attempt;
mod cloudevents;
mod connector;
pub mod fault;
mod pool;
pub mod resolver;
pub mod standard;

use crate::network::Network;
use bytes::Bytes;
use connector::Connector;
use pool::Pool;
use resolver::Lookup;
use rustls::pki_types::CertificateDer;
use std::sync::Arc;
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
pub struct Sender {
    connector: Connector,
    pool: Arc<Pool>,
    limits: Limits,
}

/// Limits of every attempt, whatever its endpoint asks for.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum time for resolving the name, connecting and the TLS handshake together.
    pub connect: Duration,
    /// Maximum size of an answer's body that is read, in bytes. The rest is not waited for.
    pub answer_bytes: usize,
    /// Time after which an idle connection is closed. Below the 5 seconds after which common receivers close it, since a
    /// message that is sent at that moment is lost.
    pub idle: Duration,
    /// Maximum number of idle connections.
    pub max_idle: usize,
    /// Maximum number of idle connections to one receiver.
    pub max_idle_per_receiver: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            answer_bytes: 16 * 1024,
            idle: Duration::from_secs(4),
            max_idle: 512,
            max_idle_per_receiver: 64,
        }
    }
}

/// What a sender works with. The default is that of the product.
pub struct Options {
    /// Limits of every attempt.
    pub limits: Limits,
    /// Looks up the addresses of host names.
    pub lookup: Arc<dyn Lookup>,
    /// Root certificates beside those of the operating system.
    pub roots: Vec<CertificateDer<'static>>,
}

impl Default for Options {
    fn default() -> Self {
        Self { limits: Limits::default(), lookup: Arc::new(resolver::System::default()), roots: Vec::new() }
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sender").field("policy", self.policy()).field("limits", &self.limits).finish_non_exhaustive()
    }
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
    /// Creates a sender with the limits of the product and the resolver of the operating system.
    ///
    /// # Errors
    /// Fails if the cryptography library supports no version of TLS.
    pub fn new(policy: Policy) -> Result<Self, Error> {
        Self::with(policy, Options::default())
    }

    /// Creates a sender with other limits, another resolver, or more root certificates.
    ///
    /// # Errors
    /// Fails if the cryptography library supports no version of TLS.
    pub fn with(policy: Policy, options: Options) -> Result<Self, Error> {
        let Options { limits, lookup, roots } = options;
        let connector = Connector::new(policy, limits, lookup, roots)?;
        Ok(Self { connector, pool: Pool::new(limits), limits })
    }

    /// Which addresses may be connected to.
    pub fn policy(&self) -> &Policy {
        &self.connector.policy
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
