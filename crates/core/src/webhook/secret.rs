//! Secrets of webhooks, with which requests are signed.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// Beginning of every secret.
pub const SECRET_PREFIX: &str = "whsec_";
/// Minimum number of bytes of a secret.
pub const MIN_SECRET_BYTES: usize = 24;
/// Maximum number of bytes of a secret.
pub const MAX_SECRET_BYTES: usize = 64;
/// Maximum length of the text of a secret, in bytes.
pub const MAX_SECRET_LENGTH_BYTES: usize = SECRET_PREFIX.len() + MAX_SECRET_BYTES.div_ceil(3) * 4;
/// Maximum number of secrets of a webhook that are live at the same time.
pub const MAX_LIVE_SECRETS: usize = 10;
/// Default time during which the secrets before a rotation stay live, in seconds: one day.
pub const DEFAULT_OVERLAP_SECONDS: i64 = 24 * 60 * 60;
/// Maximum time during which the secrets before a rotation stay live, in seconds: seven days.
pub const MAX_OVERLAP_SECONDS: i64 = 7 * 24 * 60 * 60;

/// Secret of a webhook.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Secret {
    /// `whsec_` and base64 of 24 to 64 bytes.
    pub text: String,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time from which requests are no longer signed with it; `None` for the current secret.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Timestamp>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Secret");
        shown.field("created_at", &self.created_at).field("expires_at", &self.expires_at).finish_non_exhaustive()
    }
}

impl Secret {
    /// Creates a secret from random bytes.
    pub fn from_bytes(bytes: &[u8; 32], now: Timestamp) -> Self {
        Self { text: format!("{SECRET_PREFIX}{}", STANDARD.encode(bytes)), created_at: now, expires_at: None }
    }

    /// Takes a secret from a caller.
    ///
    /// # Errors
    /// The rest of a sentence that begins with the name of the field. It does not contain the text.
    pub fn parse(text: &str, now: Timestamp) -> Result<Self, String> {
        let rule = format!(
            "must be {SECRET_PREFIX} followed by base64, with padding, of {MIN_SECRET_BYTES} to {MAX_SECRET_BYTES} random bytes"
        );
        let secret = Self { text: text.to_owned(), created_at: now, expires_at: None };
        let is_good = text.len() <= MAX_SECRET_LENGTH_BYTES
            && text.starts_with(SECRET_PREFIX)
            && (MIN_SECRET_BYTES..=MAX_SECRET_BYTES).contains(&secret.key().len());
        if is_good { Ok(secret) } else { Err(rule) }
    }

    /// Returns the key of the signature: the bytes that the text encodes. The library takes canonical base64 only, so
    /// that every receiver decodes the same bytes.
    pub fn key(&self) -> Vec<u8> {
        let encoded = self.text.strip_prefix(SECRET_PREFIX).unwrap_or_default();
        STANDARD.decode(encoded).unwrap_or_default()
    }

    /// Whether requests are signed with the secret at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.expires_at.is_none_or(|at| now < at)
    }
}

/// Secrets of a webhook, the newest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<Secret>);

impl Secrets {
    /// Returns the secrets of a new webhook.
    pub fn new(first: Secret) -> Self {
        Self(vec![first])
    }

    /// Reads what [`Secrets::to_text`] wrote; `None` if it is anything else.
    pub fn parse(text: &str) -> Option<Self> {
        serde_json::from_str(text).map(Self).ok()
    }

    /// Returns the secrets as JSON, to be encrypted.
    pub fn to_text(&self) -> String {
        serde_json::to_string(&self.0).unwrap_or_default()
    }

    /// Whether there are no secrets.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the secrets that are live at `now`, the newest first. Each request has a signature with each of them.
    pub fn live(&self, now: Timestamp) -> impl Iterator<Item = &Secret> {
        self.0.iter().filter(move |secret| secret.is_live(now))
    }

