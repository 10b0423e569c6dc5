//! The tenant: one isolated customer instance.

use crate::ids::{CorrelationId, OrganizationId, TenantId};
use crate::json::Object;
use crate::words::words;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Free text a client sorts its tenants by; keys under `internal/` are for us alone.
pub type Labels = BTreeMap<String, String>;

words!(
    /// One logical schema; a rule of the profile where they differ.
    Profile {
        /// Shared placement.
        Standard = "mt-standard",
        /// Own placement: every environment is `strict`.
        Dedicated = "st-dedicated",
    }
);

words!(
    /// What is. Only jobs write it.
    State {
        /// Registered, never active.
        Draft = "Draft",
        /// In service.
        Active = "Active",
        /// Out of service, data kept.
        Suspended = "Suspended",
        /// Deleted; purged after its grace period.
        Archived = "Archived",
    }
);

words!(
    /// The wish in the manifest.
    DesiredState {
        /// To be in service.
        Active = "Active",
        /// To be out of service.
        Suspended = "Suspended",
    }
);

/// A row of `tenants`: what never changes, what the manifest says, and what it does not say.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Global, never used twice.
    pub tenant_id: TenantId,
    /// The owner.
    pub organization_id: OrganizationId,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When the row last changed: an update of the terms sets it, and one of the facts.
    pub updated_at: Timestamp,
    /// What the manifest says.
    pub terms: Terms,
    /// What the manifest does not say.
    pub facts: Facts,
}

/// The columns of a tenant that are written when a manifest is accepted, and by nothing else but its purge.
#[derive(Debug, Clone, PartialEq)]
pub struct Terms {
    /// For people.
    pub display_name: Option<String>,
    /// The profile.
    pub profile: Profile,
    /// What the manifest wishes; `None`: as it is.
    pub desired_state: Option<DesiredState>,
    /// The home region.
    pub region: String,
    /// Labels.
    pub labels: Labels,
    /// Quotas.
    pub quotas: Object,
    /// Policies.
    pub policies: Object,
    /// Billing references.
    pub billing: Object,
    /// While it stands, the tenant cannot be deleted.
    pub deletion_protection: bool,
    /// Up by one per accepted manifest change, and by nothing else.
    pub version: i64,
}

impl Terms {
    /// Removes what may be personal.
    pub fn erase(&mut self) {
        self.display_name = None;
        self.labels.clear();
        for object in [&mut self.quotas, &mut self.policies, &mut self.billing] {
            object.clear();
        }
    }
}

/// The columns of a tenant that no manifest writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Facts {
    /// What is.
    pub state: State,
    /// Up by one per commit that changes something outside the manifest: state, holds, jobs; and when its organization's
    /// holds changed, so that nothing that was decided before can be committed after.
    pub counter: i64,
    /// When `state` last changed.
    pub state_since: Timestamp,
    /// When its `create` job ended well.
    pub provisioned_at: Option<Timestamp>,
    /// When it was archived.
    pub archived_at: Option<Timestamp>,
    /// From when on it may be purged.
    pub purge_after: Option<Timestamp>,
    /// When it was purged: the row is a tombstone.
    pub purged_at: Option<Timestamp>,
}

impl Facts {
    /// The facts of a tenant that is registered now.
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

/// A kept version of a tenant: the whole manifest that was accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantVersion {
    /// Whose.
    pub tenant_id: TenantId,
    /// Which.
    pub version: i64,
    /// The whole manifest, canonical.
    pub manifest: Value,
    /// Who had it accepted.
    pub actor: String,
    /// In which request.
    pub correlation_id: CorrelationId,
    /// When.
    pub created_at: Timestamp,
}
