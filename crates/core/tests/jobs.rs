//! Jobs that are cancelled, that make way, that failed and are asked for again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use serde_json::{Value, json};
use tenancy_core::action::Action;
use tenancy_core::actor::Actor;
use tenancy_core::changes::{Changes, Guard};
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::event::EventType;
use tenancy_core::hold::{Held, Hold};
use tenancy_core::ids::{CorrelationId, HoldId};
use tenancy_core::job::{Failure, FailureCode, Job, JobState, StepState};
use tenancy_core::manifest::Manifest;
use tenancy_core::rules::lifecycle::{Suspension, activate, request, suspend};
use tenancy_core::rules::outcome::{cancel, complete, fail};
use tenancy_core::rules::step::{Achieved, ready, step_done};
use tenancy_core::rules::{Decision, change, organization_holds, register};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::State;
use tenancy_core::{Error, Timestamp};

/// One tenant, decided on and on: each decision is the next one's snapshot.
struct Tenant {
    declared: Declared,
    snapshot: TenantSnapshot,
    changes: Option<Changes>,
    hours: i64,
}

fn context(hours: i64) -> DecisionContext {
    let now = Timestamp::from_second(1_700_000_000 + hours * 3600).unwrap();
    DecisionContext::new(
        now,
        [u8::try_from(hours % 251).unwrap(); 32],
        Actor::system("test"),
        CorrelationId::known("c"),
    )
}

fn document(environments: &[&str]) -> Value {
    let environments: Vec<_> = environments.iter().map(|name| json!({"name": name})).collect();
    json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1", "desired_state": "Active",
           "policies": {"purgeAfterDays": 0}, "environments": environments})
}

impl Tenant {
    /// Registered, its creation asked for.
    fn new() -> Self {
        let declared = Declared::default();
        let (manifest, _) = Manifest::parse(&declared, &document(&["prod"])).unwrap();
        let made = register::register(&declared, &manifest, Vec::new(), &mut context(0)).unwrap();
        Self { declared, snapshot: made.snapshot, changes: made.changes, hours: 0 }
    }

    fn in_service() -> Self {
        let mut tenant = Self::new();
        tenant.complete(Action::Create);
        tenant.complete(Action::Activate);
        tenant
    }

    /// Archived, with a purge asked for.
    fn purged() -> Self {
        let mut tenant = Self::in_service();
        tenant.suspend("operator").unwrap();
        tenant.complete(Action::Suspend);
        tenant.ask(Action::Delete);
        tenant.complete(Action::Delete);
        tenant.ask(Action::Purge);
        tenant
    }

    fn decide(
        &mut self,
        rule: impl FnOnce(&Declared, &TenantSnapshot, &mut DecisionContext) -> Result<Decision, Error>,
    ) -> Result<(), Error> {
        self.hours += 1;
        let decision = rule(&self.declared, &self.snapshot, &mut context(self.hours))?;
        (self.snapshot, self.changes) = (decision.snapshot, decision.changes);
        Ok(())
    }

    fn suspend(&mut self, kind: &str) -> Result<(), Error> {
        let said = Suspension { hold: Some(kind.to_owned()), reason: None, until: None };
        self.decide(|declared, snapshot, context| suspend(declared, snapshot, &said, context))
    }

    fn activate(&mut self, kind: Option<&str>) -> Result<(), Error> {
        self.decide(|declared, snapshot, context| activate(declared, snapshot, kind, context))
    }

    fn ask(&mut self, action: Action) {
        self.decide(|declared, snapshot, context| request(declared, snapshot, action, context)).unwrap();
    }

    fn grow(&mut self) {
        let (manifest, _) = Manifest::parse(&self.declared, &document(&["prod", "dev"])).unwrap();
        self.decide(|declared, snapshot, context| {
            change::change(declared, snapshot, &manifest, Vec::new(), &[], context)
        })
        .unwrap();
    }

