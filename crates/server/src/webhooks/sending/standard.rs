//! Standard Webhooks 1.0: the body, and the signatures of every format.

use super::Message;
use super::fault::{self, Fault};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;
use std::fmt::Write as _;
use std::ops::RangeInclusive;
use tenancy_core::webhook::{MAX_SECRET_BYTES, MIN_SECRET_BYTES, Secret};

const SECRET_BYTES: RangeInclusive<usize> = MIN_SECRET_BYTES..=MAX_SECRET_BYTES;

/// Content type of the body.
pub(super) const CONTENT_TYPE: &str = "application/json";

/// Renders the body: `type`, `timestamp` and `data`.
pub(super) fn body(message: &Message) -> Vec<u8> {
    let mut body = Vec::with_capacity(message.data.len() + 128);
    body.extend_from_slice(b"{\"type\":");
    body.extend_from_slice(quoted(&message.event_type).as_bytes());
    body.extend_from_slice(format!(",\"timestamp\":\"{}\",\"data\":", message.occurred_at).as_bytes());
    body.extend_from_slice(&message.data);
    body.push(b'}');
    body
}

/// Returns a text as JSON.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Returns the value of `webhook-signature`: one signature for each secret, separated by spaces.
///
/// # Errors
/// Fails if there is no secret, or one of them is malformed. The message does not contain it.
pub fn signature(secrets: &[Secret], id: &str, timestamp_seconds: i64, body: &[u8]) -> Result<String, Fault> {
    let mut all = String::new();
    for secret in secrets {
        let key = secret.key();
        if !SECRET_BYTES.contains(&key.len()) {
            let detail = "a secret of the endpoint is not whsec_ with 24 to 64 bytes in base64: rotate it";
            return Err(Fault::new(fault::SECRET, detail));
        }
        let mut mac = hmac::Context::with_key(&hmac::Key::new(hmac::HMAC_SHA256, &key));
        mac.update(format!("{id}.{timestamp_seconds}.").as_bytes());
        mac.update(body);
        let space = if all.is_empty() { "" } else { " " };
        // Writing to a text cannot fail.
        let _ = write!(all, "{space}v1,{}", STANDARD.encode(mac.sign().as_ref()));
    }
    if all.is_empty() {
        return Err(Fault::new(fault::SECRET, "the endpoint has no secret, and nothing is sent without a signature"));
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use tenancy_core::Timestamp;

    fn live(text: &str) -> Secret {
        Secret { text: text.to_owned(), created_at: Timestamp::UNIX_EPOCH, expires_at: None }
    }

    #[test]
    fn must_sign_as_the_specification_shows() {
        // The example of the specification's reference libraries.
        let secret = live("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let body = br#"{"test": 2432232314}"#;
        let signed = signature(std::slice::from_ref(&secret), "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body)
            .expect("signed");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
        let two = signature(&[secret.clone(), secret], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, body);
        assert_eq!(two.expect("signed"), format!("{signed} {signed}"));
    }

    #[test]
    fn must_refuse_to_send_without_a_good_secret_and_not_show_a_bad_one() {
        assert_eq!(signature(&[], "a", 1, b"").expect_err("none").code, "secret");
        for bad in
            ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLa", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_!!", "", "whsec_"]
        {
            let fault = signature(&[live(bad)], "a", 1, b"").expect_err(bad);
            assert!(fault.code == "secret" && (bad.len() < 10 || !fault.detail.contains(bad)), "{fault:?}");
        }
        for (bytes, is_good) in [(23, false), (24, true), (64, true), (65, false)] {
            let text = format!("whsec_{}", STANDARD.encode(vec![7; bytes]));
            assert_eq!(signature(&[live(&text)], "a", 1, b"").is_ok(), is_good, "{bytes}");
        }
        let shown = format!("{:?}", live("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
        assert!(!shown.contains("MfKQ"), "{shown}");
    }
}
