//! Single decisions that random histories reach too rarely, or do not look at.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::{Map, Value, json};
use std::cell::Cell;
use tenancy_core::action::Action;
use tenancy_core::actor::{Actor, MAX_ACTOR_LENGTH_BYTES};
use tenancy_core::changes::{Guard, Write};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::event::{EventType, MAX_PAYLOAD_BYTES};
use tenancy_core::hold::{Held, Hold};
use tenancy_core::ids::{CorrelationId, HoldId};
use tenancy_core::job::{Failure, FailureCode, Job};
use tenancy_core::json::merge_patch;
use tenancy_core::lifecycle::waits_for;
use tenancy_core::manifest::{MAX_MEMBERS_BYTES, Manifest};
use tenancy_core::organization::Usage;
use tenancy_core::rules::lifecycle::{Suspension, activate, request, suspend};
use tenancy_core::rules::organizations::{self, OrganizationManifest};
use tenancy_core::rules::outcome::{complete, fail};
use tenancy_core::rules::{Decision, change, log, register};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::{DesiredState, State};
use tenancy_core::{Error, Timestamp};

/// One tenant, decided on and on: each decision is the next one's snapshot.
struct Tenant {
    declared: Declared,
    snapshot: TenantSnapshot,
    events: Vec<EventType>,
    hours: Cell<i64>,
}

fn context(hours: i64) -> DecisionContext {
    let now = Timestamp::from_second(1_700_000_000 + hours * 3600).expect("in range");
    let random = [u8::try_from(hours % 251).unwrap(); 32];
    DecisionContext::new(now, random, Actor::system("test"), CorrelationId::known("c"))
}

fn document(more: Value) -> Value {
    let mut document = json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1",
                              "desired_state": "Active", "environments": [{"name": "prod"}]});
    merge_patch(&mut document, &more);
    document
}

impl Tenant {
    fn new(more: Value) -> Self {
        Self::declared(Declared::default(), &document(more))
    }

    fn declared(declared: Declared, document: &Value) -> Self {
        let (manifest, warnings) = Manifest::parse(&declared, document).expect("good");
        let made = register::register(&declared, &manifest, warnings, &mut context(0)).expect("made");
        let mut tenant = Self { declared, snapshot: made.snapshot.clone(), events: Vec::new(), hours: Cell::new(0) };
        tenant.take(Ok(made)).expect("taken");
        tenant
    }

    fn context(&self) -> DecisionContext {
        self.hours.set(self.hours.get() + 1);
        context(self.hours.get())
    }

    fn take(&mut self, decided: Result<Decision, Error>) -> Result<Decision, Error> {
        let decision = decided?;
        self.snapshot = decision.snapshot.clone();
        let changes = decision.changes.iter();
        self.events = changes.flat_map(|changes| changes.events().iter().map(|event| event.event_type)).collect();
        Ok(decision)
    }

    fn change(&mut self, document: &Value, allow: &[&str]) -> Result<Decision, Error> {
        let (manifest, warnings) = Manifest::parse(&self.declared, document)?;
        let allow: Vec<_> = allow.iter().map(|word| (*word).to_owned()).collect();
        let decided = change::change(&self.declared, &self.snapshot, &manifest, warnings, &allow, &mut self.context());
        self.take(decided)
    }

    fn suspend(&mut self, kind: &str) -> Result<Decision, Error> {
        let said = Suspension { hold: Some(kind.to_owned()), reason: Some("unpaid".to_owned()), until: None };
        let decided = suspend(&self.declared, &self.snapshot, &said, &mut self.context());
        self.take(decided)
    }

    fn activate(&mut self, kind: Option<&str>) -> Result<Decision, Error> {
        let decided = activate(&self.declared, &self.snapshot, kind, &mut self.context());
        self.take(decided)
    }

    fn ask(&mut self, action: Action) -> Result<Decision, Error> {
        let decided = request(&self.declared, &self.snapshot, action, &mut self.context());
        self.take(decided)
    }

    fn job(&self) -> Option<Action> {
        self.snapshot.open_job.as_ref().map(|job| job.action)
    }

    fn complete(&mut self, action: Action) {
        assert_eq!(self.job(), Some(action));
        let job: Job = self.snapshot.open_job.clone().expect("open");
        let decided = complete(&self.declared, &self.snapshot, &job, &mut self.context());
        self.take(decided).expect("completed");
    }