    fn cancel(&mut self) -> Result<(), Error> {
        self.decide(|declared, snapshot, context| cancel(declared, snapshot, Some("zz-personal"), context))
    }

    fn complete(&mut self, action: Action) {
        let job = self.open(action);
        self.decide(|declared, snapshot, context| complete(declared, snapshot, &job, context)).unwrap();
    }

    fn fail(&mut self, action: Action) {
        let (job, code) = (self.open(action), FailureCode::ProvisionerFailed);
        let failure = Failure { code, message: "no room".to_owned(), step: None };
        self.decide(|declared, snapshot, context| fail(declared, snapshot, &job, failure, context)).unwrap();
    }

    /// The step of that place is done; returns the job as its worker has it then.
    fn step(&mut self, action: Action, index: usize) -> Job {
        let mut job = self.open(action);
        job.steps[index].state = StepState::Done;
        (job.progress, job.logs) = (0.5, "done".to_owned());
        let step = job.steps[index].clone();
        let done = (&step, &Achieved::of(&step));
        self.decide(|declared, snapshot, context| step_done(declared, snapshot, &job, done, context)).unwrap();
        job
    }

    fn provisioned(&self) -> Vec<&str> {
        let environments = self.snapshot.environments.iter().filter(|e| e.provisioned_at.is_some());
        environments.map(|environment| environment.name.as_str()).collect()
    }

    fn open(&self, action: Action) -> Job {
        assert_eq!(self.job(), Some(action));
        self.snapshot.open_job.clone().unwrap()
    }

    fn job(&self) -> Option<Action> {
        self.snapshot.open_job.as_ref().map(|job| job.action)
    }

    /// The open job as upkeep leaves it: claimed so often, and then at that state, waiting for that.
    fn upkeep(&mut self, attempt: i64, state: JobState, waiting_for: Option<&str>) {
        let job = self.snapshot.open_job.as_mut().unwrap();
        (job.attempt, job.lease_epoch, job.state) = (attempt, attempt, state);
        job.waiting_for = waiting_for.map(str::to_owned);
    }

    fn waits(&mut self) {
        self.upkeep(1, JobState::Queued, Some("a certificate"));
    }

    fn events(&self) -> Vec<EventType> {
        let events = self.changes.iter().flat_map(|changes| changes.events());
        events
            .map(|event| {
                assert!(event.event_type.accepts(&event.payload), "{event:?}");
                event.event_type
            })
            .collect()
    }

    fn ended(&self) -> Job {
        self.changes.as_ref().and_then(Changes::finished_job).unwrap().clone()
    }

    fn hold_above(&mut self, kind: &str) {
        let hold = Hold {
            hold_id: HoldId::known(kind),
            held: Held::Organization(self.snapshot.tenant.organization_id.clone()),
            kind: kind.to_owned(),
            reason: None,
            placed_by: "user:x".to_owned(),
            until: None,
            created_at: context(0).now,
        };
        self.snapshot.organization_holds = vec![hold];
    }

    fn settle(&mut self) {
        let newest = self.snapshot.open_job.clone();
        self.decide(|declared, snapshot, context| {
            let now = context.now;
            organization_holds::settle(declared, snapshot, newest.as_ref(), now, context)
        })
        .unwrap();
    }
}

fn refusal(decided: Result<(), Error>) -> String {
    match decided {
        Err(Error::NotNow(why)) => why,
        other => panic!("{other:?}"),
    }
}

