//! Sends webhooks to real receivers, good ones and bad ones of every kind.
#![allow(clippy::expect_used, clippy::unwrap_used, clippy::panic)]

mod addresses;
mod answers;
mod dns;
mod formats;
mod official;
mod receiver;
mod tls;

use bytes::Bytes;
use std::time::Duration;
use tenancy_core::Timestamp;
use tenancy_core::webhook::{Format, Secret};
use tenancy_server::webhooks::sending::{Attempt, Limits, Message, Options, Policy, Sender, Target};

/// Time of an attempt that is expected to use all of it.
const SHORT: Duration = Duration::from_millis(300);
/// Time of an attempt that is not.
const LONG: Duration = Duration::from_secs(20);

/// Permits what the tests need: HTTP and loopback.
fn here() -> Policy {
    Policy { allows_http: true, allows_loopback: true, ..Policy::default() }
}

fn sender() -> Sender {
    Sender::with(here(), options()).expect("a sender")
}

fn options() -> Options {
    Options { limits: Limits { connect: Duration::from_secs(2), ..Limits::default() }, ..Options::default() }
}

fn now() -> Timestamp {
    "2026-11-30T10:00:00Z".parse().expect("a time")
}

fn secrets() -> Vec<Secret> {
    [[7; 32], [9; 32]].map(|bytes| Secret::from_bytes(&bytes, now())).to_vec()
}

fn message() -> Message {
    Message {
        id: "dlv_01".to_owned(),
        event_type: "TENANCY_CREATED".to_owned(),
        occurred_at: "2026-11-30T09:59:58.25Z".parse().expect("a time"),
        data: Bytes::from_static(br#"{"tenant_id":"acme-eu","payload":{"name":"Gr\u00f6\u00dfe"}}"#),
        source: "https://tenancy.example".to_owned(),
    }
}

async fn send(sender: &Sender, url: &str, timeout: Duration) -> Attempt {
    send_as(sender, url, timeout, false, Format::Standard).await
}

async fn send_as(sender: &Sender, url: &str, timeout: Duration, is_platform: bool, format: Format) -> Attempt {
    let target = Target { url, is_platform, timeout, secrets: &secrets(), format };
    sender.send(&target, &message(), now()).await
}
