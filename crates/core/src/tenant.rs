//! The tenant: one isolated customer instance, and all that is kept beside its row.

use crate::environment::Environment;
use crate::hold::Hold;
use crate::ids::{Alias, OrganizationId, TenantId};
use crate::job::Job;
use crate::json::Object;
use crate::webhook::Webhook;
use jiff::Timestamp;
use serde_json::Value;
use std::collections::BTreeMap;

/// Free text a client sorts its tenants by; keys under `internal/` are for us alone.
pub type Labels = BTreeMap<String, String>;

/// A closed list of words that stand in the database, in JSON and in Rust alike.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant),+ }

        impl $name {
            /// Every word with its variant.
            pub const WORDS: &'static [(&'static str, $name)] = &[$(($word, $name::$variant)),+];

            /// The word.
            pub fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word),+ }
            }

            /// The variant of a word.
            pub fn parse(text: &str) -> Option<Self> {
                Self::WORDS.iter().find(|(word, _)| *word == text).map(|(_, variant)| *variant)
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
    };
}
pub(crate) use words;

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

/// A row of `tenants`.
#[derive(Debug, Clone, PartialEq)]
pub struct Tenant {
    /// Global, never used twice.
    pub tenant_id: TenantId,
    /// The owner.
    pub organization_id: OrganizationId,
    /// For people.
    pub display_name: Option<String>,
    /// The profile.
    pub profile: Profile,
    /// What is.
    pub state: State,
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
    /// Up by one per commit that changes something outside the manifest: state, holds, jobs; and when its organization's
    /// holds changed, so that nothing that was decided before can be committed after.
    pub counter: i64,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
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

/// All that is kept beside a tenant's row and that a rule decides on.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantSnapshot {
    /// The row.
    pub tenant: Tenant,
    /// By name.
    pub environments: Vec<Environment>,
    /// Sorted.
    pub aliases: Vec<Alias>,
    /// By name.
    pub webhooks: Vec<Webhook>,
    /// The tenant's own holds, by kind.
    pub holds: Vec<Hold>,
    /// Its organization's holds, by kind.
    pub organization_holds: Vec<Hold>,
    /// The one lifecycle job that is queued or running.
    pub open_job: Option<Job>,
}

impl TenantSnapshot {
    /// The tenant's own holds, then its organization's.
    pub fn all_holds(&self) -> impl Iterator<Item = &Hold> {
        self.holds.iter().chain(&self.organization_holds)
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
    pub correlation_id: crate::ids::CorrelationId,
    /// When.
    pub created_at: Timestamp,
}
