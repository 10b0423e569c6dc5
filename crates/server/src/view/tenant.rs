//! Tenants, as they are read.

use super::environment::EnvironmentEntry;
use super::job::OpenJob;
use serde::Serialize;
use serde_json::Value;
use tenancy_core::Timestamp;
use tenancy_core::declared::Declared;
use tenancy_core::hold::{Held, Hold};
use tenancy_core::ids::{OrganizationId, TenantId};
use tenancy_core::json::Object;
use tenancy_core::lifecycle::waits_for;
use tenancy_core::manifest::aliases_document;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::{DesiredState, Labels, Profile, State, Tenant};
use tenancy_core::webhook::Webhook;
use utoipa::ToSchema;

/// What stands in a tenant's row: the row of a list.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = TenantRow)]
pub struct TenantRow<'a> {
    /// Global, never used twice.
    #[schema(value_type = String, example = "acme-eu")]
    pub tenant_id: &'a TenantId,
    /// The owner.
    #[schema(value_type = String, example = "acme")]
    pub organization_id: &'a OrganizationId,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<&'a str>,
    /// One logical schema; `st-dedicated` has its own placement.
    #[schema(schema_with = super::schema::profile)]
    pub profile: Profile,
    /// The wish in the manifest; left out: as it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(schema_with = super::schema::desired)]
    pub desired_state: Option<DesiredState>,
    /// The home region.
    #[schema(example = "eu-west-1")]
    pub region: &'a str,
    /// Labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = Object)]
    pub labels: &'a Labels,
    /// Quotas.
    #[serde(skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub quotas: &'a Object,
    /// Policies.
    #[serde(skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub policies: &'a Object,
    /// Billing references.
    #[serde(skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub billing: &'a Object,
    /// While it stands, the tenant cannot be deleted.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub deletion_protection: bool,
    /// What is. Only jobs write it.
    #[schema(schema_with = super::schema::state)]
    pub state: State,
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
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Tenant)]
pub struct TenantView<'a> {
    /// What stands in its row.
    #[serde(flatten)]
    pub row: TenantRow<'a>,
    /// Names elsewhere that lead to it: `{"stripe": "cus_9s6"}`, or a list where a kind has several.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    pub aliases: Value,
    /// In order of their names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub environments: Vec<EnvironmentEntry<'a>>,
    /// By name.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub webhooks: Vec<WebhookEntry<'a>>,
    /// The holds that stand on it, its organization's among them.
    pub holds: Vec<HoldView<'a>>,
    /// The one lifecycle job that is queued or running.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub open_job: Option<OpenJob<'a>>,
    /// Why it is not as it is wished.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(example = "the release of hold billing")]
    pub waits_for: Option<String>,
}

/// A webhook of a tenant.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Webhook)]
pub struct WebhookEntry<'a> {
    /// Unique within the tenant.
    pub name: &'a str,
    /// Where events go.
    pub url: &'a str,
    /// Event types; one may end in `*`.
    pub events: &'a [String],
    /// `backoff` and `max_retries`.
    #[serde(skip_serializing_if = "Object::is_empty")]
    #[schema(value_type = Object)]
    pub retry_policy: &'a Object,
}

/// A hold.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Hold)]
pub struct HoldView<'a> {
    /// Its kind.
    #[schema(example = "billing")]
    pub hold: &'a str,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<&'a str>,
    /// Who placed it.
    pub placed_by: &'a str,
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
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Accepted)]
pub struct AcceptedView<'a> {
    /// The tenant.
    pub tenant: TenantView<'a>,
    /// The job that was queued, or is open.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub job: Option<OpenJob<'a>>,
}

