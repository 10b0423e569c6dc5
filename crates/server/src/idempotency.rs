//! Idempotency-Key: a repeated request gets the answer to the first one, and has no second effect.
//!
//! The answer is stored in the commit of the change, under the API key of the request. The record is read before the
//! rule decides, since the rule would refuse a change that has already been made. Of two simultaneous requests, the
//! commit accepts one and returns its answer to the other. An answer to a request that changed nothing is stored
//! separately: if the state differs when the request is repeated, the repetition must not change it.

use crate::answer::Answer;
use crate::tenancy::Tenancy;
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::ids::KeyId;
use tenancy_core::json::{Strict, canonical, sha256_hex};
use tenancy_core::{Error, Timestamp};

/// Time for which an answer is stored.
pub const KEPT_HOURS: i64 = 24;

/// Maximum size of a JSON body that is compared in its canonical form, in bytes. A larger one, such as a file of manifests,
/// is compared as it was sent: parsing it a second time would hold up other requests.
const MAX_CANONICAL_BYTES: usize = 64 * 1024;

/// Maximum length of an Idempotency-Key, in bytes.
pub const MAX_KEY_LENGTH_BYTES: usize = 255;

/// A request with an Idempotency-Key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    digest: String,
    /// Digest of the request. A JSON body is digested in its canonical form: a client that repeats a request may write the
    /// members in another order.
    request_digest: String,
    /// Digest of the request as it was sent, which the release before stored.
    sent_digest: String,
}

impl IdempotencyKey {
    /// Creates the key from the header's value and the whole request.
    ///
    /// # Errors
    /// [`Error::Malformed`] if the value is empty or too long.
    pub fn new(key: &KeyId, value: &[u8], method: &str, path: &str, body: &[u8]) -> Result<Self, Error> {
        if value.is_empty() || value.len() > MAX_KEY_LENGTH_BYTES {
            return Err(Error::Malformed(format!("Idempotency-Key must be 1 to {MAX_KEY_LENGTH_BYTES} bytes")));
        }
        Ok(Self {
            digest: sha256_hex(&[key.as_str().as_bytes(), value]),
            request_digest: match (body.len() <= MAX_CANONICAL_BYTES).then(|| Strict::parse(body)) {
                Some(Ok(document)) => {
                    sha256_hex(&[method.as_bytes(), path.as_bytes(), canonical(&document).as_bytes()])
                }
                _ => sha256_hex(&[method.as_bytes(), path.as_bytes(), body]),
            },
            sent_digest: sha256_hex(&[method.as_bytes(), path.as_bytes(), body]),
        })
    }

    /// Returns the key of one part of the request. `apply` commits each document separately.
    #[must_use]
    pub fn part(&self, name: &str) -> Self {
        let digest = sha256_hex(&[self.digest.as_bytes(), name.as_bytes()]);
        Self { digest, ..self.clone() }
    }

    /// Returns the digest under which the answer is stored.
    pub fn digest(&self) -> &str {
        &self.digest
    }

    /// Returns the first answer, if one is stored. It is a promise like the first one, so it must survive the same
    /// failures: where commits wait for a standby, the standby has it before it is returned.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`] if it answered another request.
    pub async fn first_answer(&self, tenancy: &Tenancy) -> Result<Option<Answer>, Error> {
        match tenancy.store.answer(&self.digest).await? {
            Some(record) => {
                let answer = self.answer_of(&record)?;
                tenancy.store.confirm().await?;
                Ok(Some(answer))
            }
            None => Ok(None),
        }
    }

    /// Returns the answer in `record`, if it answered this request.
    ///
    /// # Errors
    /// [`Error::IdempotencyKeyReused`].
    pub fn answer_of(&self, record: &IdempotencyRecord) -> Result<Answer, Error> {
        if [&self.request_digest, &self.sent_digest].contains(&&record.request_digest) {
            Ok(Answer::kept(record))
        } else {
            Err(Error::IdempotencyKeyReused)
        }
    }

    /// Returns the record that stores the answer to this request.
    pub fn record(&self, answer: &Answer, now: Timestamp) -> IdempotencyRecord {
        let kept = jiff::SignedDuration::from_hours(KEPT_HOURS);
        IdempotencyRecord {
            digest: self.digest.clone(),
            request_digest: self.request_digest.clone(),
            status: i64::from(answer.status),
            headers: answer.headers(),
            body: answer.body.clone(),
            created_at: now,
            expires_at: now.checked_add(kept).unwrap_or(now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(owner: &str, value: &str, body: &str) -> IdempotencyKey {
        IdempotencyKey::new(&KeyId::known(owner), value.as_bytes(), "POST", "/v1/tenants", body.as_bytes())
            .expect("a key")
    }

    #[test]
    fn must_belong_to_one_api_key_and_one_request() {
        let first = key("key_a", "k", "{}");
        assert_eq!(first, key("key_a", "k", "{}"));
        assert_ne!(first.digest, key("key_b", "k", "{}").digest);
        assert_ne!(first.request_digest, key("key_a", "k", "[]").request_digest);
        assert_ne!(first.digest, first.part("x").digest);
        assert!(IdempotencyKey::new(&KeyId::known("a"), b"", "POST", "/", b"").is_err());
        assert!(IdempotencyKey::new(&KeyId::known("a"), &[b'x'; 256], "POST", "/", b"").is_err());
    }

    #[test]
    fn must_be_the_same_request_however_its_json_is_written() {
        let first = key("key_a", "k", r#"{"a": 1, "b": [1, 2]}"#);
        let again = key("key_a", "k", r#"{ "b":[1,2],"a":1 }"#);
        assert_eq!(first.request_digest, again.request_digest);
        assert_ne!(first.request_digest, key("key_a", "k", r#"{"a": 1, "b": [2, 1]}"#).request_digest);
        assert_ne!(key("key_a", "k", "a: 1").request_digest, key("key_a", "k", "a:  1").request_digest);
    }

    #[test]
    fn must_replay_only_to_the_same_request() {
        let answer = Answer { status: 201, etag: Some("1.1".into()), location: None, body: "{}".into() };
        let key = key("key_a", "k", "{}");
        let record = key.record(&answer, Timestamp::UNIX_EPOCH);
        assert_eq!(key.answer_of(&record), Ok(answer));
        let other = IdempotencyRecord { request_digest: "x".into(), ..record };
        assert_eq!(key.answer_of(&other), Err(Error::IdempotencyKeyReused));
    }

    #[test]
    fn must_keep_an_answer_for_24_hours() {
        let answer = Answer { status: 201, etag: None, location: None, body: "{}".into() };
        let kept = key("key_a", "k", "{}").record(&answer, Timestamp::UNIX_EPOCH);
        assert_eq!(kept.expires_at.duration_since(kept.created_at), jiff::SignedDuration::from_hours(24));
    }
}
