//! What is sent, byte for byte.

use crate::receiver::{Receiver, header};
use crate::{LONG, message, now, secrets, send_as, sender};
use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tenancy_core::webhook::Format;
use tenancy_server::webhooks::sending::{Outcome, Target};

#[tokio::test]
async fn must_send_standard_webhooks_with_a_signature_of_each_secret() {
    let receiver = Receiver::answering("HTTP/1.1 204 x\r\n\r\n").await;
    let attempt = send_as(&sender(), &receiver.url, LONG, false, Format::Standard).await;
    assert_eq!(attempt.outcome, Outcome::Delivered, "{attempt:?}");
    let (head, body) = receiver.seen.requests().pop().expect("a request");
    assert!(head.starts_with("POST /hook?a=b HTTP/1.1\r\n"), "{head}");
    let of = |name| header(&head, name).unwrap_or_else(|| panic!("no {name} in {head}"));
    assert_eq!(of("host"), format!("127.0.0.1:{}", receiver.port));
    assert_eq!(of("content-type"), "application/json");
    assert_eq!(of("webhook-id"), "dlv_01");
    assert_eq!(of("webhook-timestamp"), now().as_second().to_string());
    let signed = [b"dlv_01.".to_vec(), format!("{}.", now().as_second()).into_bytes(), body.clone()].concat();
    let signatures = [[7; 32], [9; 32]].map(|key| {
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &key), &signed);
        format!("v1,{}", STANDARD.encode(tag.as_ref()))
    });
    assert_eq!(of("webhook-signature"), signatures.join(" "));
    let data = serde_json::from_slice::<Value>(&message().data).expect("JSON");
    let expected = json!({"type": "TENANCY_CREATED", "timestamp": "2026-11-30T09:59:58.25Z", "data": data});
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), expected);
    // `test` shows what was sent.
    assert_eq!(attempt.request.body_bytes, body.len());
    for (name, value) in &attempt.request.headers {
        assert_eq!(of(name), value);
    }
}

#[tokio::test]
async fn must_send_cloudevents_whose_id_is_the_webhook_id() {
    let receiver = Receiver::answering("HTTP/1.1 204 x\r\n\r\n").await;
    send_as(&sender(), &receiver.url, LONG, false, Format::CloudEvents).await;
    let (head, body) = receiver.seen.requests().pop().expect("a request");
    assert_eq!(header(&head, "content-type"), Some("application/cloudevents+json"));
    assert!(header(&head, "webhook-signature").is_some_and(|signature| signature.starts_with("v1,")));
    let data = serde_json::from_slice::<Value>(&message().data).expect("JSON");
    let expected = json!({
        "specversion": "1.0", "id": "dlv_01", "source": "https://tenancy.example", "type": "TENANCY_CREATED",
        "time": "2026-11-30T09:59:58.25Z", "datacontenttype": "application/json", "data": data,
    });
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), expected);
    assert_eq!(header(&head, "webhook-id"), Some("dlv_01"));
}

#[tokio::test]
async fn must_send_nothing_that_it_cannot_sign_and_show_no_secret() {
    let receiver = Receiver::answering("HTTP/1.1 204 x\r\n\r\n").await;
    let (sender, mut bad) = (sender(), secrets());
    bad[1].text = "whsec_tooshort".to_owned();
    for secrets in [Vec::new(), bad] {
        let target = Target {
            url: &receiver.url,
            is_platform: false,
            timeout: LONG,
            secrets: &secrets,
            format: Format::Standard,
        };
        let attempt = sender.send(&target, &message(), now()).await;
        assert_eq!((attempt.outcome, attempt.error), (Outcome::Failed, Some("secret")));
        let shown = format!("{attempt:?} {target:?} {sender:?}");
        assert!(!shown.contains("whsec_t") && !shown.contains(&crate::secrets()[0].text[6..]), "{shown}");
    }
    assert_eq!(receiver.seen.connections(), 0);
}
