//! The kinds of resources and the columns of their tables.

use crate::output::Kind;
use crate::table::Cell;
use crate::time::age;
use crate::wire::{Environment, Job, Key, Organization, Tenant, TenantRow, TenantVersion};
use serde::Deserialize;
use serde_json::Value;
use tenancy_api::document::Caps;
use tenancy_api::webhook::Webhook;
use tenancy_api::word::{ClosedList, Word};

/// Formats a field for a line of text: a string without quotes, other values as JSON.
pub fn shown(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Formats an object as `a=1, b=2`.
pub fn pairs<'a>(object: impl IntoIterator<Item = (&'a String, &'a Value)>) -> String {
    joined(object.into_iter().map(|(key, value)| format!("{key}={}", shown(value))))
}

/// Formats labels as `a=1, b=2`.
pub fn labels<'a>(labels: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    joined(labels.into_iter().map(|(key, value)| format!("{key}={value}")))
}

/// Joins texts with `, `.
pub fn joined<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let mut all = String::new();
    for text in texts {
        all.push_str(if all.is_empty() { "" } else { ", " });
        all.push_str(text.as_ref());
    }
    all
}

/// Formats a retention in days, such as `30d`.
pub fn days(days: Option<i64>) -> Option<String> {
    days.map(|days| format!("{days}d"))
}

/// Returns a cell with a state in its colour.
pub fn state<T: ClosedList>(word: &Word<T>) -> Cell {
    Cell::state(Some(word.as_str()))
}

/// State of a tombstone, which is Archived for ever, in tables.
const PURGED: &str = "Purged";

/// Returns the state of a tenant as people see it: a tombstone is told apart from an archived tenant.
pub fn tenant_state(row: &TenantRow) -> &str {
    if row.purged_at.is_some() { PURGED } else { row.state.as_str() }
}

/// Builds a column of a table.
macro_rules! column {
    ($title:literal, $cell:expr) => {
        $crate::output::Column { title: $title, shown: $crate::output::Shown::Always, cell: $cell }
    };
    ($title:literal, wide, $cell:expr) => {
        $crate::output::Column { title: $title, shown: $crate::output::Shown::Wide, cell: $cell }
    };
    ($title:literal, narrow, $cell:expr) => {
        $crate::output::Column { title: $title, shown: $crate::output::Shown::Narrow, cell: $cell }
    };
}
pub(crate) use column;

/// Shortens an actor so that it fits into a table: `user:key_…e1740d`. `-o wide` shows the whole actor.
pub fn brief(actor: &str) -> String {
    let Some((kind, subject)) = actor.split_once(':') else { return actor.to_owned() };
    let end = subject.char_indices().rev().nth(5).map_or(0, |(at, _)| at);
    match subject.find(['_', '-']) {
        Some(at) if subject.len() > 20 && at < end => format!("{kind}:{}…{}", &subject[..=at], &subject[end..]),
        _ => actor.to_owned(),
    }
}

/// Formats an actor for a table: the name of the key if the server sent it, else the shortened actor.
pub fn who(actor: &str, name: Option<&str>) -> String {
    name.map_or_else(|| brief(actor), |name| format!("user:{name}"))
}

/// Tenants in a list.
pub const TENANTS: Kind<TenantRow> = Kind {
    plural: "tenants",
    name: |t| t.tenant_id.to_string(),
    columns: &[
        column!("TENANT", |t, _| Cell::new(&*t.tenant_id)),
        column!("STATE", |t, _| Cell::state(Some(tenant_state(t)))),
        column!("DESIRED", |t, _| Cell::maybe(t.desired_state.as_ref().map(Word::as_str))),
        column!("REGION", |t, _| Cell::new(&*t.region)),
        column!("PROFILE", |t, _| Cell::new(t.profile.as_str())),
        column!("ORGANIZATION", |t, _| Cell::new(&*t.organization_id)),
        column!("AGE", |t, now| Cell::new(age(t.created_at, now))),
        column!("VERSION", wide, |t, _| Cell::new(t.version.to_string())),
        column!("IN STATE", wide, |t, now| Cell::new(age(t.state_since, now))),
        column!("LABELS", wide, |t, _| Cell::new(labels(&*t.labels))),
        column!("DISPLAY NAME", wide, |t, _| Cell::maybe(t.display_name.as_deref())),
    ],
};

