//! Fields of payloads: what they contain, their formats, and examples.

use super::name;
use crate::word::ClosedList;
use serde_json::{Value, json};
use tenancy_core::action::Action;
use tenancy_core::apikey::Role;
use tenancy_core::delivery::AttemptOutcome;
use tenancy_core::event::{EventType, Field, FieldType};
use tenancy_core::job::FailureCode;
use tenancy_core::tenant::{Profile, State};

/// What a field contains, its schema besides its type, and an example.
type Row = (&'static str, Value, Value);

/// Returns the row of a field, by its name: a name means the same in every payload.
fn row(name: &str) -> Option<Row> {
    let text = |description, example: &str| (description, json!({}), json!(example));
    let time = |description| (description, json!({"format": "date-time"}), json!("2026-03-01T12:00:00Z"));
    let number = |description, example: i64| (description, json!({"minimum": 0}), json!(example));
    Some(match name {
        "organization_id" => text("Id of the organization.", "acme"),
        "version" => number("Version after the change.", 2),
        "hold" => text("Kind of the hold.", "billing"),
        "until" => time("Time at which the server releases the hold. Omitted if the hold has no end."),
        "profile" => ("Profile of the tenant.", words::<Profile>(), json!(Profile::Standard)),
        "region" => text("Home region of the tenant.", "eu-west-1"),
        "job_id" => text("Id of the job.", "job_0198f2a46c1e7d3a"),
        "env_id" => text("Id of the environment.", "env_0198f2a46c1e7d3a"),
        "name" => text("Name of the environment or webhook.", "prod"),
        "kind" => {
            text("Kind of the place of the environment: `sqlite`, `postgres_database` or `postgres_schema`.", "sqlite")
        }
        "placement" => text("Name of the placement. Omitted if the environment is on none.", "disk-1"),
        "access" => text("What the connection may do: `full` or `read_only`.", "read_only"),
        "expires_at" => time("Time at which the login ends that was given out. Omitted for a SQLite file."),
        "webhook_id" => text("Id of the webhook.", "whk_0198f2a46c1e7d3a"),
        "cause" => text(
            "What caused the job: `request`, `manifest`, `hold`, `organization hold` or the end of another `job`. Of a \
             disabled webhook: `gone` or `failed_for_long`.",
            "request",
        ),
        "from" => ("State before the job.", words::<State>(), json!(State::Suspended)),
        "to" => ("State after the job.", words::<State>(), json!(State::Active)),
        "action" => ("Lifecycle action of the job.", words::<Action>(), json!(Action::Activate)),
        "code" => text("Stable code of the error.", FailureCode::ProvisionerFailed.as_str()),
        "step" => text("Step that failed.", "provision environment prod"),
        "attempt" => number("Number of the attempt, from 1.", 1),
        "key_id" => text("Id of the key.", "key_0198f2a46c1e7d3a"),
        "role" => ("Role of the key.", words::<Role>(), json!(Role::Operator)),
        "scope" => text("Scope of the key: `all`, `organization:ID` or `tenant:ID`.", "all"),
        "created_by" => text("Key that created the key. Omitted if the server did.", "key_0198f2a46c1e7d39"),
        "overlap_until" => time("Time until which the previous token is valid."),
        "method" => text("HTTP method of the refused calls.", "GET"),
        "route" => text("Route of the refused calls.", "/v1/tenants/{tenant_id}"),
        "count" => number("Number of refused calls.", 3),
        "first_at" => time("Time of the first refused call."),
        "last_at" => time("Time of the last refused call."),
        "before" => time("Events of tenants before this time are removed."),
        "epoch" => number("Number of the new epoch of the log.", 1_772_366_400_000),
        "first_position" => number("Position of the first event after the restore.", 4712),
        _ => return of_webhook(name).or_else(|| composite(name)),
    })
}

/// Returns the row of a field of events about webhooks.
fn of_webhook(name: &str) -> Option<Row> {
    let text = |description, example: &str| (description, json!({}), json!(example));
    Some(match name {
        "change" => {
            text("What happened to the webhook or to its replay, such as `added`, `changed` or `removed`.", "added")
        }
        "delivery_id" => text("Id of the delivery that is sent again.", "dlv_0198f2a46c1e7d3a"),
        "since" => (
            "Time of the first event that is sent again.",
            json!({"format": "date-time"}),
            json!("2026-03-01T12:00:00Z"),
        ),
        "which" => text("Which events are sent again: `all` or `undelivered`.", "undelivered"),
        "outcome" => ("Outcome of the attempt.", words::<AttemptOutcome>(), json!(AttemptOutcome::Delivered)),
        "status" => ("HTTP status of the answer.", json!({"minimum": 100, "maximum": 599}), json!(204)),
        "error" => text("Code of the error of the attempt.", "timeout"),
        "percent" => (
            "How much of the time after which a webhook that only fails is disabled has passed, in percent.",
            json!({"minimum": 0, "maximum": 100}),
            json!(50),
        ),
        _ => return None,
    })
}

/// Returns the row of a field that is an object or a list, or whose text has a pattern.
fn composite(name: &str) -> Option<Row> {
    Some(match name {
        "caps" => ("Caps of the organization.", json!({}), json!({"tenants": 10, "quotas": {"storageGiB": 5000}})),
        "changes" => (
            "Changed fields. `from` and `to` are omitted if a value is private; they are `null` if the field has no value.",
            json!({"items": {
                "type": "object",
                "properties": {
                    "pointer": {"type": "string", "description": "Place of the field in the manifest (RFC 6901)."},
                    "from": {"description": "Value before the change."},
                    "to": {"description": "Value after the change."},
                },
                "required": ["pointer"],
            }}),
            json!([{"pointer": "/quotas/storageGiB", "from": 400, "to": 500}]),
        ),
        "private_digest" => (
            "SHA-256 of the salted private part of the event, in hexadecimal.",
            json!({"pattern": "^[0-9a-f]{64}$"}),
            json!("9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"),
        ),
        "manifest" => (
            "Entry of the environment in the manifest, without private values; or the manifest of the placement.",
            json!({}),
            json!({"name": "prod", "region": "eu-west-1", "isolation_level": "strict"}),
        ),
        _ => return None,
    })
}

/// Returns the words of an enumeration.
fn words<T: ClosedList>() -> Value {
    json!({"enum": T::words().iter().map(|(word, _)| *word).collect::<Vec<_>>()})
}

/// Returns the schema of a field.
pub fn schema(field: &Field) -> Value {
    let mut schema = json!({"type": match field.1 {
        FieldType::Text => "string",
        FieldType::Integer => "integer",
        FieldType::List => "array",
        FieldType::Object => "object",
    }});
    if let Some((description, more, _)) = row(name(field)) {
        schema["description"] = json!(description);
        for (key, value) in more.as_object().into_iter().flatten() {
            schema[key] = value.clone();
        }
    }
    schema
}

/// Returns a value of a field.
pub fn example(event_type: EventType, field: &Field) -> Value {
    match (event_type, name(field)) {
        (
            EventType::WebhookUpdated
            | EventType::WebhookFailing
            | EventType::WebhookDisabled
            | EventType::WebhookResend
            | EventType::WebhookReplay
            | EventType::WebhookTested,
            "name",
        ) => json!("main"),
        (EventType::WebhookDisabled, "cause") => json!("failed_for_long"),
        (EventType::WebhookReplay, "change") => json!("begun"),
        (EventType::TenancyRegistered | EventType::OrganizationCreated, "version") => json!(1),
        (EventType::TenancyCreated | EventType::TenancyProvisioned, "from" | "to") => json!(State::Draft),
        (EventType::Suspended, "from") => json!(State::Active),
        (EventType::Suspended | EventType::Undeleted, "to") => json!(State::Suspended),
        (EventType::Undeleted | EventType::Purged, "from") => json!(State::Archived),
        (EventType::Deleted | EventType::Purged, "to") => json!(State::Archived),
        (EventType::AccessRefused, "code") => json!("forbidden"),
        (_, name) => row(name).map_or_else(|| of_type(field.1), |(_, _, example)| example),
    }
}

fn of_type(of: FieldType) -> Value {
    match of {
        FieldType::Text => json!("text"),
        FieldType::Integer => json!(1),
        FieldType::List => json!([]),
        FieldType::Object => json!({}),
    }
}
