//! The kinds of things, and which of their fields stand in a table.

use crate::output::{Column, Kind, Shown};
use crate::table::Cell;
use crate::time::{age, short};
use serde_json::Value;

/// A text field.
pub fn text<'a>(item: &'a Value, field: &str) -> Option<&'a str> {
    item.get(field).and_then(Value::as_str)
}

/// A field as it shows in a line: a text without quotes, the rest as JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// An object as `a=1, b=2`.
pub fn pairs(value: Option<&Value>) -> String {
    let object = value.and_then(Value::as_object).into_iter().flatten();
    object.map(|(key, value)| format!("{key}={}", shown(value))).collect::<Vec<_>>().join(", ")
}

/// The parts of a list of objects, joined.
pub fn names(value: Option<&Value>, field: &str) -> String {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(|item| text(item, field)).collect::<Vec<_>>().join(", ")
}

/// A list of texts, joined.
pub fn words(value: Option<&Value>) -> String {
    let items = value.and_then(Value::as_array).into_iter().flatten();
    items.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
}

macro_rules! column {
    ($title:literal, $cell:expr) => {
        Column { title: $title, shown: Shown::Always, cell: $cell }
    };
    ($title:literal, wide, $cell:expr) => {
        Column { title: $title, shown: Shown::Wide, cell: $cell }
    };
    ($title:literal, narrow, $cell:expr) => {
        Column { title: $title, shown: Shown::Narrow, cell: $cell }
    };
}

/// An actor so short that a line fits: `user:key_…e1740d`. Whole with `-o wide`.
pub fn brief(actor: &str) -> String {
    let Some((kind, subject)) = actor.split_once(':') else { return actor.to_owned() };
    let end = subject.char_indices().rev().nth(5).map_or(0, |(at, _)| at);
    match subject.find(['_', '-']) {
        Some(at) if subject.len() > 20 && at < end => format!("{kind}:{}…{}", &subject[..=at], &subject[end..]),
        _ => actor.to_owned(),
    }
}

fn actor(item: &Value) -> Cell {
    Cell::maybe(text(item, "actor"))
}

fn brief_actor(item: &Value) -> Cell {
    Cell::maybe(text(item, "actor").map(brief))
}

/// Tenants, as a list has them.
pub const TENANTS: Kind = Kind {
    plural: "tenants",
    name: |t| text(t, "tenant_id").unwrap_or_default().to_owned(),
    columns: &[
        column!("TENANT", |t, _| Cell::maybe(text(t, "tenant_id"))),
        column!("STATE", |t, _| Cell::state(text(t, "state"))),
        column!("WISH", |t, _| Cell::maybe(text(t, "desired_state"))),
        column!("REGION", |t, _| Cell::maybe(text(t, "region"))),
        column!("PROFILE", |t, _| Cell::maybe(text(t, "profile"))),
        column!("ORGANIZATION", |t, _| Cell::maybe(text(t, "organization_id"))),
        column!("AGE", |t, now| Cell::new(age(text(t, "created_at").unwrap_or_default(), now))),
        column!("VERSION", wide, |t, _| Cell::new(shown(&t["version"]))),
        column!("IN STATE", wide, |t, now| Cell::new(age(text(t, "state_since").unwrap_or_default(), now))),
        column!("LABELS", wide, |t, _| Cell::new(pairs(t.get("labels")))),
        column!("DISPLAY NAME", wide, |t, _| Cell::maybe(text(t, "display_name"))),
    ],
};

/// Tenants whole.
pub const OVERVIEW: Kind = Kind {
    plural: "tenants",
    name: TENANTS.name,
    columns: &[
        column!("TENANT", |t, _| Cell::maybe(text(t, "tenant_id"))),
        column!("STATE", |t, _| Cell::state(text(t, "state"))),
        column!("WISH", |t, _| Cell::maybe(text(t, "desired_state"))),
        column!("ENVIRONMENTS", |t, _| Cell::new(names(t.get("environments"), "name"))),
        column!("REGION", |t, _| Cell::maybe(text(t, "region"))),
        column!("PROFILE", |t, _| Cell::maybe(text(t, "profile"))),
    ],
};