/// Tenants with their environments, for the overview of `dev`.
pub const OVERVIEW: Kind<Tenant> = Kind {
    plural: "tenants",
    name: |t| t.row.tenant_id.to_string(),
    columns: &[
        column!("TENANT", |t, _| Cell::new(&*t.row.tenant_id)),
        column!("STATE", |t, _| Cell::state(Some(tenant_state(&t.row)))),
        column!("DESIRED", |t, _| Cell::maybe(t.row.desired_state.as_ref().map(Word::as_str))),
        column!("ENVIRONMENTS", |t, _| Cell::new(joined(t.environments.iter().map(|entry| &entry.name)))),
        column!("REGION", |t, _| Cell::new(&*t.row.region)),
        column!("PROFILE", |t, _| Cell::new(t.row.profile.as_str())),
    ],
};

/// Organizations.
pub const ORGANIZATIONS: Kind<Organization> = Kind {
    plural: "organizations",
    name: |o| o.organization_id.to_string(),
    columns: &[
        column!("ORGANIZATION", |o, _| Cell::new(&*o.organization_id)),
        column!("DISPLAY NAME", |o, _| Cell::maybe(o.display_name.as_deref())),
        column!("CAPS", |o, _| Cell::maybe(o.caps.as_ref().map(caps))),
        column!("VERSION", wide, |o, _| Cell::new(o.version.to_string())),
        column!("LABELS", wide, |o, _| Cell::new(labels(&*o.labels))),
        column!("AGE", |o, now| Cell::new(age(o.created_at, now))),
        column!("CLOSED", |o, now| Cell::maybe(o.closed_at.map(|at| age(at, now)))),
    ],
};

/// Formats caps as `tenants=10, storageGiB=500`.
fn caps(caps: &Caps) -> String {
    let tenants = caps.tenants.map(|most| format!("tenants={most}"));
    let quotas = caps.quotas.iter().flatten().map(|(name, most)| format!("{name}={most}"));
    joined(tenants.into_iter().chain(quotas))
}

/// Environments of a tenant.
pub const ENVIRONMENTS: Kind<Environment> = Kind {
    plural: "environments",
    name: |e| format!("{}/{}", e.tenant_id, e.entry.name),
    columns: &[
        column!("ENVIRONMENT", |e, _| Cell::new((ENVIRONMENTS.name)(e))),
        column!("STATE", |e, _| state(&e.entry.state)),
        column!("ISOLATION", |e, _| Cell::new(e.entry.isolation_level.as_str())),
        column!("REGION", |e, _| Cell::new(&*e.entry.region)),
        column!("RETENTION", |e, _| Cell::maybe(days(e.entry.retention_days))),
        column!("QUOTAS", |e, _| Cell::new(pairs(&*e.entry.quotas))),
        column!("VERSION", wide, |e, _| Cell::new(e.entry.version.to_string())),
        column!("ID", wide, |e, _| Cell::new(&*e.entry.env_id)),
        column!("AGE", |e, now| Cell::new(age(e.created_at, now))),
    ],
};

/// A webhook with the id of its tenant. The server sends webhooks inside the tenant.
#[derive(Debug, Clone, Deserialize)]
pub struct TenantWebhook {
    /// Id of the tenant.
    pub tenant_id: String,
    /// The webhook.
    #[serde(flatten)]
    pub webhook: Webhook<'static>,
}

