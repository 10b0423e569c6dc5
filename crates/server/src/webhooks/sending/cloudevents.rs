//! CloudEvents 1.0 in structured mode, JSON format.

use super::Message;
use super::standard::quoted;

/// Content type of the body.
pub(super) const CONTENT_TYPE: &str = "application/cloudevents+json";
/// Source of a message that has none. The attribute must not be empty.
const SOURCE: &str = "/tenancy";

/// Renders the body. `id` is the `webhook-id`, so that a receiver that gets a message twice can tell.
pub(super) fn body(message: &Message) -> Vec<u8> {
    let source = if message.source.is_empty() { SOURCE } else { &message.source };
    let mut body = format!(
        "{{\"specversion\":\"1.0\",\"id\":{},\"source\":{},\"type\":{},\"time\":\"{}\",\
         \"datacontenttype\":\"application/json\",\"data\":",
        quoted(&message.id),
        quoted(source),
        quoted(&message.event_type),
        message.occurred_at,
    )
    .into_bytes();
    body.extend_from_slice(&message.data);
    body.push(b'}');
    body
}
