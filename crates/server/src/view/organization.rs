//! Organizations, as they are read.

use super::tenant::HoldView;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use tenancy_core::Timestamp;
use tenancy_core::hold::Hold;
use tenancy_core::ids::OrganizationId;
use tenancy_core::organization::{Organization, Usage};
use tenancy_core::rules::organizations::caps_document;
use tenancy_core::tenant::Labels;
use utoipa::ToSchema;

/// What an organization's tenants are in sum.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Usage)]
pub struct UsageView<'a> {
    /// How many tenants; what is not purged counts.
    pub tenants: i64,
    /// Sums of quotas, declared or not; those that are 0 are left out.
    pub quotas: &'a BTreeMap<String, i64>,
}

/// An organization.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Organization)]
pub struct OrganizationView<'a> {
    /// Global, chosen by the client.
    #[schema(value_type = String, example = "acme")]
    pub organization_id: &'a OrganizationId,
    /// For people.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<&'a str>,
    /// Labels.
    #[serde(skip_serializing_if = "Labels::is_empty")]
    #[schema(value_type = Object)]
    pub labels: &'a Labels,
    /// What its tenants may be at most: `{"tenants": 10, "quotas": {"storageGiB": 1000}}`.
    #[serde(skip_serializing_if = "Value::is_null")]
    #[schema(value_type = Option<Object>)]
    pub caps: Value,
    /// What its tenants are in sum; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage: Option<UsageView<'a>>,
    /// The holds that stand on it, and so on all its tenants; left out in lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holds: Option<Vec<HoldView<'a>>>,
    /// Up by one per accepted manifest change.
    pub version: i64,
    /// Up by one per change of anything else.
    pub counter: i64,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    pub updated_at: Timestamp,
    /// Since when it takes no new tenants.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub closed_at: Option<Timestamp>,
}

impl<'a> OrganizationView<'a> {
    /// Of a row, its holds, and what its tenants are in sum.
    pub fn whole(organization: &'a Organization, usage: &'a Usage, holds: &'a [Hold]) -> Self {
        Self {
            usage: Some(UsageView { tenants: usage.tenants, quotas: &usage.quotas }),
            holds: Some(holds.iter().map(HoldView::of).collect()),
            ..Self::of(organization)
        }
    }

    /// Of a row.
    pub fn of(organization: &'a Organization) -> Self {
        let caps = match caps_document(&organization.caps) {
            Value::Object(caps) if caps.is_empty() => Value::Null,
            caps => caps,
        };
        Self {
            organization_id: &organization.organization_id,
            display_name: organization.display_name.as_deref(),
            labels: &organization.labels,
            caps,
            usage: None,
            holds: None,
            version: organization.version,
            counter: organization.counter,
            created_at: organization.created_at,
            updated_at: organization.updated_at,
            closed_at: organization.closed_at,
        }
    }
}

/// `ETag`: the version, and the counter of everything else.
pub fn etag(organization: &Organization) -> String {
    format!("{}.{}", organization.version, organization.counter)
}