#[test]
fn must_cancel_a_job_that_is_open_however_far_it_is_and_fence_its_worker() {
    for (attempt, state, waits) in
        [(0, JobState::Queued, None), (1, JobState::Running, None), (3, JobState::Queued, Some("a certificate"))]
    {
        let mut tenant = Tenant::new();
        tenant.upkeep(attempt, state, waits);
        let job = tenant.open(Action::Create);
        let before = tenant.snapshot.tenant.clone();
        tenant.cancel().unwrap();
        let ended = tenant.ended();
        assert_eq!((ended.state, ended.error_code.as_deref()), (JobState::Failed, Some("cancelled")));
        assert!(ended.error.is_some_and(|error| error.contains("system:test") && error.contains("request the action")));
        assert!(ended.finished_at.is_some() && ended.waiting_for.is_none());
        assert_eq!((tenant.events(), tenant.job()), (vec![EventType::JobCancelled], None), "not the same at once");
        let changes = tenant.changes.as_ref().unwrap();
        let at = Guard::TenantAt(before.tenant_id.clone(), before.terms.version, before.facts.counter);
        assert_eq!(changes.guards, [at, Guard::Lease(job.job_id, attempt)]);
        assert_eq!(
            tenant.snapshot.tenant.facts.counter,
            before.facts.counter + 1,
            "who decided on this tenant decides again"
        );
        let event = &changes.events()[0];
        assert_eq!(event.private.as_ref().map(|private| &private.content), Some(&json!({"reason": "zz-personal"})));
        assert!(!serde_json::to_string(&event.payload).unwrap().contains("zz-personal"));
    }
    let mut tenant = Tenant::in_service();
    assert!(refusal(tenant.cancel()).contains("no open job"));
}

#[test]
fn must_go_on_after_a_cancelled_job_with_anything_else_that_is_asked_for() {
    let mut tenant = Tenant::in_service();
    tenant.grow();
    tenant.upkeep(1, JobState::Running, None);
    tenant.suspend("security").unwrap();
    assert_eq!(tenant.job(), Some(Action::Update), "who works it is not disturbed");
    tenant.cancel().unwrap();
    assert_eq!(tenant.events(), [EventType::JobCancelled, EventType::SuspensionRequested]);
    tenant.complete(Action::Suspend);
    tenant.cancel().unwrap();
    assert_eq!((tenant.snapshot.tenant.facts.state, tenant.job()), (State::Suspended, None));
    tenant.activate(Some("security")).unwrap();
    assert_eq!(tenant.job(), Some(Action::Update));
}

#[test]
fn must_not_cancel_a_purge_that_was_begun() {
    let mut tenant = Tenant::purged();
    let before = tenant.snapshot.clone();
    for (state, waits) in [(JobState::Running, None), (JobState::Queued, None), (JobState::Queued, Some("a quorum"))] {
        tenant.snapshot = before.clone();
        tenant.upkeep(1, state, waits);
        assert!(refusal(tenant.cancel()).contains("may have destroyed data"));
    }
    tenant.snapshot = before;
    tenant.cancel().unwrap();
    tenant.ask(Action::Undelete);
}

#[test]
fn must_cancel_what_only_waits_when_a_hold_takes_the_tenant_out_of_service() {
    let mut tenant = Tenant::in_service();
    tenant.grow();
    tenant.waits();
    let job = tenant.open(Action::Update);
    tenant.suspend("legal").unwrap();
    assert_eq!(tenant.job(), Some(Action::Update), "which keeps nothing out of service");
    tenant.suspend("security").unwrap();
    use EventType::{ActivationRequested, HoldPlaced, HoldReleased, JobCancelled, SuspensionRequested};
    assert_eq!(tenant.events(), [HoldPlaced, JobCancelled, SuspensionRequested]);
    assert_eq!((tenant.ended().job_id, tenant.ended().error_code.as_deref()), (job.job_id.clone(), Some("cancelled")));
    assert!(tenant.changes.as_ref().unwrap().guards.contains(&Guard::Lease(job.job_id, 1)));
    tenant.complete(Action::Suspend);
    tenant.complete(Action::Update);

    // One that would bring it into service makes way, too, and comes back with the release.
    tenant.activate(Some("security")).unwrap();
    assert_eq!(tenant.events(), [HoldReleased, ActivationRequested]);
    tenant.waits();
    tenant.suspend("abuse").unwrap();
    assert_eq!((tenant.events(), tenant.job()), (vec![HoldPlaced, JobCancelled], None));
    tenant.activate(Some("abuse")).unwrap();
    assert_eq!(tenant.job(), Some(Action::Activate));
}

