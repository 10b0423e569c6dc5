//! Access: whether a tenant may be served now, and with which quotas. Gateways and services ask for it on each request.

use crate::action::Action;
use crate::declared::Declared;
use crate::environment::Environment;
use crate::json::Object;
use crate::lifecycle::suspending_holds;
use crate::quotas::counted_usage;
use crate::snapshot::TenantSnapshot;
use crate::tenant::{DesiredState, State};
use crate::words::words;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

words!(
    /// What a tenant may do.
    AccessLevel {
        /// Everything.
        Full = "full",
        /// Nothing.
        None = "none",
    }
);

/// Prefix of the word of [`AccessReason::Hold`].
const HOLD: &str = "hold_";

/// Reason why a tenant must not be served.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum AccessReason {
    /// The tenant was never active.
    TenantDraft,
    /// The tenant is suspended, or is being suspended, and no hold is the cause.
    TenantSuspended,
    /// The tenant was deleted. It can be undeleted.
    TenantArchived,
    /// The tenant was purged.
    TenantPurged,
    /// The tenant has no environment with the requested name.
    EnvironmentMissing,
    /// The environment was added to the manifest, but no job has provisioned it yet.
    EnvironmentNotProvisioned,
    /// A hold of this kind, on the tenant or on its organization, suspends the tenant.
    Hold(String),
    /// A word of a newer server.
    Unknown(String),
}

/// Words of the reasons that are not holds.
const REASONS: &[(&str, AccessReason)] = &[
    ("tenant_draft", AccessReason::TenantDraft),
    ("tenant_suspended", AccessReason::TenantSuspended),
    ("tenant_archived", AccessReason::TenantArchived),
    ("tenant_purged", AccessReason::TenantPurged),
    ("environment_missing", AccessReason::EnvironmentMissing),
    ("environment_not_provisioned", AccessReason::EnvironmentNotProvisioned),
];

impl AccessReason {
    /// Returns the reason of a word. It accepts every text, so that a client can read a newer server.
    pub fn of(text: &str) -> Self {
        if let Some(kind) = text.strip_prefix(HOLD) {
            return Self::Hold(kind.to_owned());
        }
        let known = REASONS.iter().find(|(word, _)| *word == text);
        known.map_or_else(|| Self::Unknown(text.to_owned()), |(_, reason)| reason.clone())
    }
}

impl fmt::Display for AccessReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Hold(kind) => write!(f, "{HOLD}{kind}"),
            Self::Unknown(text) => f.write_str(text),
            known => f.write_str(REASONS.iter().find(|(_, reason)| reason == known).map_or("", |(word, _)| word)),
        }
    }
}

impl Serialize for AccessReason {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for AccessReason {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Self::of(&String::deserialize(deserializer)?))
    }
}

/// Returns why a tenant must not be served; `None` if it may be served.
///
/// The answer follows the decision and not its completion: as soon as a hold suspends the tenant, or its manifest asks
/// for `Suspended`, the tenant is refused, although the `suspend` job still runs. After the release, the tenant is
/// served when the `activate` job has completed.
pub fn refusal(declared: &Declared, snapshot: &TenantSnapshot) -> Option<AccessReason> {
    let tenant = &snapshot.tenant;
    if tenant.facts.purged_at.is_some() {
        return Some(AccessReason::TenantPurged);
    }
    match tenant.facts.state {
        State::Archived => return Some(AccessReason::TenantArchived),
        State::Draft => return Some(AccessReason::TenantDraft),
        State::Active | State::Suspended => {}
    }
    if let Some(hold) = suspending_holds(declared, snapshot).next() {
        return Some(AccessReason::Hold(hold.kind.clone()));
    }
    let is_being_suspended = snapshot.open_job.as_ref().is_some_and(|job| job.action == Action::Suspend);
    let is_out_of_service = tenant.facts.state == State::Suspended
        || tenant.terms.desired_state == Some(DesiredState::Suspended)
        || is_being_suspended;
    is_out_of_service.then_some(AccessReason::TenantSuspended)
}

/// Returns the quotas in effect for a tenant as a whole: its own values, and for a quota without one the sum of its
/// environments, which is also what the tenant counts against the caps of its organization.
pub fn quotas_of_tenant(snapshot: &TenantSnapshot) -> Object {
    let own = &snapshot.tenant.terms.quotas;
    let counted = counted_usage(own, snapshot.environments.iter().map(|environment| &environment.quotas));
    let mut quotas = own.clone();
    for (name, value) in counted {
        quotas.entry(name).or_insert_with(|| value.into());
    }
    quotas
}

/// Returns the quotas in effect for an environment: its share, and for a quota without one the value of the tenant,
/// which limits all its environments together.
pub fn quotas_of_environment(snapshot: &TenantSnapshot, environment: &Environment) -> Object {
    let mut quotas = snapshot.tenant.terms.quotas.clone();
    quotas.extend(environment.quotas.iter().map(|(name, value)| (name.clone(), value.clone())));
    quotas
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_read_the_words_that_it_writes_and_keep_others() {
        let held = AccessReason::Hold("billing".to_owned());
        assert_eq!(held.to_string(), "hold_billing");
        for reason in REASONS.iter().map(|(_, reason)| reason.clone()).chain([held]) {
            assert_eq!(AccessReason::of(&reason.to_string()), reason);
            assert!(!matches!(AccessReason::of(&reason.to_string()), AccessReason::Unknown(_)));
        }
        assert_eq!(AccessReason::of("tenant_hibernates"), AccessReason::Unknown("tenant_hibernates".to_owned()));
    }
}