impl<'a> TenantRow<'a> {
    /// Of a row.
    pub fn of(tenant: &'a Tenant) -> Self {
        Self {
            tenant_id: &tenant.tenant_id,
            organization_id: &tenant.organization_id,
            display_name: tenant.terms.display_name.as_deref(),
            profile: tenant.terms.profile,
            desired_state: tenant.terms.desired_state,
            region: &tenant.terms.region,
            labels: &tenant.terms.labels,
            quotas: &tenant.terms.quotas,
            policies: &tenant.terms.policies,
            billing: &tenant.terms.billing,
            deletion_protection: tenant.terms.deletion_protection,
            state: tenant.facts.state,
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

impl<'a> TenantView<'a> {
    /// Of all that is kept of a tenant.
    pub fn of(declared: &Declared, snapshot: &'a TenantSnapshot) -> Self {
        let aliases = if snapshot.aliases.is_empty() { Value::Null } else { aliases_document(&snapshot.aliases) };
        Self {
            row: TenantRow::of(&snapshot.tenant),
            aliases,
            environments: snapshot.environments.iter().map(EnvironmentEntry::of).collect(),
            webhooks: snapshot.webhooks.iter().map(WebhookEntry::of).collect(),
            holds: snapshot.all_holds().map(HoldView::of).collect(),
            open_job: snapshot.open_job.as_ref().map(OpenJob::of),
            waits_for: waits_for(declared, snapshot),
        }
    }
}

impl<'a> WebhookEntry<'a> {
    /// Of a row.
    pub fn of(webhook: &'a Webhook) -> Self {
        Self {
            name: webhook.name.as_str(),
            url: &webhook.url,
            events: &webhook.events,
            retry_policy: &webhook.retry_policy,
        }
    }
}

impl<'a> HoldView<'a> {
    /// Of a row.
    pub fn of(hold: &'a Hold) -> Self {
        Self {
            hold: &hold.kind,
            reason: hold.reason.as_deref(),
            placed_by: &hold.placed_by,
            until: hold.until,
            created_at: hold.created_at,
            organization: matches!(hold.held, Held::Organization(_)),
        }
    }
}

impl<'a> AcceptedView<'a> {
    /// Of all that is kept of a tenant.
    pub fn of(declared: &Declared, snapshot: &'a TenantSnapshot) -> Self {
        Self { tenant: TenantView::of(declared, snapshot), job: snapshot.open_job.as_ref().map(OpenJob::of) }
    }
}

/// `ETag`: the version, and the counter of everything else.
pub fn etag(tenant: &Tenant) -> String {
    format!("{}.{}", tenant.terms.version, tenant.facts.counter)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operations::documents::facts;
    use serde_json::json;
    use tenancy_core::actor::Actor;
    use tenancy_core::decision_context::DecisionContext;
    use tenancy_core::ids::CorrelationId;
    use tenancy_core::manifest::Manifest;

    fn whole() -> TenantSnapshot {
        let declared = Declared::default();
        let document = json!({
            "tenant_id": "acme-eu", "organization_id": "acme", "display_name": "Acme", "profile": "mt-standard",
            "desired_state": "Active", "region": "eu-west-1", "labels": {"tier": "gold"}, "deletion_protection": true,
            "aliases": {"stripe": "cus_9s6", "host": ["a.example", "b.example"]}, "quotas": {"storageGiB": 5},
            "policies": {"retentionDays": 30}, "billing": {"plan": "x"},
            "environments": [{"name": "dev", "quotas": {"storageGiB": 1}, "retention_days": 3}, {"name": "prod"}],
            "webhooks": [{"name": "main", "url": "https://x", "events": ["TENANCY_*"], "retry_policy": {"max_retries": 1}}],
        });
        let (manifest, warnings) = Manifest::parse(&declared, &document).expect("a manifest");
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        let mut context = DecisionContext::new(now, [7; 32], Actor::system("test"), CorrelationId::known("c"));
        tenancy_core::rules::register::register(&declared, &manifest, warnings, &mut context)
            .expect("registered")
            .snapshot
    }

    /// The manifest's fields are answered exactly as the manifest writes them, and whatever else is answered is a fact
    /// that [`facts`] knows: so what is read can be edited and sent back.
    #[test]
    fn must_answer_the_manifest_and_known_facts() {
        let snapshot = whole();
        let view = serde_json::to_value(TenantView::of(&Declared::default(), &snapshot)).expect("json");
        let document = view.as_object().cloned().expect("an object");
        let desired = crate::operations::documents::desired::of_known(
            &Declared::default(),
            &snapshot,
            &Value::Object(document.clone()),
            crate::operations::documents::desired::How::Replace,
        );
        let desired = desired.expect("what is read is taken back");
        assert_eq!(desired.manifest.document(), Manifest::of(&snapshot).document());
        for (name, value) in Manifest::of(&snapshot).document().as_object().expect("an object") {
            if name != "environments" {
                assert_eq!(&document[name], value, "{name}");
            }
        }
        let known = |name: &str| facts::TENANT.fixed.contains(&name) || facts::TENANT.moving.contains(&name);
        let manifest = Manifest::of(&snapshot).document();
        for name in document.keys() {
            assert!(known(name) || name == "version" || manifest.get(name).is_some(), "{name}");
        }
    }

    #[test]
    fn must_refuse_an_edited_fact_by_name() {
        let snapshot = whole();
        let view = serde_json::to_value(TenantView::of(&Declared::default(), &snapshot)).expect("json");
        let mut edited = view.clone();
        edited["state"] = json!("Active");
        edited["environments"][1]["env_id"] = json!("env_x");
        let how = crate::operations::documents::desired::How::Replace;
        let refused = crate::operations::documents::desired::of_known(&Declared::default(), &snapshot, &edited, how);
        let Err(tenancy_core::Error::Invalid(violations)) = refused else { panic!("{refused:?}") };
        let places: Vec<_> = violations.iter().map(|v| (v.code, v.pointer.as_str())).collect();
        assert_eq!(places, [("read_only", "/state"), ("read_only", "/environments/1/env_id")]);
    }
}