#[test]
fn must_cancel_what_only_waits_when_the_same_hold_is_placed_again_or_on_all() {
    let mut tenant = Tenant::in_service();
    tenant.grow();
    tenant.upkeep(1, JobState::Running, None);
    tenant.suspend("security").unwrap();
    tenant.waits();
    let before = tenant.snapshot.clone();
    tenant.suspend("security").unwrap();
    assert_eq!(tenant.events(), [EventType::JobCancelled, EventType::SuspensionRequested]);

    tenant.snapshot = before;
    tenant.snapshot.holds.clear();
    tenant.settle();
    assert!(tenant.changes.is_none(), "nothing holds it");
    tenant.hold_above("abuse");
    tenant.settle();
    assert_eq!(tenant.events(), [EventType::JobCancelled, EventType::SuspensionRequested]);
}

#[test]
fn must_let_wait_what_takes_no_tenant_into_service() {
    let mut tenant = Tenant::new();
    tenant.waits();
    tenant.suspend("security").unwrap();
    assert_eq!((tenant.events(), tenant.job()), (vec![EventType::HoldPlaced], Some(Action::Create)));
    for (mut tenant, action) in [(Tenant::in_service(), Action::Suspend), (Tenant::purged(), Action::Purge)] {
        if action == Action::Suspend {
            tenant.suspend("billing").unwrap();
        }
        tenant.waits();
        tenant.suspend("security").unwrap();
        assert_eq!((tenant.events(), tenant.job()), (vec![EventType::HoldPlaced], Some(action)));
    }
}

#[test]
fn must_ask_again_for_what_a_job_failed_at_though_nothing_changes() {
    let mut tenant = Tenant::in_service();
    tenant.grow();
    tenant.fail(Action::Update);
    tenant.activate(None).unwrap();
    assert_eq!((tenant.events(), tenant.job()), (vec![EventType::TenancyUpdateRequested], Some(Action::Update)));
    tenant.activate(None).unwrap();
    assert!(tenant.changes.is_none(), "it is under way");
    tenant.fail(Action::Update);
    tenant.suspend("billing").unwrap();
    tenant.fail(Action::Suspend);
    for _ in 0..2 {
        tenant.suspend("billing").unwrap();
        assert_eq!((tenant.events(), tenant.job()), (vec![EventType::SuspensionRequested], Some(Action::Suspend)));
        tenant.fail(Action::Suspend);
    }
    tenant.activate(Some("billing")).unwrap();
    tenant.complete(Action::Update);
    tenant.suspend("billing").unwrap();
    tenant.complete(Action::Suspend);
    tenant.activate(Some("billing")).unwrap();
    tenant.fail(Action::Activate);
    tenant.activate(None).unwrap();
    assert_eq!((tenant.events(), tenant.job()), (vec![EventType::ActivationRequested], Some(Action::Activate)));
}

#[test]
fn must_not_empty_a_record_that_a_hold_on_the_organization_keeps_by_now() {
    let mut tenant = Tenant::purged();
    tenant.hold_above("legal");
    tenant.upkeep(1, JobState::Running, None);
    tenant.complete(Action::Purge);
    let job = tenant.ended();
    assert_eq!((job.state, job.error_code.as_deref()), (JobState::Failed, Some("data_held")));
    let error = job.error.unwrap();
    assert!(error.contains("held by legal on organization acme") && error.contains("is gone"), "{error}");
    assert_eq!((tenant.events(), tenant.job()), (vec![EventType::JobFailed], None));
    assert_eq!((tenant.snapshot.tenant.facts.purged_at, tenant.snapshot.environments.len()), (None, 1));
    tenant.snapshot.organization_holds.clear();
    tenant.ask(Action::Purge);
    tenant.complete(Action::Purge);
    assert!(tenant.snapshot.tenant.facts.purged_at.is_some());
}

