//! What holds of every commit, and of the record after it.

use crate::database::Database;
use crate::spec::PERSONAL;
use std::collections::BTreeMap;
use tenancy_core::actor::MAX_ACTOR_LENGTH_BYTES;
use tenancy_core::changes::Write;
use tenancy_core::environment::Environment;
use tenancy_core::event::MAX_PAYLOAD_BYTES;
use tenancy_core::hold::Held;
use tenancy_core::ids::TenantId;
use tenancy_core::json::{Object, canonical};
use tenancy_core::lifecycle::TABLE;
use tenancy_core::manifest::Manifest;
use tenancy_core::organization::Usage;
use tenancy_core::rules::change::environment_entry;
use tenancy_core::rules::organization_holds::HoldsDecision;
use tenancy_core::rules::{Decision, outcome};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::Tenant;

pub fn commit(before: &Database, after: &Database, id: &TenantId, decision: &Decision) {
    let changes = decision.changes.as_ref().expect("changes");
    assert_eq!(changes.tenant_id.as_ref(), Some(id));
    let mut decided = decision.snapshot.clone();
    if before.snapshot(id).is_none() {
        // A registration looks at nothing that is there, at its organization's holds neither.
        let above = Held::Organization(decided.tenant.organization_id.clone());
        decided.organization_holds = after.holds_of(&above);
    }
    assert_eq!(after.snapshot(id), Some(decided), "the writes are what was decided");
    events(before, after, id);
    let now = decision.snapshot.clone();
    let Some(was) = before.snapshot(id) else { return };
    let manifests = changes.writes.iter().filter(|write| matches!(write, Write::UpdateTenantTerms(..))).count();
    assert!(manifests <= 1);
    assert_eq!(now.tenant.terms.version - was.tenant.terms.version, i64::try_from(manifests).unwrap());
    let changed = was.tenant.facts.purged_at.is_none()
        && now.tenant.facts.purged_at.is_none()
        && Manifest::of(&was) != Manifest::of(&now);
    assert_eq!(changed, manifests == 1, "a version for each accepted change, and for nothing else");
    assert_eq!(
        now.tenant.facts.counter - was.tenant.facts.counter,
        i64::from(facts(&was) != facts(&now)),
        "counted once"
    );
    if was.tenant.facts.state != now.tenant.facts.state {
        let ended = was.open_job.as_ref().expect("only jobs move a tenant");
        let known = TABLE.iter().any(|line| {
            (line.from, line.action, line.to) == (was.tenant.facts.state, ended.action, now.tenant.facts.state)
        });
        assert!(known, "{} by {} to {}", was.tenant.facts.state, ended.action, now.tenant.facts.state);
    }
    for (name, row) in &before.tenants {
        assert!(name == id || after.tenants.get(name) == Some(row), "one tenant only");
    }
}

/// A hold on all is one commit that touches no tenant, and says that they have yet to follow.
pub fn holds_moved(before: &Database, after: &Database, decided: &HoldsDecision) {
    let (row, id) = (&decided.organization, &decided.organization.organization_id);
    assert_eq!(&after.organizations[id].0, row);
    assert_eq!(after.holds_of(&Held::Organization(id.clone())), decided.holds);
    assert_eq!(row.counter, before.organizations[id].0.counter + 1);
    assert_eq!(row.version, before.organizations[id].0.version);
    assert!(row.settled_counter < row.counter);
    assert_eq!((&before.tenants, &before.jobs), (&after.tenants, &after.jobs));
    let [event] = &after.log[before.log.len()..] else { panic!("one event") };
    assert_eq!(event.tenant_id, None);
    assert!(event.event_type.accepts(&event.payload), "{event:?}");
    assert!(!serde_json::to_string(&event.payload).unwrap().contains(PERSONAL), "{event:?}");
}

fn events(before: &Database, after: &Database, id: &TenantId) {
    let new = &after.log[before.log.len()..];
    assert!(!new.is_empty(), "no change without an event");
    for event in new {
        assert_eq!(event.tenant_id.as_ref(), Some(id));
        assert!(event.event_type.accepts(&event.payload), "{} {:?}", event.event_type, event.payload);
        assert_eq!(event.event_version, event.event_type.version());
        let payload = serde_json::to_string(&event.payload).unwrap();
        assert!(!payload.contains(PERSONAL), "{payload}");
        assert!(payload.len() <= MAX_PAYLOAD_BYTES);
        assert!(event.actor.len() <= MAX_ACTOR_LENGTH_BYTES, "{}", event.actor);
        let digest = event.payload.get("private_digest").and_then(serde_json::Value::as_str);
        assert_eq!(digest.map(str::to_owned), event.private.as_ref().map(tenancy_core::event::Private::digest));
    }
    assert!(after.log.is_sorted_by(|a, b| a.audit_id < b.audit_id), "ids sort as they were made");
}

/// All that the counter counts.
fn facts(snapshot: &TenantSnapshot) -> impl PartialEq + use<> {
    let tenant = &snapshot.tenant;
    let times = (
        tenant.facts.state_since,
        tenant.facts.provisioned_at,
        tenant.facts.archived_at,
        tenant.facts.purge_after,
        tenant.facts.purged_at,
    );
    (tenant.facts.state, times, snapshot.holds.clone(), snapshot.open_job.clone())
}