    fn fail(&mut self, action: Action) {
        assert_eq!(self.job(), Some(action));
        let job: Job = self.snapshot.open_job.clone().expect("open");
        let failure = Failure { code: FailureCode::ProvisionerFailed, message: "no room".to_owned(), step: None };
        let decided = fail(&self.declared, &self.snapshot, &job, failure, &mut self.context());
        self.take(decided).expect("failed");
    }

    fn state(&self) -> State {
        self.snapshot.tenant.facts.state
    }
}

fn refusal(decided: Result<Decision, Error>) -> String {
    match decided {
        Err(Error::NotNow(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn must_take_a_tenant_out_of_service_though_the_job_before_failed() {
    let mut tenant = Tenant::new(json!({}));
    tenant.complete(Action::Create);
    tenant.complete(Action::Activate);
    tenant.change(&document(json!({"environments": [{"name": "prod"}, {"name": "dev"}]})), &[]).expect("changed");
    assert_eq!(tenant.job(), Some(Action::Update));
    tenant.suspend("security").expect("held");
    tenant.fail(Action::Update);
    assert_eq!(tenant.events, [EventType::JobFailed, EventType::SuspensionRequested]);
    tenant.complete(Action::Suspend);
    // Out of service first; then the update has its turn again, and the hold stands.
    tenant.fail(Action::Update);
    assert_eq!((tenant.state(), tenant.job()), (State::Suspended, None));
}

#[test]
fn must_not_try_again_by_itself_what_failed_but_whenever_somebody_asks() {
    let mut tenant = Tenant::new(json!({}));
    tenant.fail(Action::Create);
    assert_eq!(tenant.job(), None);
    let failed = "create, which failed last time: see the error of its last job";
    assert_eq!(waits_for(&tenant.declared, &tenant.snapshot).as_deref(), Some(failed));
    tenant.change(&document(json!({"labels": {"a": "b"}})), &[]).expect("changed");
    assert_eq!(tenant.events, [EventType::TenancyUpdated, EventType::CreationRequested]);
    tenant.fail(Action::Create);
    tenant.activate(None).expect("asked again");
    tenant.complete(Action::Create);
    tenant.complete(Action::Activate);
    tenant.suspend("operator").expect("held");
    tenant.fail(Action::Suspend);
    assert_eq!((tenant.state(), tenant.job()), (State::Active, None));
    tenant.suspend("operator").expect("asked again");
    assert_eq!(tenant.events, [EventType::SuspensionRequested]);
    assert!(tenant.suspend("operator").expect("under way").changes.is_none());
    tenant.complete(Action::Suspend);
    assert_eq!(waits_for(&tenant.declared, &tenant.snapshot).as_deref(), Some("held by operator"));
}

#[test]
fn must_provision_only_what_a_job_has_steps_for() {
    let mut tenant = Tenant::new(json!({}));
    let two = document(json!({"environments": [{"name": "prod"}, {"name": "dev"}]}));
    tenant.change(&two, &[]).expect("changed");
    tenant.complete(Action::Create);
    let provisioned =
        |t: &Tenant| t.snapshot.environments.iter().map(|e| e.provisioned_at.is_some()).collect::<Vec<_>>();
    assert_eq!(provisioned(&tenant), [false, true], "dev came while prod was made");
    let steps: Vec<_> = tenant.snapshot.open_job.iter().flat_map(|job| &job.steps).map(ToString::to_string).collect();
    assert_eq!(steps, ["provision dev", "record"]);
    // One that takes the place of another of its name is another.
    tenant.change(&document(json!({})), &["remove-environment"]).expect("changed");
    tenant.change(&two, &[]).expect("changed");
    tenant.complete(Action::Update);
    assert_eq!(provisioned(&tenant), [false, true]);
    tenant.complete(Action::Update);
    tenant.complete(Action::Activate);
    assert!(tenant.snapshot.environments.iter().all(|e| e.state == State::Active && e.provisioned_at.is_some()));
}

#[test]
fn must_work_environments_in_their_declared_order() {
    let names = json!({"environments": [{"name": "prod"}, {"name": "stage"}, {"name": "dev"}]});
    let mut tenant = Tenant::new(names);
    let steps = |t: &Tenant| {
        let job = t.snapshot.open_job.clone().expect("open");
        job.steps.into_iter().map(|step| step.to_string()).collect::<Vec<_>>()
    };
    assert_eq!(steps(&tenant), ["provision dev", "provision stage", "provision prod", "record"]);
    tenant.complete(Action::Create);
    assert_eq!(steps(&tenant), ["open dev", "open stage", "open prod", "record"]);
}

#[test]
fn must_provision_what_was_deleted_before_its_creation_ended() {
    let mut tenant = Tenant::new(json!({"environments": null}));
    tenant.fail(Action::Create);
    tenant.ask(Action::Delete).expect("a Draft may be deleted");
    tenant.complete(Action::Delete);
    tenant.ask(Action::Undelete).expect("in its grace period");
    assert_eq!(tenant.events, [EventType::UndeletionRequested, EventType::HoldPlaced]);
    tenant.complete(Action::Undelete);
    tenant.fail(Action::Update);
    tenant.activate(None).expect("released");
    tenant.complete(Action::Update);
    tenant.complete(Action::Activate);
    assert_eq!(tenant.state(), State::Active);
}

#[test]
fn must_not_delete_what_is_protected_held_or_in_service() {
    let mut tenant = Tenant::new(json!({"deletion_protection": true, "desired_state": null}));
    tenant.complete(Action::Create);
    tenant.suspend("legal").expect("held");
    let why = refusal(tenant.ask(Action::Delete));
    assert!(why.contains("deletion_protection") && why.contains("legal"), "all of it: {why}");
    tenant.activate(None).expect("a legal hold keeps nothing out of service");
    tenant.complete(Action::Activate);
    assert!(refusal(tenant.ask(Action::Delete)).contains("Draft or Suspended"));
    let off = document(json!({"desired_state": "Suspended"}));
    assert!(matches!(tenant.change(&off, &[]), Err(Error::Gated(gates)) if gates[0].allow == "protection-off"));
    tenant.change(&off, &["protection-off"]).expect("changed");
    tenant.complete(Action::Suspend);
    assert_eq!(refusal(tenant.ask(Action::Delete)), "the data is held by legal: release the hold first");
    tenant.activate(Some("legal")).expect("released");
    tenant.ask(Action::Delete).expect("asked");
}

#[test]
fn must_leave_a_tombstone_and_nothing_beside_it() {
    let more = json!({"desired_state": null, "policies": {"purgeAfterDays": 1}, "aliases": {"crm": "x"},
                      "webhooks": [{"name": "main", "url": "https://h/", "events": ["*"]}], "quotas": {"storageGiB": 7}});
    let mut tenant = Tenant::new(more.clone());
    tenant.complete(Action::Create);
    tenant.suspend("billing").expect("held");
    tenant.ask(Action::Delete).expect("asked");
    tenant.complete(Action::Delete);
    assert!(
        refusal(tenant.change(&document(json!({"labels": {"a": "b"}})), &["remove-environment", "less-retention"]))
            .contains("undelete")
    );
    assert_eq!(waits_for(&tenant.declared, &tenant.snapshot), None, "nobody wishes it back");
    tenant.snapshot.tenant.terms.desired_state = Some(DesiredState::Active);
    assert_eq!(waits_for(&tenant.declared, &tenant.snapshot).as_deref(), Some("undelete it first"));
    assert!(refusal(tenant.ask(Action::Purge)).contains("grace period"));
    tenant.hours.set(tenant.hours.get() + 24);
    tenant.ask(Action::Purge).expect("asked");
    assert!(refusal(tenant.suspend("legal")).contains("cannot keep"));
    let job = tenant.snapshot.open_job.clone().expect("open");
    let decision = complete(&tenant.declared, &tenant.snapshot, &job, &mut tenant.context()).expect("purged");
    let changes = decision.changes.as_ref().expect("changes");
    let gone = changes.writes.iter().filter(|write| {
        matches!(
            write,
            Write::DeleteEnvironment(_) | Write::DeleteAlias(_) | Write::DeleteWebhook(_) | Write::DeleteHold(_)
        )
    });
    assert_eq!(gone.count(), 4);
    let back = changes.guards.iter().find_map(|guard| match guard {
        Guard::OrganizationRoom(_, usage) => Some((usage.tenants, usage.quotas["storageGiB"])),
        _ => None,
    });
    assert_eq!(back, Some((-1, -7)));
    tenant.take(Ok(decision)).expect("taken");
    assert_eq!(waits_for(&tenant.declared, &tenant.snapshot), None, "a tombstone waits for nothing");
    assert!(refusal(tenant.change(&document(more), &[])).contains("is purged"));
    for action in [Action::Undelete, Action::Purge, Action::Delete] {
        assert!(refusal(tenant.ask(action)).contains("is purged"));
    }
    assert!(refusal(tenant.suspend("operator")).contains("is purged"));
    assert!(refusal(tenant.activate(None)).contains("is purged"));
}

#[test]
fn must_be_held_by_its_organization_and_by_kinds_that_nobody_declares_any_more() {
    let mut tenant = Tenant::new(json!({}));
    let hold = |held, kind: &str| Hold {
        hold_id: HoldId::known(kind),
        held,
        kind: kind.to_owned(),
        reason: None,
        placed_by: "user:x".to_owned(),
        until: None,
        created_at: context(0).now,
    };
    let organization = tenant.snapshot.tenant.organization_id.clone();
    tenant.snapshot.organization_holds = vec![hold(Held::Organization(organization), "abuse")];
    tenant.complete(Action::Create);
    assert_eq!((tenant.state(), tenant.job()), (State::Draft, None));
    assert_eq!(waits_for(&tenant.declared, &tenant.snapshot).as_deref(), Some("held by abuse on organization acme"));
    assert!(refusal(tenant.activate(None)).contains("abuse"));
    assert!(refusal(tenant.activate(Some("abuse"))).contains("no hold"), "it is not the tenant's own");
    let id = tenant.snapshot.tenant.tenant_id.clone();
    tenant.snapshot.organization_holds.clear();
    tenant.snapshot.holds = vec![hold(Held::Tenant(id), "old-kind")];
    assert!(refusal(tenant.activate(None)).contains("old-kind"));
    assert!(matches!(tenant.suspend("old-kind"), Err(Error::Invalid(v)) if v[0].pointer == "/hold"));
    tenant.activate(Some("old-kind")).expect("released");
    tenant.complete(Action::Activate);
}

#[test]
fn must_refuse_a_hold_that_is_over_before_it_stands() {
    let tenant = Tenant::new(json!({}));
    let mut now = context(5);
    let soon = now.now + tenancy_core::Timestamp::from_nanosecond(999).unwrap().duration_since(Timestamp::UNIX_EPOCH);
    for until in [now.now, soon] {
        let said = Suspension { until: Some(until), reason: Some("x".repeat(1025)), ..Suspension::default() };
        let Err(Error::Invalid(found)) = suspend(&tenant.declared, &tenant.snapshot, &said, &mut now) else { panic!() };
        assert_eq!(found.iter().map(|v| v.pointer.as_str()).collect::<Vec<_>>(), ["/reason", "/until"]);
    }
}

#[test]
fn must_begin_an_environments_versions_above_all_that_an_earlier_one_of_its_name_had() {
    let mut tenant = Tenant::new(json!({"environments": [{"name": "dev"}]}));
    let (with, without) = (|days: i64| json!([{"name": "dev", "retention_days": days}]), json!([]));
    tenant.change(&document(json!({"environments": with(30)})), &["less-retention"]).expect("changed");
    let earlier = tenant.snapshot.environments[0].clone();
    tenant.change(&document(json!({"environments": without})), &["remove-environment"]).expect("removed");
    tenant.change(&document(json!({"environments": with(60)})), &[]).expect("added again");
    let later = tenant.snapshot.environments[0].clone();
    assert_eq!((earlier.version, later.version, tenant.snapshot.tenant.terms.version), (2, 4, 4));
    assert_ne!(earlier.env_id, later.env_id);
}

#[test]
fn must_change_nothing_for_the_same_wish() {
    let mut tenant = Tenant::new(json!({"billing": {"a": {"b": null}}}));
    let mut same = document(json!({"billing": {"a": {}}}));
    same.as_object_mut().unwrap().remove("tenant_id");
    assert!(tenant.change(&same, &[]).expect("unchanged").changes.is_none(), "it is of the tenant it is applied to");
    same["tenant_id"] = json!("another");
    assert!(matches!(tenant.change(&same, &[]), Err(Error::Invalid(v)) if v[0].code == "immutable"));
}

/// As large as every limit allows.
fn largest(declared: &mut Declared, letter: &str) -> Value {
    declared.environments = (0..64).map(|n| format!("e{n:031}")).collect();
    let filled = |bytes: usize| json!({"x": letter.repeat(bytes - 8)});
    let environments: Vec<_> =
        declared.environments.iter().map(|name| json!({"name": name, "quotas": filled(MAX_MEMBERS_BYTES)})).collect();
    let labels: Map<_, _> = (0..64).map(|n| (format!("{n:063}"), json!(letter.repeat(255)))).collect();
    let webhooks: Vec<_> = (0..64)
        .map(|n| json!({"name": format!("w{n}"), "url": format!("https://h/{}", letter.repeat(2000)), "events": ["*"]}))
        .collect();
    let aliases: Vec<_> = (0..64).map(|n| format!("{n:02}{}", letter.repeat(240))).collect();
    document(json!({"environments": environments, "labels": labels, "webhooks": webhooks, "aliases": {"crm": aliases},
        "display_name": letter.repeat(255), "quotas": filled(MAX_MEMBERS_BYTES), "billing": filled(MAX_MEMBERS_BYTES),
        "policies": filled(MAX_MEMBERS_BYTES)}))
}

#[test]
fn must_be_able_to_change_the_largest_manifest_part_by_part() {
    let mut declared = Declared::default();
    let (first, last) = (largest(&mut declared, "a"), largest(&mut declared, "b"));
    let mut tenant = Tenant::declared(declared, &first);
    let mut now = first;
    for part in ["environments", "labels", "webhooks", "aliases", "display_name", "quotas", "billing", "policies"] {
        now[part] = last[part].clone();
        let decision = tenant.change(&now, &["remove-alias", "remove-quota", "loosen-policy"]).expect(part);
        let changes = decision.changes.expect("changes");
        let ids: Vec<_> = changes.events().iter().map(|event| event.audit_id.clone()).collect();
        assert!(ids.is_sorted_by(|a, b| a < b), "{part}");
        for event in changes.events() {
            let payload = serde_json::to_string(&event.payload).unwrap();
            assert!(payload.len() <= MAX_PAYLOAD_BYTES && event.event_type.accepts(&event.payload), "{part}");
        }
    }
    assert_eq!(tenant.snapshot.tenant.terms.version, 9);
}

#[test]
fn must_keep_an_actor_within_its_column() {
    let long = Actor::controller(&"ü".repeat(100)).to_string();
    let other = Actor::controller(&format!("{}x", "ü".repeat(99))).to_string();
    assert!(long.len() <= MAX_ACTOR_LENGTH_BYTES && long.starts_with("controller:ü"), "{long}");
    assert_ne!(long, other);
    assert_eq!(Actor::controller(&"x".repeat(53)).to_string().len(), 64);
    assert_eq!(Actor::system("a\0b").to_string().matches('\0').count(), 0);
    let mut context = context(0);
    context.actor.on_behalf_of = Some("y".repeat(65));
    let event = tenancy_core::event::Event::new(&mut context, None, EventType::KeyRevoked, json!({"key_id": "k"}));
    assert_eq!(event.on_behalf_of.map(|who| who.len()), Some(64));
}

#[test]
fn must_keep_an_organizations_name_out_of_the_log() {
    let read = |document: Value| OrganizationManifest::parse(&Declared::default(), &document).expect("good").0;
    let first = read(json!({"organization_id": "acme", "display_name": "zz-personal", "labels": {"a": "zz-personal"}}));
    let made = organizations::create(&first, &mut context(0)).expect("made");
    let more = json!({"organization_id": "acme", "display_name": "zz-personal too", "caps": {"tenants": 1},
                      "labels": {"a": "zz-personal too", "zz-personal": "b"}});
    let changed =
        organizations::change(&made.organization, &[], &Usage::default(), &read(more.clone()), &mut context(1))
            .expect("changed");
    let same = organizations::change(&changed.organization, &[], &Usage::default(), &read(more), &mut context(2))
        .expect("unchanged");
    assert!(same.changes.is_none());
    let closed = organizations::close(&changed.organization, &[], &mut context(3)).expect("closed");
    assert!(organizations::close(&closed.organization, &[], &mut context(4)).expect("unchanged").changes.is_none());
    assert_eq!((closed.organization.version, closed.organization.counter), (2, 2));
    for decision in [made, changed, closed] {
        for event in decision.changes.expect("changes").events() {
            assert!(event.event_type.accepts(&event.payload), "{:?}", event.payload);
            assert!(!serde_json::to_string(&event.payload).unwrap().contains("zz-personal"));
            assert_eq!(event.private.is_some(), event.payload.contains_key("private_digest"));
        }
    }
}

#[test]
fn must_keep_what_is_undeclared_out_of_the_log_names_and_all() {
    let odd = |what: &str| json!({"zz-personal": what, "zz/personal": {"x": what}});
    let mut tenant = Tenant::new(json!({"quotas": {"seats": "zz-personal", "apiRateLimit": 1}}));
    tenant.declared.quotas.insert("seats".to_owned(), tenant.declared.quotas["storageGiB"].clone());
    let mut more = json!({"quotas": odd("zz-personal"), "policies": odd("zz-personal"), "billing": odd("zz-personal"),
                          "labels": {"zz-personal": "a"}, "aliases": {"zz-personal": "b"}});
    merge_patch(
        &mut more,
        &json!({"quotas": {"seats": 5, "apiRateLimit": 2}, "policies": {"purgeAfterDays": 1}, "billing": {"plan": "zz-personal"}}),
    );
    more["environments"] = json!([{"name": "prod", "quotas": odd("a")}, {"name": "dev", "quotas": odd("b")}]);
    let decision = tenant.change(&document(more), &[]).expect("changed");
    let changes = decision.changes.expect("changes");
    let said = |index: usize| Value::from(changes.events()[index].payload.clone());
    let rows: Vec<_> = changes.events().iter().map(|event| json!(event.payload).to_string()).collect();
    assert!(!rows.iter().any(|row| row.contains("personal")), "{rows:?}");
    let pointers = [
        "/aliases",
        "/billing/plan",
        "/billing",
        "/labels",
        "/policies/purgeAfterDays",
        "/policies",
        "/quotas/apiRateLimit",
        "/quotas/seats",
        "/quotas",
    ];
    let found: Vec<_> = said(0)["changes"].as_array().unwrap().iter().map(|c| c["pointer"].clone()).collect();
    assert_eq!(found, pointers);
    assert_eq!(said(0)["changes"][6], json!({"pointer": "/quotas/apiRateLimit", "from": 1, "to": 2}));
    assert_eq!(said(0)["changes"][7], json!({"pointer": "/quotas/seats"}), "it was text, while it was not declared");
    assert_eq!((&said(1)["manifest"]["name"], said(1)["manifest"].get("quotas")), (&json!("dev"), None));
    assert_eq!(said(2)["changes"], json!([{"pointer": "/quotas"}]));
    for event in &changes.events()[..3] {
        let beside = event.private.as_ref().expect("it stands beside the log");
        assert!(beside.content.to_string().contains("personal"), "{:?}", beside.content);
        assert!(event.event_type.accepts(&event.payload), "{:?}", event.payload);
    }
}

#[test]
fn must_let_only_whole_months_of_the_log_expire_that_are_over() {
    // It is the 14th of November 2023.
    let expired = |first_kept: &str| log::expire(first_kept.parse().unwrap(), &mut context(0));
    for bad in ["2023-10-02", "2023-11-01", "2024-01-01", "2023-10-31"] {
        let Err(Error::Invalid(violations)) = expired(bad) else { panic!("{bad}") };
        assert_eq!(violations[0].pointer, "/before");
    }
    let (start, changes) = expired("2023-10-01").expect("good");
    assert_eq!(start.to_string(), "2023-10-01T00:00:00Z");
    let changes = changes.expect("a record");
    assert_eq!((changes.events()[0].event_type, changes.writes.len()), (EventType::LogExpired, 0));
    assert!(EventType::LogExpired.accepts(&changes.events()[0].payload));
}
