//! Samples of the routes of webhooks, which are the same for each kind of owner.

use crate::every_route::{Sample, read, versioned, write};
use serde_json::{Value, json};

/// A replay since a time that is never too long ago.
fn since() -> Value {
    json!({"since": tenancy_core::Timestamp::now() - jiff::SignedDuration::from_hours(24)})
}

fn webhook(name: &str) -> Value {
    json!({"name": name, "url": "https://hooks.example/x", "events": ["TENANCY_*"], "retry_policy": {"max_retries": 3}})
}

/// Samples of the routes of the webhooks of one owner.
pub fn of_owner(route: &str, path: &str) -> Vec<Sample> {
    let at = |end: &str| -> (&'static str, &'static str) {
        let place = end.replace("{webhook}", if end.ends_with("/enable") { "off" } else { "main" });
        let place = place.replace("{delivery_id}", "{delivery}");
        (format!("{route}/webhooks{end}").leak(), format!("{path}/webhooks{place}").leak())
    };
    let reads = |end: &str| read(at(end).0, at(end).1);
    let posts = |end: &str, body: Value, event| write("POST", at(end).0, at(end).1, body, event);
    let changes = |method, body: Value| {
        let (route, path) = at("/{webhook}");
        versioned(method, route, path, body, "WEBHOOK_UPDATED")
    };
    vec![
        reads(""),
        posts("", webhook("extra"), "WEBHOOK_UPDATED"),
        reads("/{webhook}"),
        changes("PUT", webhook("main")),
        changes("PATCH", json!({"max_per_second": 5})),
        changes("DELETE", Value::Null),
        posts("/{webhook}/rotate", json!({"overlap_seconds": 60}), "WEBHOOK_UPDATED"),
        posts("/{webhook}/enable", Value::Null, "WEBHOOK_UPDATED"),
        posts("/{webhook}/disable", Value::Null, "WEBHOOK_UPDATED"),
        reads("/{webhook}/deliveries"),
        reads("/{webhook}/deliveries/{delivery_id}"),
        posts("/{webhook}/deliveries/{delivery_id}/resend", Value::Null, "WEBHOOK_RESEND_REQUESTED"),
        posts("/{webhook}/replay", since(), "WEBHOOK_REPLAY_REQUESTED"),
        posts("/{webhook}/test", Value::Null, "WEBHOOK_TESTED"),
        reads("/{webhook}/status"),
    ]
}