/// Organizations.
pub const ORGANIZATIONS: Kind = Kind {
    plural: "organizations",
    name: |o| text(o, "organization_id").unwrap_or_default().to_owned(),
    columns: &[
        column!("ORGANIZATION", |o, _| Cell::maybe(text(o, "organization_id"))),
        column!("DISPLAY NAME", |o, _| Cell::maybe(text(o, "display_name"))),
        column!("CAPS", |o, _| Cell::new(caps(o))),
        column!("VERSION", wide, |o, _| Cell::new(shown(&o["version"]))),
        column!("LABELS", wide, |o, _| Cell::new(pairs(o.get("labels")))),
        column!("AGE", |o, now| Cell::new(age(text(o, "created_at").unwrap_or_default(), now))),
        column!("CLOSED", |o, now| Cell::maybe(text(o, "closed_at").map(|at| age(at, now)))),
    ],
};

/// `tenants=10, storageGiB=500`
fn caps(organization: &Value) -> String {
    let tenants = organization["caps"]["tenants"].as_i64().map(|most| format!("tenants={most}"));
    let quotas = Some(pairs(organization["caps"].get("quotas"))).filter(|text| !text.is_empty());
    tenants.into_iter().chain(quotas).collect::<Vec<_>>().join(", ")
}

/// Environments of a tenant.
pub const ENVIRONMENTS: Kind = Kind {
    plural: "environments",
    name: |e| format!("{}/{}", text(e, "tenant_id").unwrap_or_default(), text(e, "name").unwrap_or_default()),
    columns: &[
        column!("ENVIRONMENT", |e, _| Cell::new((ENVIRONMENTS.name)(e))),
        column!("STATE", |e, _| Cell::state(text(e, "state"))),
        column!("ISOLATION", |e, _| Cell::maybe(text(e, "isolation_level"))),
        column!("REGION", |e, _| Cell::maybe(text(e, "region"))),
        column!("RETENTION", |e, _| Cell::maybe(e["retention_days"].as_i64().map(|days| format!("{days}d")))),
        column!("QUOTAS", |e, _| Cell::new(pairs(e.get("quotas")))),
        column!("VERSION", wide, |e, _| Cell::new(shown(&e["version"]))),
        column!("ID", wide, |e, _| Cell::maybe(text(e, "env_id"))),
        column!("AGE", |e, now| Cell::new(age(text(e, "created_at").unwrap_or_default(), now))),
    ],
};

/// Webhooks of a tenant.
pub const WEBHOOKS: Kind = Kind {
    plural: "webhooks",
    name: |w| format!("{}/{}", text(w, "tenant_id").unwrap_or_default(), text(w, "name").unwrap_or_default()),
    columns: &[
        column!("WEBHOOK", |w, _| Cell::new((WEBHOOKS.name)(w))),
        column!("URL", |w, _| Cell::maybe(text(w, "url"))),
        column!("EVENTS", |w, _| Cell::new(words(w.get("events")))),
        column!("RETRIES", |w, _| Cell::new(pairs(w.get("retry_policy")))),
    ],
};

/// Jobs.
pub const JOBS: Kind = Kind {
    plural: "jobs",
    name: |j| text(j, "job_id").unwrap_or_default().to_owned(),
    columns: &[
        column!("JOB", |j, _| Cell::maybe(text(j, "job_id"))),
        column!("TENANT", |j, _| Cell::maybe(text(j, "tenant_id"))),
        column!("ACTION", |j, _| Cell::maybe(text(j, "action"))),
        column!("STATE", |j, _| Cell::state(text(j, "state"))),
        column!("DONE", |j, _| Cell::new(percent(j))),
        column!("AGE", |j, now| Cell::new(age(text(j, "created_at").unwrap_or_default(), now))),
        column!("WAITS FOR", |j, _| Cell::maybe(text(j, "waiting_for").or(text(j, "error_code")))),
        column!("ATTEMPT", wide, |j, _| Cell::new(shown(&j["attempt"]))),
        column!("ASKED BY", wide, |j, _| Cell::maybe(text(j, "requested_by"))),
        column!("CORRELATION ID", wide, |j, _| Cell::maybe(text(j, "correlation_id"))),
    ],
};

/// How far a job is.
pub fn percent(job: &Value) -> String {
    job["progress"].as_f64().map(|done| format!("{:.0}%", done * 100.0)).unwrap_or_default()
}

/// Keys.
pub const KEYS: Kind = Kind {
    plural: "keys",
    name: |k| text(k, "key_id").unwrap_or_default().to_owned(),
    columns: &[
        column!("KEY", |k, _| Cell::maybe(text(k, "key_id"))),
        column!("NAME", |k, _| Cell::maybe(text(k, "name"))),
        column!("ROLE", |k, _| Cell::maybe(text(k, "role"))),
        column!("AGE", |k, now| Cell::new(age(text(k, "created_at").unwrap_or_default(), now))),
        column!("EXPIRES", |k, now| Cell::maybe(text(k, "expires_at").map(|at| age(at, now)))),
        column!("REVOKED", |k, now| Cell::maybe(text(k, "revoked_at").map(|at| age(at, now)))),
    ],
};

