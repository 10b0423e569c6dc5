//! The tenant: one isolated instance of a customer.

use crate::ids::{CorrelationId, OrganizationId, TenantId};
use crate::json::Object;
use crate::words::words;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Labels: free text by which clients group resources. Only unscoped keys can read and write keys under `internal/`.
pub type Labels = BTreeMap<String, String>;

words!(
    /// Profile of a tenant.
    Profile {
        /// Shared placement.
        Standard = "mt-standard",
        /// Dedicated placement. Every environment is `strict`.
        Dedicated = "st-dedicated",
    }
);

words!(
    /// Current state of a tenant. Only jobs change it.
    State {
        /// Registered, never active.
        Draft = "Draft",
        /// In service.
        Active = "Active",
        /// Out of service, data kept.
        Suspended = "Suspended",
        /// Deleted. It can be purged after its grace period.
        Archived = "Archived",
    }
);

words!(
    /// State that the manifest asks for.
    DesiredState {
        /// In service.
        Active = "Active",
        /// Out of service.
        Suspended = "Suspended",
    }
);

/// A row of `tenants`: columns that never change, columns of the manifest (terms), and all others (facts).
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Id of the tenant: global, never reused.
    pub tenant_id: TenantId,
    /// Organization that owns the tenant.
    pub organization_id: OrganizationId,
    /// Time of registration.
    pub created_at: Timestamp,
    /// Time of the last change of terms or facts.
    pub updated_at: Timestamp,
    /// Columns of the manifest.
    pub terms: Terms,
    /// All other columns.
    pub facts: Facts,
}

/// Columns of a tenant that only an accepted manifest and a purge write.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// Display name, for people.
    pub display_name: Option<String>,
    /// Profile.
    pub profile: Profile,
    /// Desired state; `None` if the tenant stays in its current state.
    pub desired_state: Option<DesiredState>,
    /// Home region.
    pub region: String,
    /// Labels.
    pub labels: Labels,
    /// Quotas.
    pub quotas: Object,
    /// Policies.
    pub policies: Object,
    /// Billing references.
    pub billing: Object,
    /// If true, the tenant cannot be deleted.
    pub deletion_protection: bool,
    /// Version of the manifest. It increases by one with each accepted change, and not otherwise.
    pub version: i64,
}

impl Terms {
    /// Whether the tenant's data key is wrapped by a key of its own.
    pub fn has_own_key(&self) -> bool {
        has_own_key(&self.policies)
    }

    /// Removes all values that can be personal data.
    pub fn erase(&mut self) {
        self.display_name = None;
        self.labels.clear();
        for object in [&mut self.quotas, &mut self.policies, &mut self.billing] {
            object.clear();
        }
    }
}

/// Value of `policies.encryption` with which the tenant's data key is wrapped by a key of its own.
pub const KMS_PER_TENANT: &str = "kms-per-tenant";

/// Whether these policies ask for a wrapping key of the tenant's own.
pub fn has_own_key(policies: &Object) -> bool {
    policies.get("encryption").and_then(serde_json::Value::as_str) == Some(KMS_PER_TENANT)
}

/// Columns of a tenant that no manifest writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// Current state.
    pub state: State,
    /// Counter of commits that change something outside the manifest: state, holds and jobs. It also increases when the
    /// holds of the organization change, so that decisions from before cannot be committed afterwards.
    pub counter: i64,
    /// Time of the last change of `state`.
    pub state_since: Timestamp,
    /// Time at which the tenant was provisioned.
    pub provisioned_at: Option<Timestamp>,
    /// Time at which the tenant was archived.
    pub archived_at: Option<Timestamp>,
    /// Time from which the tenant can be purged.
    pub purge_after: Option<Timestamp>,
    /// Time at which the tenant was purged. The row is then a tombstone.
    pub purged_at: Option<Timestamp>,
}

impl Facts {
    /// Returns the facts of a tenant that is registered at `now`.
    pub fn draft(now: Timestamp) -> Self {
        Self {
            state: State::Draft,
            counter: 1,
            state_since: now,
            provisioned_at: None,
            archived_at: None,
            purge_after: None,
            purged_at: None,
        }
    }
}

/// Version of a tenant: a manifest that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantVersion {
    /// Id of the tenant.
    pub tenant_id: TenantId,
    /// Version number.
    pub version: i64,
    /// Whole manifest, canonical.
    pub manifest: Value,
    /// Actor that made the change.
    pub actor: String,
    /// Correlation id of the request.
    pub correlation_id: CorrelationId,
    /// Time at which the version was accepted.
    pub created_at: Timestamp,
}
