//! Sends to a receiver that verifies with an official library. `scripts/webhooks` starts the receivers.

use crate::{LONG, message, sender};
use bytes::Bytes;
use tenancy_core::Timestamp;
use tenancy_core::webhook::{Format, Secret};
use tenancy_server::webhooks::sending::{Message, Outcome, Target};

/// Secrets of the shortest and of the longest length.
const SECRETS: [&str; 2] = [
    "whsec_BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcH",
    "whsec_CQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQ==",
];

#[tokio::test]
#[ignore = "needs a receiver: run scripts/webhooks"]
async fn must_be_accepted_by_the_official_libraries() {
    let url = std::env::var("TENANCY_WEBHOOK_RECEIVER").expect("the URL of a receiver");
    // The libraries compare the timestamp with the clock.
    let now = Timestamp::now();
    let secrets = SECRETS.map(|text| Secret { text: text.to_owned(), created_at: now, expires_at: None });
    let sender = sender();
    let large = format!(r#"{{"text":"{}"}}"#, "Größe 客 🦀 \\u0000 \\\" ".repeat(10_000));
    for data in ["{}", r#"{"name":"Größe 客 🦀","n":12345678901234567890.10,"nested":{"a":[1,2,null]}}"#, &large] {
        for format in [Format::Standard, Format::CloudEvents] {
            let target = Target { url: &url, is_platform: false, timeout: LONG, secrets: &secrets, format };
            let sent = Message { data: Bytes::copy_from_slice(data.as_bytes()), ..message() };
            let attempt = sender.send(&target, &sent, now).await;
            assert_eq!(attempt.outcome, Outcome::Delivered, "{attempt:?}");
        }
    }
}
