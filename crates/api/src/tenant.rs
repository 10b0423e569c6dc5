//! Tenants, as they are read.

use crate::environment::EnvironmentEntry;
use crate::job::OpenJob;
use crate::viewpoint::Viewpoint;
use crate::word::Word;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::borrow::Cow;
use tenancy_core::Timestamp;
use tenancy_core::declared::Declared;
use tenancy_core::hold::{self, Held};
use tenancy_core::json::Object;
use tenancy_core::lifecycle::waits_for;
use tenancy_core::manifest::aliases_document;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::{self as core, DesiredState, Labels, Profile, State};
use tenancy_core::webhook;
use utoipa::ToSchema;

/// What stands in a tenant's row: the row of a list.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TenantRow<'a> {
    /// Global, never used twice.
    #[schema(value_type = String, example = "acme-eu")]
    pub tenant_id: Cow<'a, str>,
    /// The owner.
    #[schema(value_type = String, example = "acme")]
    pub organization_id: Cow<'a, str>,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub display_name: Option<Cow<'a, str>>,
    /// One logical schema; `st-dedicated` has its own placement.
    #[schema(schema_with = super::schema::profile)]
    pub profile: Word<Profile>,
    /// The wish in the manifest; left out: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = super::schema::desired)]
    pub desired_state: Option<Word<DesiredState>>,
    /// The home region.
    #[schema(value_type = String, example = "eu-west-1")]
    pub region: Cow<'a, str>,
    /// Labels.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = Object)]
    pub labels: Cow<'a, Labels>,
    /// Quotas.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub quotas: Cow<'a, Object>,
    /// Policies.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub policies: Cow<'a, Object>,
    /// Billing references.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub billing: Cow<'a, Object>,
    /// While it stands, the tenant cannot be deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletion_protection: bool,
    /// What is. Only jobs write it.
    #[schema(schema_with = super::schema::state)]
    pub state: Word<State>,
    /// When `state` last changed.
    #[schema(value_type = String, format = DateTime)]
    pub state_since: Timestamp,
    /// Up by one per accepted manifest change.
    pub version: i64,
    /// Up by one per change of anything else.
    pub counter: i64,
    /// When it was registered.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// When its `create` job ended well.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub provisioned_at: Option<Timestamp>,
    /// When it was archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archived_at: Option<Timestamp>,
    /// From when on it may be purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub purge_after: Option<Timestamp>,
    /// When it was purged: it is a tombstone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub purged_at: Option<Timestamp>,
}

/// A tenant: its manifest's own fields, and facts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Tenant<'a> {
    /// What stands in its row.
    #[serde(flatten)]
    pub row: TenantRow<'a>,
    /// Names elsewhere that lead to it: `{"stripe": "cus_9s6"}`, or a list where a kind has several.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    pub aliases: Value,
    /// In order of their names.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentEntry<'a>>,
    /// By name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook<'a>>,
    /// The holds that stand on it, its organization's among them.
    pub holds: Vec<Hold<'a>>,
    /// The one lifecycle job that is queued or running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_job: Option<OpenJob<'a>>,
    /// Why it is not as it is wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "the release of hold billing")]
    pub waits_for: Option<String>,
}

/// A webhook of a tenant.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Webhook<'a> {
    /// Unique within the tenant.
    #[schema(value_type = String)]
    pub name: Cow<'a, str>,
    /// Where events go.
    #[schema(value_type = String)]
    pub url: Cow<'a, str>,
    /// Event types; one may end in `*`.
    #[schema(value_type = Vec<String>)]
    pub events: Cow<'a, [String]>,
    /// `backoff` and `max_retries`.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub retry_policy: Cow<'a, Object>,
}

/// A hold.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Hold<'a> {
    /// Its kind.
    #[schema(value_type = String, example = "billing")]
    pub hold: Cow<'a, str>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Cow<'a, str>>,
    /// Who placed it.
    #[schema(value_type = String)]
    pub placed_by: Cow<'a, str>,
    /// The name of the key, where that is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub placed_by_name: Option<Cow<'a, str>>,
    /// When it ends by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// When it was placed.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// It stands on the organization, and so on all its tenants.
    pub organization: bool,
}

/// A tenant and the job that brings about what was asked for.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Accepted<'a> {
    /// The tenant.
    pub tenant: Tenant<'a>,
    /// The job that was queued, or is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<OpenJob<'a>>,
}

impl<'a> TenantRow<'a> {
    /// Of a row.
    pub fn of(viewpoint: Viewpoint<'_>, tenant: &'a core::Tenant) -> Self {
        Self {
            tenant_id: tenant.tenant_id.as_str().into(),
            organization_id: tenant.organization_id.as_str().into(),
            display_name: tenant.terms.display_name.as_deref().map(Cow::Borrowed),
            profile: tenant.terms.profile.into(),
            desired_state: tenant.terms.desired_state.map(Word::Known),
            region: tenant.terms.region.as_str().into(),
            labels: viewpoint.labels(&tenant.terms.labels),
            quotas: Cow::Borrowed(&tenant.terms.quotas),
            policies: Cow::Borrowed(&tenant.terms.policies),
            billing: viewpoint.internal(Cow::Borrowed(&tenant.terms.billing)).unwrap_or_default(),
            deletion_protection: tenant.terms.deletion_protection,
            state: tenant.facts.state.into(),
            state_since: tenant.facts.state_since,
            version: tenant.terms.version,
            counter: tenant.facts.counter,
            created_at: tenant.created_at,
            updated_at: tenant.updated_at,
            provisioned_at: tenant.facts.provisioned_at,
            archived_at: tenant.facts.archived_at,
            purge_after: tenant.facts.purge_after,
            purged_at: tenant.facts.purged_at,
        }
    }
}