/// No manifest change writes states or holds.
pub fn same_facts(before: &TenantSnapshot, after: &TenantSnapshot) {
    let (was, now) = (&before.tenant, &after.tenant);
    assert_eq!(
        (was.facts.state, was.facts.state_since, was.facts.provisioned_at),
        (now.facts.state, now.facts.state_since, now.facts.provisioned_at)
    );
    assert_eq!(
        (was.facts.archived_at, was.facts.purge_after, was.facts.purged_at),
        (now.facts.archived_at, now.facts.purge_after, now.facts.purged_at)
    );
    assert_eq!(before.holds, after.holds);
    for environment in &after.environments {
        if let Some(was) = before.environments.iter().find(|e| e.env_id == environment.env_id) {
            assert_eq!((was.state, was.provisioned_at), (environment.state, environment.provisioned_at));
        }
    }
}

/// Every version of an environment is kept, and all are above those of earlier ones of its name.
fn environment_versions(database: &Database, tenant: &Tenant, environment: &Environment) {
    assert!(environment.version <= tenant.terms.version, "each change of it is one of its tenant");
    let (mut versions, mut earlier) = (Vec::new(), 0);
    for (id, kept) in database.environment_versions.iter().filter(|(_, kept)| kept.tenant_id == tenant.tenant_id) {
        match id.0 == environment.env_id {
            true => versions.push(kept.version),
            false if kept.manifest["name"] == environment.name => earlier = earlier.max(kept.version),
            false => {}
        }
    }
    assert_eq!(versions, (versions[0]..=environment.version).collect::<Vec<_>>(), "every version is kept");
    assert!(earlier < versions[0], "no version of an earlier one passes for one of this");
}

/// The rows of a tenant agree with each other.
pub fn record(database: &Database, snapshot: &TenantSnapshot) {
    let tenant = &snapshot.tenant;
    let id = &tenant.tenant_id;
    let versions: Vec<_> = database.tenant_versions.keys().filter(|(of, _)| of == id).map(|(_, v)| *v).collect();
    assert_eq!(versions, (1..=tenant.terms.version).collect::<Vec<_>>(), "every version is kept");
    if tenant.facts.purged_at.is_none() {
        let kept = &database.tenant_versions[&(id.clone(), tenant.terms.version)].manifest;
        assert_eq!(canonical(kept), canonical(&Manifest::of(snapshot).document()));
    } else {
        let nothing = snapshot.environments.is_empty() && snapshot.holds.is_empty();
        assert!(nothing && snapshot.aliases.is_empty() && snapshot.webhooks.is_empty(), "a tombstone");
        emptied(database, tenant);
    }
    for environment in &snapshot.environments {
        environment_versions(database, tenant, environment);
        let kept = &database.environment_versions[&(environment.env_id.clone(), environment.version)].manifest;
        assert_eq!(kept, &environment_entry(environment).document());
    }
    for job in database.jobs.values().filter(|job| &job.tenant_id == id) {
        assert!(job.requested_by.len() <= MAX_ACTOR_LENGTH_BYTES);
        assert!(job.error.as_ref().is_none_or(|text| text.len() <= outcome::MAX_ERROR_LENGTH_BYTES));
        assert!(job.error.as_ref().is_none_or(|text| !text.contains('\0')));
        assert_eq!(job.finished_at.is_some(), !job.is_open());
    }
}

/// What stays of a tenant that is purged says nothing personal, and everything that happened.
fn emptied(database: &Database, tenant: &Tenant) {
    let id = &tenant.tenant_id;
    let versions: Vec<_> = database.tenant_versions.values().filter(|version| &version.tenant_id == id).collect();
    let places: Vec<_> = database.environment_versions.values().filter(|version| &version.tenant_id == id).collect();
    let jobs: Vec<_> = database.jobs.values().filter(|job| &job.tenant_id == id).collect();
    let events: Vec<_> = database.log.iter().filter(|event| event.tenant_id.as_ref() == Some(id)).collect();
    assert!(!events.is_empty() && !jobs.is_empty());
    let rows = format!("{tenant:?} {versions:?} {places:?} {jobs:?} {events:?}");
    assert!(!rows.contains(PERSONAL), "{rows}");
    assert!(tenant.terms.quotas.is_empty() && tenant.terms.policies.is_empty(), "the terms go, too");
}

/// An organization's usage is the sum over its tenants that are not purged.
pub fn usage(database: &Database) {
    for (id, (_, usage)) in &database.organizations {
        let living = database.tenants.values().filter(|t| &t.organization_id == id && t.facts.purged_at.is_none());
        let mut sum = Usage::default();
        for tenant in living {
            let number = |value: &serde_json::Value| value.as_i64().filter(|number| (0..=1 << 40).contains(number));
            let counted = |quotas: &Object| -> BTreeMap<_, _> {
                quotas.iter().filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect()
            };
            let own = counted(&tenant.terms.quotas);
            for environment in database.environments.values().filter(|e| e.tenant_id == tenant.tenant_id) {
                let mut quotas = counted(&environment.quotas);
                quotas.retain(|name, _| !own.contains_key(name));
                sum.add(&Usage { tenants: 0, quotas });
            }
            sum.add(&Usage { tenants: 1, quotas: own });
        }
        assert_eq!(usage, &sum);
    }
}