    /// Adds a new secret. The others stay live for `overlap` at most.
    ///
    /// # Errors
    /// A sentence, if the limit of live secrets is reached, or if the new secret is live already.
    pub fn rotate(&self, new: Secret, overlap: Duration, now: Timestamp) -> Result<Self, String> {
        let end = i64::try_from(overlap.as_secs())
            .ok()
            .and_then(|seconds| now.checked_add(jiff::SignedDuration::from_secs(seconds)).ok());
        let end = end.unwrap_or(Timestamp::MAX);
        let kept = self.0.iter().cloned().map(|secret| {
            let expires_at = Some(secret.expires_at.map_or(end, |at| at.min(end)));
            Secret { expires_at, ..secret }
        });
        let kept: Vec<_> = kept.filter(|secret| secret.is_live(now)).collect();
        if kept.iter().any(|secret| secret.text == new.text) {
            return Err("the webhook has this secret already: give another one".to_owned());
        }
        if kept.len() >= MAX_LIVE_SECRETS {
            let message = format!(
                "the webhook has {MAX_LIVE_SECRETS} live secrets, which is the maximum: wait until one expires, or rotate with an overlap of 0"
            );
            return Err(message);
        }
        Ok(Self(std::iter::once(new).chain(kept).collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(86_400);

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("in range")
    }

    fn secret(byte: u8, seconds: i64) -> Secret {
        Secret::from_bytes(&[byte; 32], at(seconds))
    }

    fn texts(secrets: &Secrets, seconds: i64) -> Vec<String> {
        secrets.live(at(seconds)).map(|secret| secret.text.clone()).collect()
    }

    #[test]
    fn must_take_24_to_64_bytes_in_canonical_base64_and_never_repeat_a_bad_secret() {
        for length in [24, 25, 26, 32, 64] {
            let text = format!("whsec_{}", STANDARD.encode(vec![7; length]));
            let taken = Secret::parse(&text, at(0)).expect("good");
            assert_eq!(taken.key(), vec![7; length]);
        }
        let encoded = STANDARD.encode([7; 32]);
        for bad in [
            String::new(),
            "whsec_".to_owned(),
            encoded.clone(),
            format!("whsec_{}", STANDARD.encode([7; 23])),
            format!("whsec_{}", STANDARD.encode([7; 65])),
            format!("whsec_{}", encoded.trim_end_matches('=')),
            format!("whsec_{} ", encoded),
            format!("WHSEC_{encoded}"),
            format!("whsec_{}", "-".repeat(44)),
        ] {
            let said = Secret::parse(&bad, at(0)).expect_err(&bad);
            assert!(said.starts_with("must be whsec_") && !said.contains(&encoded), "{said}");
        }
        assert_eq!(Secret::parse(&secret(1, 0).text, at(0)), Ok(secret(1, 0)));
    }

    #[test]
    fn must_not_show_a_secret_in_debug_output() {
        let shown = format!("{:?} {:?}", secret(1, 0), Secrets::new(secret(1, 0)));
        assert!(!shown.contains("whsec_") && !shown.contains(&STANDARD.encode([1; 32])), "{shown}");
    }

    #[test]
    fn must_keep_the_former_secrets_live_for_the_overlap() {
        let first = Secrets::new(secret(1, 0));
        let second = first.rotate(secret(2, 10), DAY, at(10)).expect("rotated");
        assert_eq!(texts(&second, 10), [secret(2, 0).text, secret(1, 0).text]);
        assert_eq!(texts(&second, 10 + 86_400), [secret(2, 0).text]);
        // A later rotation shortens an overlap, and never extends it.
        let third = second.rotate(secret(3, 20), 7 * DAY, at(20)).expect("rotated");
        assert_eq!(texts(&third, 10 + 86_400), [secret(3, 0).text, secret(2, 0).text]);
        let none = third.rotate(secret(4, 30), Duration::ZERO, at(30)).expect("rotated");
        assert_eq!(texts(&none, 30), [secret(4, 0).text]);
        assert_eq!(Secrets::parse(&third.to_text()), Some(third));
    }

    #[test]
    fn must_refuse_an_eleventh_live_secret_and_one_that_is_live_already() {
        let mut secrets = Secrets::new(secret(0, 0));
        for byte in 1..10 {
            secrets = secrets.rotate(secret(byte, 0), DAY, at(0)).expect("rotated");
        }
        assert_eq!(secrets.live(at(0)).count(), MAX_LIVE_SECRETS);
        assert!(secrets.rotate(secret(10, 0), DAY, at(0)).is_err());
        assert!(secrets.rotate(secret(10, 0), Duration::ZERO, at(0)).is_ok());
        assert!(secrets.rotate(secret(10, 0), DAY, at(86_400)).is_ok(), "expired secrets do not count");
        let one = Secrets::new(secret(1, 0));
        assert!(one.rotate(secret(1, 0), DAY, at(0)).is_err());
    }
}