impl<'a> Tenant<'a> {
    /// Of all that is kept of a tenant.
    pub fn of(declared: &Declared, viewpoint: Viewpoint<'_>, snapshot: &'a TenantSnapshot) -> Self {
        let aliases = if snapshot.aliases.is_empty() { Value::Null } else { aliases_document(&snapshot.aliases) };
        Self {
            row: TenantRow::of(viewpoint, &snapshot.tenant),
            aliases,
            environments: snapshot.environments.iter().map(EnvironmentEntry::of).collect(),
            webhooks: snapshot.webhooks.iter().map(Webhook::of).collect(),
            holds: snapshot.all_holds().map(|hold| Hold::of(viewpoint, hold)).collect(),
            open_job: snapshot.open_job.as_ref().map(OpenJob::of),
            waits_for: waits_for(declared, snapshot),
        }
    }
}

impl<'a> Webhook<'a> {
    /// Of a row.
    pub fn of(webhook: &'a webhook::Webhook) -> Self {
        Self {
            name: webhook.name.as_str().into(),
            url: webhook.url.as_str().into(),
            events: Cow::Borrowed(&webhook.events),
            retry_policy: Cow::Borrowed(&webhook.retry_policy),
        }
    }
}

impl<'a> Hold<'a> {
    /// Of a row.
    pub fn of(viewpoint: Viewpoint<'_>, hold: &'a hold::Hold) -> Self {
        let (placed_by, placed_by_name) = viewpoint.actor(&hold.placed_by);
        Self {
            hold: hold.kind.as_str().into(),
            reason: hold.reason.as_deref().and_then(|reason| viewpoint.internal(Cow::Borrowed(reason))),
            placed_by,
            placed_by_name,
            until: hold.until,
            created_at: hold.created_at,
            organization: matches!(hold.held, Held::Organization(_)),
        }
    }
}

impl<'a> Accepted<'a> {
    /// Of all that is kept of a tenant.
    pub fn of(declared: &Declared, viewpoint: Viewpoint<'_>, snapshot: &'a TenantSnapshot) -> Self {
        Self { tenant: Tenant::of(declared, viewpoint, snapshot), job: snapshot.open_job.as_ref().map(OpenJob::of) }
    }
}

/// `ETag`: the version, and the counter of everything else.
pub fn etag(tenant: &core::Tenant) -> String {
    format!("{}.{}", tenant.terms.version, tenant.facts.counter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use tenancy_core::actor::Actor;
    use tenancy_core::decision_context::DecisionContext;
    use tenancy_core::ids::CorrelationId;
    use tenancy_core::manifest::Manifest;

    fn answer() -> String {
        let declared = Declared::default();
        let document = json!({
            "tenant_id": "acme-eu", "organization_id": "acme", "display_name": "Acme", "profile": "mt-standard",
            "desired_state": "Active", "region": "eu-west-1", "labels": {"tier": "gold"}, "deletion_protection": true,
            "aliases": {"stripe": "cus_9s6"}, "quotas": {"storageGiB": 5}, "policies": {"retentionDays": 30},
            "environments": [{"name": "dev", "quotas": {"storageGiB": 1}, "retention_days": 3}, {"name": "prod"}],
            "webhooks": [{"name": "main", "url": "https://x", "events": ["TENANCY_*"]}],
        });
        let (manifest, warnings) = Manifest::parse(&declared, &document).expect("a manifest");
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut context = DecisionContext::new(now, [7; 32], Actor::system("test"), CorrelationId::known("c"));
        let decision = tenancy_core::rules::register::register(&declared, &manifest, warnings, &mut context);
        let snapshot = decision.expect("registered").snapshot;
        let viewpoint = Viewpoint::nobody();
        serde_json::to_string(&Tenant::of(&declared, viewpoint, &snapshot)).expect("json")
    }

    #[test]
    fn must_be_read_as_it_was_written() {
        let read: Tenant<'static> = serde_json::from_str(&answer()).expect("a tenant");
        assert_eq!(read.row.state, Word::Known(State::Draft));
        assert_eq!(read.environments[1].name, "prod");
        assert_eq!(serde_json::to_string(&read).expect("json"), answer());
        let row: TenantRow<'static> = serde_json::from_str(&answer()).expect("a row");
        assert_eq!(row.tenant_id, "acme-eu");
    }

    #[test]
    fn must_be_read_from_a_newer_server() {
        let mut newer: Value = serde_json::from_str(&answer()).expect("json");
        newer["state"] = json!("Hibernating");
        newer["environments"][0]["temperature"] = json!("cold");
        newer["placement"] = json!({"name": "pg-7"});
        let read: Tenant<'static> = serde_json::from_value(newer).expect("a tenant");
        assert_eq!(read.row.state.as_str(), "Hibernating");
    }
}
