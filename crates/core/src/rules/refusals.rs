//! Records refused calls in the audit log. Equal calls are counted in one event.

use super::change_builder::changes;
use crate::changes::Changes;
use crate::decision_context::DecisionContext;
use crate::error::Error;
use crate::event::{Event, EventType};
use crate::ids::KeyId;
use jiff::Timestamp;
use serde_json::json;

/// Refused calls that are equal, and how many there were.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedCalls {
    /// HTTP method.
    pub method: &'static str,
    /// Path of the route, with parameters in braces. It contains nothing that the client sent.
    pub route: String,
    /// Code of the error.
    pub code: &'static str,
    /// Key of the calls, if the token belongs to one, even if that key is revoked or expired.
    pub key_id: Option<KeyId>,
    /// Address of the peer, if it is known.
    pub peer: Option<String>,
    /// Number of calls.
    pub count: u64,
    /// Time of the first call.
    pub first_at: Timestamp,
    /// Time of the last call.
    pub last_at: Timestamp,
}

/// Records refused calls. The address of the peer can identify a person, so it is stored beside the log.
///
/// # Errors
/// None today.
pub fn record(calls: &[RefusedCalls], context: &mut DecisionContext) -> Result<Option<Changes>, Error> {
    let event = |calls: &RefusedCalls| {
        let mut payload = json!({
            "method": calls.method, "route": calls.route, "code": calls.code, "count": calls.count,
            "first_at": calls.first_at, "last_at": calls.last_at,
        });
        if let Some(key) = &calls.key_id {
            payload["key_id"] = json!(key);
        }
        let event = Event::new(context, None, EventType::AccessRefused, payload);
        event.with_private(context, json!({"peer": calls.peer}))
    };
    changes(calls.iter().map(event).collect(), Vec::new(), Vec::new())
}