/// Webhooks of a tenant.
pub const WEBHOOKS: Kind<TenantWebhook> = Kind {
    plural: "webhooks",
    name: |w| format!("{}/{}", w.tenant_id, w.webhook.name),
    columns: &[
        column!("WEBHOOK", |w, _| Cell::new((WEBHOOKS.name)(w))),
        column!("URL", |w, _| Cell::new(&*w.webhook.url)),
        column!("EVENTS", |w, _| Cell::new(joined(&*w.webhook.events))),
        column!("RETRIES", |w, _| Cell::new(pairs(&*w.webhook.retry_policy))),
    ],
};

/// Jobs.
pub const JOBS: Kind<Job> = Kind {
    plural: "jobs",
    name: |j| j.job_id.to_string(),
    columns: &[
        column!("JOB", |j, _| Cell::new(&*j.job_id)),
        column!("TENANT", |j, _| Cell::new(&*j.tenant_id)),
        column!("ACTION", |j, _| Cell::new(j.action.as_str())),
        column!("STATE", |j, _| state(&j.state)),
        column!("DONE", |j, _| Cell::new(percent(j.progress))),
        column!("AGE", |j, now| Cell::new(age(j.created_at, now))),
        column!("WAITING FOR", |j, _| Cell::maybe(j.waiting_for.as_deref().or(j.error_code.as_deref()))),
        column!("ATTEMPT", wide, |j, _| Cell::new(j.attempt.to_string())),
        column!("REQUESTED BY", wide, |j, _| Cell::new(who(&j.requested_by, j.requested_by_name.as_deref()))),
        column!("CORRELATION ID", wide, |j, _| Cell::new(&*j.correlation_id)),
    ],
};

/// Formats the progress of a job, such as `50%`.
pub fn percent(progress: f64) -> String {
    format!("{:.0}%", progress * 100.0)
}

/// Keys.
pub const KEYS: Kind<Key> = Kind {
    plural: "keys",
    name: |k| k.key_id.to_string(),
    columns: &[
        column!("KEY", |k, _| Cell::new(&*k.key_id)),
        column!("NAME", |k, _| Cell::new(&*k.name)),
        column!("ROLE", |k, _| Cell::new(k.role.as_str())),
        column!("SCOPE", |k, _| Cell::new(&*k.scope)),
        column!("LAST USED", |k, now| Cell::maybe(k.last_used_at.map(|at| age(at, now)))),
        column!("AGE", |k, now| Cell::new(age(k.created_at, now))),
        column!("EXPIRES", |k, now| Cell::maybe(k.expires_at.map(|at| age(at, now)))),
        column!("REVOKED", |k, now| Cell::maybe(k.revoked_at.map(|at| age(at, now)))),
        column!("CREATED BY", wide, |k, _| Cell::maybe(k.created_by.as_deref())),
        column!("PREVIOUS TOKEN", wide, |k, now| Cell::maybe(k.previous_expires_at.map(|at| age(at, now)))),
    ],
};

/// Kept versions of a tenant.
pub const VERSIONS: Kind<TenantVersion> = Kind {
    plural: "versions",
    name: |v| v.version.to_string(),
    columns: &[
        column!("VERSION", |v, _| Cell::new(v.version.to_string())),
        column!("ACTOR", narrow, |v, _| Cell::new(who(&v.actor, v.actor_name.as_deref()))),
        column!("ACTOR", wide, |v, _| Cell::new(&*v.actor)),
        column!("AGE", |v, now| Cell::new(age(v.created_at, now))),
        column!("CORRELATION ID", wide, |v, _| Cell::new(&*v.correlation_id)),
    ],
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_shorten_a_long_actor_and_keep_a_short_one() {
        assert_eq!(brief("user:key_01a207a0e9997ad08000b73909e1740d"), "user:key_…e1740d");
        assert_eq!(brief("controller:runner-3507-6458904fe812cbbf"), "controller:runner-…12cbbf");
        assert_eq!(brief("system:dev"), "system:dev");
        assert_eq!(brief("unknown"), "unknown");
    }
}