/// Kept versions of a tenant.
pub const VERSIONS: Kind = Kind {
    plural: "versions",
    name: |v| shown(&v["version"]),
    columns: &[
        column!("VERSION", |v, _| Cell::new(shown(&v["version"]))),
        column!("ACTOR", narrow, |v, _| brief_actor(v)),
        column!("ACTOR", wide, |v, _| actor(v)),
        column!("AGE", |v, now| Cell::new(age(text(v, "created_at").unwrap_or_default(), now))),
        column!("CORRELATION ID", wide, |v, _| Cell::maybe(text(v, "correlation_id"))),
    ],
};

/// Audit events.
pub const EVENTS: Kind = Kind {
    plural: "events",
    name: |e| text(e, "audit_id").unwrap_or_default().to_owned(),
    columns: &[
        column!("TIME", |e, _| Cell::new(short(text(e, "occurred_at").unwrap_or_default()))),
        column!("TENANT", |e, _| Cell::maybe(text(e, "tenant_id"))),
        column!("EVENT", |e, _| Cell::maybe(text(e, "event_type"))),
        column!("ACTOR", narrow, |e, _| brief_actor(e)),
        column!("ACTOR", wide, |e, _| actor(e)),
        column!("POSITION", wide, |e, _| Cell::new(shown(&e["position"]))),
        column!("CORRELATION ID", wide, |e, _| Cell::maybe(text(e, "correlation_id"))),
        column!("WHAT", |e, _| Cell::new(what(e))),
    ],
};

/// The payload in a line, with what stands beside the log; digests and ids of jobs say nothing to a reader.
fn what(event: &Value) -> String {
    let both = [event.get("payload"), event.get("private")];
    let members = both.into_iter().flatten().filter_map(Value::as_object).flatten();
    let said = members.filter(|(key, _)| !matches!(key.as_str(), "private_digest" | "job_id" | "env_id" | "manifest"));
    // What is personal stands in the payload by its place alone, and beside the log with what it was and is.
    let beside = event["private"]["changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    let is_told =
        |change: &Value| change.get("to").is_some() || !beside.iter().any(|b| b["pointer"] == change["pointer"]);
    let parts = said.map(|(key, value)| match (key.as_str(), value.as_array()) {
        ("changes", Some(changes)) => names_of_changes(changes.iter().filter(|change| is_told(change))),
        _ => format!("{key}={}", shown(value)),
    });
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join(", ")
}

fn names_of_changes<'v>(changes: impl Iterator<Item = &'v Value>) -> String {
    let lines = changes.map(|change| match text(change, "pointer") {
        Some(pointer) if change.get("to").is_some_and(Value::is_null) => {
            format!("{} cleared", crate::change::place(pointer))
        }
        Some(pointer) if change.get("to").is_some() => {
            format!("{} -> {}", crate::change::place(pointer), shown(&change["to"]))
        }
        Some(pointer) => crate::change::place(pointer),
        None => shown(change),
    });
    lines.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn must_shorten_an_actor_and_leave_a_short_one() {
        assert_eq!(brief("user:key_01a207a0e9997ad08000b73909e1740d"), "user:key_…e1740d");
        assert_eq!(brief("controller:runner-3507-6458904fe812cbbf"), "controller:runner-…12cbbf");
        assert_eq!(brief("system:dev"), "system:dev");
        assert_eq!(brief("nobody"), "nobody");
    }

    #[test]
    fn must_say_in_a_line_what_an_event_is_about() {
        let event = json!({
            "payload": {"version": 2, "private_digest": "x", "changes": [
                {"pointer": "/quotas/apiRateLimit", "from": 200, "to": 400}, {"pointer": "/display_name"},
                {"pointer": "/labels/tier", "from": "gold", "to": null},
            ]},
            "private": {"reason": "not paid"},
        });
        assert_eq!(
            what(&event),
            "quotas.apiRateLimit -> 400, display_name, labels.tier cleared, version=2, reason=not paid"
        );
        let personal = json!({
            "payload": {"version": 4, "changes": [{"pointer": "/labels/tier"}]},
            "private": {"changes": [{"pointer": "/labels/tier", "from": null, "to": "gold"}]},
        });
        assert_eq!(what(&personal), "version=4, labels.tier -> gold");
    }
}
