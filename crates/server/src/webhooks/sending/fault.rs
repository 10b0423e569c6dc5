//! Why an attempt failed, for the log of attempts.

use std::time::Duration;

/// Why an attempt failed: a stable code, and a sentence for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable code.
    pub code: &'static str,
    /// A sentence. It contains no secret, and no address that a name was resolved to: that would show a customer the
    /// names of the platform's network.
    pub detail: String,
}

/// The URL or an address of its host must not be reached.
pub const ADDRESS_REFUSED: &str = "address_refused";
/// The host name has no address.
pub const DNS: &str = "dns";
/// No connection within the time for connecting.
pub const CONNECT_TIMEOUT: &str = "connect_timeout";
/// The connection was refused, or the network is unreachable.
pub const CONNECT: &str = "connect";
/// The TLS handshake failed, or the certificate is not valid.
pub const TLS: &str = "tls";
/// No answer within the time for the attempt.
pub const TIMEOUT: &str = "timeout";
/// The receiver closed the connection before its answer.
pub const CLOSED: &str = "closed";
/// The answer is not HTTP, or its headers are too large.
pub const BAD_ANSWER: &str = "bad_answer";
/// The receiver answered with a redirect.
pub const REDIRECT: &str = "redirect";
/// The receiver answered with 410.
pub const GONE: &str = "gone";
/// The receiver answered with another status that is no success.
pub const STATUS: &str = "status";
/// The endpoint has no secret that can sign.
pub const SECRET: &str = "secret";

impl Fault {
    /// Creates a fault.
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into() }
    }
}

/// A time in seconds, rounded to hundredths.
pub(super) fn seconds(time: Duration) -> String {
    format!("{} s", (time.as_secs_f64() * 100.0).round() / 100.0)
}