#[test]
fn must_commit_what_a_step_achieved_with_its_end_under_the_lease_of_its_job() {
    let mut tenant = Tenant::in_service();
    tenant.grow();
    tenant.upkeep(1, JobState::Running, None);
    let (before, open) = (tenant.snapshot.tenant.clone(), tenant.open(Action::Update));
    let job = tenant.step(Action::Update, 0);
    assert_eq!(tenant.events(), [EventType::EnvironmentProvisioned]);
    let changes = tenant.changes.as_ref().unwrap();
    let at = Guard::TenantAt(before.tenant_id.clone(), before.terms.version, before.facts.counter);
    assert_eq!(changes.guards, [at, Guard::Lease(open.job_id.clone(), 1)]);
    assert_eq!((changes.finished_job(), changes.queued_job()), (None, None));
    assert_eq!(
        tenant.snapshot.tenant.facts.counter,
        before.facts.counter + 1,
        "who decided on this tenant decides again"
    );
    let dev = tenant.snapshot.environments.iter().find(|environment| environment.name == "dev").unwrap();
    assert_eq!((dev.state, dev.provisioned_at.is_some()), (State::Active, true), "its tenant is in service");
    let written = tenant.open(Action::Update);
    assert_eq!((&written.steps, written.progress, &written.logs), (&job.steps, 0.5, &job.logs));
    tenant.complete(Action::Update);
    assert_eq!((tenant.job(), tenant.provisioned()), (None, vec!["dev", "prod"]));
}

#[test]
fn must_keep_what_the_steps_of_a_job_that_failed_had_achieved() {
    let mut tenant = Tenant::new();
    tenant.grow();
    let failed = tenant.step(Action::Create, 0);
    assert_eq!(failed.steps[0].to_string(), "provision prod");
    tenant.fail(Action::Create);
    assert_eq!(tenant.provisioned(), ["prod"]);
    tenant.activate(None).unwrap();
    let steps: Vec<_> = tenant.open(Action::Create).steps.iter().map(ToString::to_string).collect();
    assert_eq!(steps, ["provision dev", "record"], "what is provisioned is not provisioned again");
}

#[test]
fn must_have_nothing_to_keep_of_a_step_that_made_nothing_or_whose_environment_is_another() {
    let mut tenant = Tenant::new();
    tenant.complete(Action::Create);
    tenant.step(Action::Activate, 0);
    assert_eq!(tenant.changes, None);
    let mut tenant = Tenant::in_service();
    tenant.grow();
    let open = tenant.open(Action::Update);
    tenant.snapshot.environments.iter_mut().for_each(|environment| environment.created_at = context(99).now);
    tenant.step(Action::Update, 0);
    assert_eq!((tenant.changes.as_ref(), tenant.open(Action::Update)), (None, open), "it is another of that name");
    tenant.snapshot.environments.clear();
    tenant.step(Action::Update, 0);
    assert_eq!(tenant.changes, None);
}

#[test]
fn must_end_a_job_badly_that_may_not_run_any_more_before_its_steps_and_after_them() {
    let mut tenant = Tenant::purged();
    let mut job = tenant.open(Action::Purge);
    assert!(ready(&tenant.declared, &tenant.snapshot, &job).is_ok());
    tenant.hold_above("legal");
    let failure = ready(&tenant.declared, &tenant.snapshot, &job).unwrap_err();
    assert_eq!((failure.code, failure.message.contains("is gone")), (FailureCode::DataHeld, false));
    job.steps[0].state = StepState::Done;
    let failure = ready(&tenant.declared, &tenant.snapshot, &job).unwrap_err();
    assert_eq!((failure.code, failure.message.contains("is gone")), (FailureCode::DataHeld, true));
    tenant.snapshot.tenant.facts.state = State::Active;
    tenant.complete(Action::Purge);
    let ended = tenant.ended();
    assert_eq!((ended.state, ended.error_code.as_deref()), (JobState::Failed, Some("not_in_this_state")));
}
