//! Tenants as responses show them.

use crate::environment::EnvironmentEntry;
use crate::job::OpenJob;
use crate::viewpoint::Viewpoint;
use crate::webhook::Webhook;
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
use utoipa::ToSchema;

/// A tenant in a list: its row without environments, webhooks, holds and jobs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TenantRow<'a> {
    /// Id of the tenant: global, never reused.
    #[schema(value_type = String, example = "acme-eu")]
    pub tenant_id: Cow<'a, str>,
    /// Organization that owns the tenant.
    #[schema(value_type = String, example = "acme")]
    pub organization_id: Cow<'a, str>,
    /// Display name, for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub display_name: Option<Cow<'a, str>>,
    /// Profile of the tenant: `mt-standard` has a shared placement, `st-dedicated` a dedicated placement.
    #[schema(value_type = crate::schema::Profile)]
    pub profile: Word<Profile>,
    /// State that the manifest asks for. If omitted, the tenant stays in its current state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<crate::schema::DesiredState>)]
    pub desired_state: Option<Word<DesiredState>>,
    /// Home region of the tenant.
    #[schema(value_type = String, example = "eu-west-1")]
    pub region: Cow<'a, str>,
    /// Labels of the tenant.
    #[serde(default, skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = Object)]
    pub labels: Cow<'a, Labels>,
    /// Quotas of the tenant.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub quotas: Cow<'a, Object>,
    /// Policies of the tenant.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = crate::schema::Policies)]
    pub policies: Cow<'a, Object>,
    /// Billing references.
    #[serde(default, skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = crate::schema::Billing)]
    pub billing: Cow<'a, Object>,
    /// If true, the tenant cannot be deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletion_protection: bool,
    /// Current state. Only jobs change it.
    #[schema(value_type = crate::schema::State)]
    pub state: Word<State>,
    /// Time of the last change of `state`.
    #[schema(value_type = String, format = DateTime)]
    pub state_since: Timestamp,
    /// Version of the manifest. It increases by one with each accepted change.
    pub version: i64,
    /// Counter of all other changes, such as state and holds.
    pub counter: i64,
    /// Time of registration.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// Time of the last change.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Time at which the tenant was provisioned.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub provisioned_at: Option<Timestamp>,
    /// Time at which the tenant was archived.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub archived_at: Option<Timestamp>,
    /// Time from which the tenant can be purged.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub purge_after: Option<Timestamp>,
    /// Time at which the tenant was purged. The tenant is then a tombstone.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub purged_at: Option<Timestamp>,
}

/// A tenant: the fields of its manifest, and its current state.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Tenant<'a> {
    /// Fields that lists also show.
    #[serde(flatten)]
    pub row: TenantRow<'a>,
    /// Names of the tenant in other systems: `{"stripe": "cus_9s6"}`, or a list if a kind has several.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    pub aliases: Value,
    /// Environments of the tenant, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentEntry<'a>>,
    /// Webhooks of the tenant, by name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<Webhook<'a>>,
    /// Holds on the tenant and on its organization.
    pub holds: Vec<Hold<'a>>,
    /// Lifecycle job that is queued or running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_job: Option<OpenJob<'a>>,
    /// What keeps the tenant from its desired state.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "held by billing")]
    pub waits_for: Option<String>,
}

/// Hold on a tenant or an organization.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Hold<'a> {
    /// Kind of the hold.
    #[schema(value_type = String, example = "billing")]
    pub hold: Cow<'a, str>,
    /// Reason of the hold.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub reason: Option<Cow<'a, str>>,
    /// Actor that placed the hold: `kind:subject`.
    #[schema(value_type = String)]
    pub placed_by: Cow<'a, str>,
    /// Name of the key, if the actor is a key.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub placed_by_name: Option<Cow<'a, str>>,
    /// Time at which the server releases the hold. If omitted, the hold has no end.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub until: Option<Timestamp>,
    /// Time at which the hold was placed.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// If true, the hold is on the organization and applies to all its tenants.
    pub organization: bool,
}

/// A tenant and the job that carries out the request.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct Accepted<'a> {
    /// The tenant.
    pub tenant: Tenant<'a>,
    /// Job that the request queued, or that is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<OpenJob<'a>>,
}

impl<'a> TenantRow<'a> {
    /// Builds the response from a row.
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
    /// Builds the response from a tenant snapshot.
    pub fn of(declared: &Declared, viewpoint: Viewpoint<'_>, snapshot: &'a TenantSnapshot) -> Self {
        let environments = snapshot.environments.iter();
        let environments = environments.map(|one| EnvironmentEntry::of(viewpoint, one, &snapshot.placements));
        let aliases = if snapshot.aliases.is_empty() { Value::Null } else { aliases_document(&snapshot.aliases) };
        Self {
            row: TenantRow::of(viewpoint, &snapshot.tenant),
            aliases,
            environments: environments.collect(),
            webhooks: snapshot.webhooks.iter().map(|webhook| Webhook::of(viewpoint, webhook)).collect(),
            holds: snapshot.all_holds().map(|hold| Hold::of(viewpoint, hold)).collect(),
            open_job: snapshot.open_job.as_ref().map(OpenJob::of),
            waits_for: waits_for(declared, snapshot),
        }
    }
}

impl<'a> Hold<'a> {
    /// Builds the response from a row.
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
    /// Builds the response from a tenant snapshot.
    pub fn of(declared: &Declared, viewpoint: Viewpoint<'_>, snapshot: &'a TenantSnapshot) -> Self {
        Self { tenant: Tenant::of(declared, viewpoint, snapshot), job: snapshot.open_job.as_ref().map(OpenJob::of) }
    }
}

/// Returns the `ETag`: the version and the counter.
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
        let viewpoint = Viewpoint::unnamed(tenancy_core::permission::Audience::Staff);
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
