//! Table of audit events, one line per event. A payload is free JSON; its fields depend on the type of the event.

use crate::kinds::{column, joined, shown, who};
use crate::output::Kind;
use crate::table::Cell;
use crate::time::short;
use crate::wire::AuditEvent;
use serde_json::Value;

/// Columns of audit events.
pub const EVENTS: Kind<AuditEvent> = Kind {
    plural: "events",
    name: |e| e.audit_id.to_string(),
    columns: &[
        column!("TIME", |e, _| Cell::new(short(e.occurred_at))),
        column!("TENANT", |e, _| Cell::maybe(e.tenant_id.as_deref())),
        column!("EVENT", |e, _| Cell::new(e.event_type.as_str())),
        column!("ACTOR", narrow, |e, _| Cell::new(who(&e.actor, e.actor_name.as_deref()))),
        column!("ACTOR", wide, |e, _| Cell::new(&*e.actor)),
        column!("POSITION", wide, |e, _| Cell::new(e.position.to_string())),
        column!("CORRELATION ID", wide, |e, _| Cell::new(&*e.correlation_id)),
        column!("WHAT", |e, _| Cell::new(what(e))),
    ],
};

/// Payload fields that are not shown, such as digests and internal ids.
const HIDDEN_FIELDS: [&str; 4] = ["private_digest", "job_id", "env_id", "manifest"];
/// Payload field with the changed fields of a document.
const CHANGES: &str = "changes";

/// Renders the payload and the private data of an event in one line.
fn what(event: &AuditEvent) -> String {
    let private = event.private.as_deref().and_then(Value::as_object);
    let members = event.payload.iter().chain(private.into_iter().flatten());
    // For a personal field, the payload has only the pointer; the private data has the old and the new value.
    let private_changes =
        private.and_then(|private| private.get(CHANGES)?.as_array()).map(Vec::as_slice).unwrap_or_default();
    let is_shown =
        |change: &Value| to(change).is_some() || !private_changes.iter().any(|b| pointer(b) == pointer(change));
    let parts = members.filter(|(key, _)| !HIDDEN_FIELDS.contains(&key.as_str())).map(|(key, value)| {
        match (key.as_str(), value.as_array()) {
            (CHANGES, Some(changes)) => joined(changes.iter().filter(|change| is_shown(change)).map(name_of_change)),
            _ => format!("{key}={}", shown(value)),
        }
    });
    let warning =
        event.tampered.then(|| "PRIVATE DATA WAS CHANGED OR ITS KEY IS MISSING, run `tenancy audit verify`".to_owned());
    joined(parts.filter(|part| !part.is_empty()).chain(warning))
}

fn pointer(change: &Value) -> Option<&str> {
    // reason: a payload is free JSON
    change.get("pointer")?.as_str()
}

/// Returns the new value: `null` if the field was cleared, `None` if the log does not contain the value.
fn to(change: &Value) -> Option<&Value> {
    // reason: a payload is free JSON, and `null` differs from an absent field
    change.get("to")
}

fn name_of_change(change: &Value) -> String {
    match (pointer(change), to(change)) {
        (Some(pointer), Some(Value::Null)) => format!("{} cleared", crate::change::place(pointer)),
        (Some(pointer), Some(to)) => format!("{} -> {}", crate::change::place(pointer), shown(to)),
        (Some(pointer), None) => crate::change::place(pointer),
        (None, _) => shown(change),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn event(payload: Value, private: Value) -> AuditEvent {
        let event = json!({
            "position": 1, "audit_id": "a", "event_type": "TENANCY_UPDATED", "event_version": 1, "actor": "user:x",
            "payload": payload, "private": private, "correlation_id": "c", "occurred_at": "2026-11-20T12:00:00Z",
        });
        serde_json::from_value(event).expect("an event")
    }

    #[test]
    fn must_render_an_event_in_one_line() {
        let event = event(
            json!({"version": 2, "private_digest": "x", "changes": [
                {"pointer": "/quotas/apiRateLimit", "from": 200, "to": 400}, {"pointer": "/display_name"},
                {"pointer": "/labels/tier", "from": "gold", "to": null},
            ]}),
            json!({"reason": "not paid"}),
        );
        assert_eq!(
            what(&event),
            "quotas.apiRateLimit -> 400, display_name, labels.tier cleared, version=2, reason=not paid"
        );
        let personal = self::event(
            json!({"version": 4, "changes": [{"pointer": "/labels/tier"}]}),
            json!({"changes": [{"pointer": "/labels/tier", "from": null, "to": "gold"}]}),
        );
        assert_eq!(what(&personal), "version=4, labels.tier -> gold");
    }
}
