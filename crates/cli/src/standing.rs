//! The state and the desired state of a tenant: in a sentence, and with the command that removes an obstacle.

use crate::program::{command, quoted};
use crate::wire::{Hold, Tenant};
use tenancy_api::Word;
use tenancy_api::applied::AppliedDocument;
use tenancy_core::tenant::{DesiredState, State};

/// State and desired state of a tenant, and what keeps it from its desired state.
#[derive(Debug, Clone, Copy)]
pub struct Standing<'a> {
    tenant: &'a str,
    organization: &'a str,
    state: &'a Word<State>,
    desired: Option<&'a Word<DesiredState>>,
    waits_for: Option<&'a str>,
    holds: &'a [Hold],
}

impl<'a> Standing<'a> {
    /// Reads the standing of a tenant.
    pub fn of(tenant: &'a Tenant) -> Self {
        Self {
            tenant: &tenant.row.tenant_id,
            organization: &tenant.row.organization_id,
            state: &tenant.row.state,
            desired: tenant.row.desired_state.as_ref(),
            waits_for: tenant.waits_for.as_deref(),
            holds: &tenant.holds,
        }
    }

    /// Reads the standing from a result of `apply`, which has no holds; `None` if the result does not concern a tenant.
    pub fn of_line(line: &'a AppliedDocument) -> Option<Self> {
        Some(Self {
            tenant: &line.id,
            organization: "",
            state: line.state.as_ref()?,
            desired: line.desired_state.as_ref(),
            waits_for: line.waits_for.as_deref(),
            holds: &[],
        })
    }

    /// Whether the tenant is in its desired state. This includes a tenant without a desired state, and a Draft whose desired
    /// state is Suspended, because it has never been in service.
    pub fn is_reached(&self) -> bool {
        let Some(desired) = self.desired else { return true };
        let is_draft = *self.state == State::Draft && *desired == DesiredState::Suspended;
        is_draft || desired.as_str() == self.state.as_str()
    }

    /// Returns a hint if the tenant stays Draft because its manifest does not ask for another state.
    pub fn draft_hint(&self) -> Option<String> {
        let stays = *self.state == State::Draft && self.desired.is_none() && self.waits_for.is_none();
        let next = format!("set {} desired_state=Active", quoted(self.tenant));
        let why = format!("{} stays Draft, because its manifest has no desired_state", self.tenant);
        stays.then(|| format!("{why}; to activate it: {}", command(&next)))
    }

    /// Returns the sentence: `acme-eu is Suspended, desired: Active; held by billing`.
    pub fn sentence(&self) -> String {
        let line = format!("{} is {}", self.tenant, self.state);
        match (self.desired, self.obstacle()) {
            (Some(desired), Some(obstacle)) if desired.as_str() != self.state.as_str() => {
                format!("{line}, desired: {desired}; {obstacle}")
            }
            _ => line,
        }
    }

    /// Returns what keeps the tenant from its desired state, as the server says it: `held by billing`, `undelete it first`,
    /// `job job_1 (create)`.
    pub fn obstacle(&self) -> Option<&'a str> {
        self.waits_for
    }

    /// Returns the command that removes the obstacle: it releases the hold, if there is exactly one, or undeletes the tenant.
    pub fn remedy(&self) -> Option<String> {
        if self.is_reached() {
            return None;
        }
        let waits_for = self.waits_for?;
        if *self.state == State::Archived && !waits_for.starts_with("job ") {
            return Some(command(&format!("undelete {}", quoted(self.tenant))));
        }
        let is_named = |hold: &&Hold| waits_for.split([' ', ',']).any(|word| word == hold.hold);
        let named: Vec<_> = self.holds.iter().filter(is_named).collect();
        let [hold] = named.as_slice() else { return None };
        let whose = match hold.organization {
            true => format!("{} --organization", quoted(self.organization)),
            false => quoted(self.tenant).into_owned(),
        };
        Some(command(&match &*hold.hold {
            "operator" => format!("activate {whose}"),
            hold => format!("activate {whose} --hold {}", quoted(hold)),
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::samples::tenant;
    use serde_json::{Value, json};

    const TIME: &str = "2026-11-20T12:00:00Z";

    fn hold(kind: &str, organization: bool) -> Value {
        json!({"hold": kind, "placed_by": "user:key_1", "created_at": TIME, "organization": organization})
    }

    #[test]
    fn must_count_a_draft_as_suspended_and_as_nothing_else() {
        for (state, desired, reached) in [
            ("Draft", json!(null), true),
            ("Draft", json!("Suspended"), true),
            ("Draft", json!("Active"), false),
            ("Active", json!("Suspended"), false),
            ("Archived", json!("Suspended"), false),
            ("Suspended", json!("Suspended"), true),
        ] {
            let tenant = tenant(json!({"state": state, "desired_state": desired}));
            assert_eq!(Standing::of(&tenant.value).is_reached(), reached, "{state} {desired}");
        }
    }

    #[test]
    fn must_say_what_keeps_a_tenant_from_its_desired_state() {
        let held = tenant(json!({
            "state": "Suspended", "desired_state": "Active", "waits_for": "held by billing",
            "holds": [hold("billing", false)],
        }));
        let held = Standing::of(&held.value);
        assert_eq!(held.sentence(), "acme-eu is Suspended, desired: Active; held by billing");
        assert!(held.remedy().expect("a command").ends_with("activate acme-eu --hold billing"));
        let above = tenant(json!({
            "state": "Suspended", "desired_state": "Active",
            "waits_for": "held by billing on organization acme",
            "holds": [hold("legal", false), hold("billing", true)],
        }));
        let above = Standing::of(&above.value);
        assert!(above.sentence().ends_with("desired: Active; held by billing on organization acme"));
        assert!(above.remedy().expect("a command").ends_with("activate acme --organization --hold billing"));
        let archived =
            tenant(json!({"state": "Archived", "desired_state": "Active", "waits_for": "undelete it first"}));
        let archived = Standing::of(&archived.value);
        assert_eq!(archived.sentence(), "acme-eu is Archived, desired: Active; undelete it first");
        assert!(archived.remedy().expect("a command").ends_with("undelete acme-eu"));
        let failed = tenant(json!({
            "state": "Draft", "desired_state": "Active", "waits_for": "create, which failed last time",
        }));
        let sentence = "acme-eu is Draft, desired: Active; create, which failed last time";
        assert_eq!(Standing::of(&failed.value).sentence(), sentence);
        let reached = tenant(json!({"state": "Active", "desired_state": "Active"}));
        let reached = Standing::of(&reached.value);
        assert_eq!((reached.sentence().as_str(), reached.remedy()), ("acme-eu is Active", None));
    }
}
