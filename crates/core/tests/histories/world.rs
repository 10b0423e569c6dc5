//! Runs commands on the rules and on the model, and compares.

use crate::Command;
use crate::checks;
use crate::database::Database;
use crate::model::{self, Expected, Hold, MOST_SEATS, MOST_STORAGE, MOST_TENANTS};
use crate::spec::{PERSONAL, Spec};
use serde_json::json;
use tenancy_core::action::Action;
use tenancy_core::actor::Actor;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::{Declared, QuotaKey};
use tenancy_core::hold::Held;
use tenancy_core::ids::{CorrelationId, OrganizationId, TenantId};
use tenancy_core::job::{Failure, FailureCode, JobState, StepState, Target, Verb, append};
use tenancy_core::lifecycle::{Situation, next_action, waits_for};
use tenancy_core::manifest::Manifest;
use tenancy_core::rules::lifecycle::{Suspension, activate, request, suspend};
use tenancy_core::rules::organizations::{OrganizationManifest, create};
use tenancy_core::rules::outcome::{cancel, complete, fail};
use tenancy_core::rules::step::{Achieved, step_done};
use tenancy_core::rules::{Decision, change, organization_holds, register};
use tenancy_core::{Error, Timestamp};

/// Everything that may be allowed by name.
const EVERY_GATE: [&str; 10] = tenancy_core::rules::gates::ALLOWED_BY_NAME;

pub struct World {
    declared: Declared,
    database: Database,
    model: model::World,
    commands: u64,
}

impl World {
    pub fn new() -> Self {
        let mut declared = Declared::default();
        declared.quotas.insert("seats".to_owned(), seats());
        let caps = json!({"tenants": MOST_TENANTS, "quotas": {"storageGiB": MOST_STORAGE, "seats": MOST_SEATS}});
        let document = json!({"organization_id": "acme", "caps": caps});
        let (manifest, _) = OrganizationManifest::parse(&declared, &document).expect("good");
        let model = model::World { seats_are_declared: true, ..model::World::default() };
        let mut world = Self { declared, database: Database::default(), model, commands: 0 };
        let made = create(&manifest, &mut world.context()).expect("made");
        world.database.commit(&made.changes.expect("changes")).expect("committed");
        world
    }

    fn context(&self) -> DecisionContext {
        let mut random = [0; 32];
        random[..8].copy_from_slice(&self.commands.to_le_bytes());
        let micros = 1_700_000_000_000_000 + self.model.now_hours * 3_600_000_000 + self.commands as i64;
        let actor = Actor::controller(&format!("a-very-long-name-of-a-process-{PERSONAL}-{}", "x".repeat(60)));
        DecisionContext::new(
            Timestamp::from_microsecond(micros).expect("in range"),
            random,
            actor,
            CorrelationId::known("c"),
        )
    }

    pub fn run(&mut self, command: &Command) {
        self.commands += 1;
        match command {
            Command::Register(who, spec) => self.register(&id(*who), spec),
            Command::Change(who, spec, allow) => self.change(&id(*who), spec, *allow),
            Command::Again(who) => {
                let known = self.model.tenants.get(id(*who).as_str());
                if let Some(spec) = known.map(|tenant| tenant.spec.clone()) {
                    self.change(&id(*who), &spec, false);
                }
            }
            Command::Suspend(who, kind, reason, hours) => {
                let until = hours.map(|hours| self.model.now_hours + hours);
                let hold = Hold { reason: *reason, until };
                let expected = self.expect(*who, |tenant, _| tenant.suspend(kind, hold));
                let reason = reason.map(|n| format!("{PERSONAL} reason {n}"));
                let suspension = Suspension { hold: Some((*kind).to_owned()), reason, until: until.map(hour) };
                self.lifecycle(*who, expected, |d, snapshot, context| suspend(d, snapshot, &suspension, context));
            }
            Command::Activate(who, kind) => {
                let expected = self.expect(*who, |tenant, _| tenant.activate(*kind));
                self.lifecycle(*who, expected, |d, snapshot, context| activate(d, snapshot, *kind, context));
            }
            Command::Declare(seats_are_declared) => self.declare(*seats_are_declared),
            Command::HoldAll(kind, place) => self.hold_all(kind, *place),
            Command::Settle(who) => self.settle(*who),
            Command::Request(who, action) => {
                let expected = self.expect(*who, |tenant, now| tenant.request(action, now));
                let action = Action::parse(action).expect("an action");
                self.lifecycle(*who, expected, |d, snapshot, context| request(d, snapshot, action, context));
            }
            Command::Claim(who) => self.claim(*who),
            Command::Wait(who) => self.put_aside(*who),
            Command::Cancel(who) => {
                let expected = self.expect(*who, |tenant, _| tenant.cancel());
                let reason = format!("{PERSONAL} reason");
                self.lifecycle(*who, expected, |d, snapshot, context| cancel(d, snapshot, Some(&reason), context));
            }
            Command::Step(who) => self.step(*who),
            Command::Complete(who) => self.end(*who, true),
            Command::Fail(who) => self.end(*who, false),
            Command::PassHours(hours) => {
                self.model.now_hours += hours;
                self.release_ended_holds();
            }
        }
        self.compare();
    }

    /// The server is started again with another configuration. What stands in the record is not looked at.
    fn declare(&mut self, seats_are_declared: bool) {
        self.model.seats_are_declared = seats_are_declared;
        self.declared.quotas.remove("seats");
        if seats_are_declared {
            self.declared.quotas.insert("seats".to_owned(), seats());
        }
    }

    fn register(&mut self, id: &TenantId, spec: &Spec) {
        let expected = self.model.register(id.as_str(), spec);
        let document = spec.document(id.as_str(), self.commands.is_multiple_of(2));
        let decided = Manifest::parse(&self.declared, &document)
            .and_then(|(manifest, _)| register::register(&self.declared, &manifest, Vec::new(), &mut self.context()));
        self.commit(id, expected, decided);
    }

    fn change(&mut self, id: &TenantId, spec: &Spec, allow: bool) {
        let expected = self.model.change(id.as_str(), spec, allow);
        let document = spec.document(id.as_str(), self.commands.is_multiple_of(2));
        let allow: Vec<_> = EVERY_GATE.into_iter().filter(|_| allow).map(str::to_owned).collect();
        let before = self.database.snapshot(id);
        let decided = Manifest::parse(&self.declared, &document).and_then(|(manifest, _)| match &before {
            None => Err(Error::not_found("tenant", id.as_str())),
            Some(snapshot) => {
                change::change(&self.declared, snapshot, &manifest, Vec::new(), &allow, &mut self.context())
            }
        });
        self.commit(id, expected, decided);
        if let (Some(before), Some(after)) = (before, self.database.snapshot(id)) {
            checks::same_facts(&before, &after);
        }
    }

    fn expect(&mut self, who: u8, ask: impl FnOnce(&mut model::Tenant, i64) -> Expected) -> Expected {
        let now = self.model.now_hours;
        self.model.tenants.get_mut(id(who).as_str()).map_or(Expected::Refused, |tenant| ask(tenant, now))
    }

    fn lifecycle(
        &mut self,
        who: u8,
        expected: Expected,
        decide: impl FnOnce(
            &Declared,
            &tenancy_core::snapshot::TenantSnapshot,
            &mut DecisionContext,
        ) -> Result<Decision, Error>,
    ) {
        let id = id(who);
        let Some(before) = self.database.snapshot(&id) else { return assert_eq!(expected, Expected::Refused) };
        let decided = decide(&self.declared, &before, &mut self.context());
        self.commit(&id, expected, decided);
        let after = self.database.snapshot(&id).expect("there");
        if after.tenant.facts.purged_at.is_none() {
            assert_eq!(Manifest::of(&before), Manifest::of(&after), "no lifecycle change writes the manifest");
        }
    }

    fn hold_all(&mut self, kind: &'static str, place: Option<Option<u8>>) {
        let expected = self.model.hold_all(kind, place);
        let (before, mut context) = (self.database.clone(), self.context());
        let id = OrganizationId::known("acme");
        let (row, holds) = (&before.organizations[&id].0, before.holds_of(&Held::Organization(id.clone())));
        let decided = match place {
            Some(reason) => {
                let reason = reason.map(|n| format!("{PERSONAL} reason {n}"));
                let suspension = Suspension { hold: Some(kind.to_owned()), reason, until: None };
                organization_holds::place(&self.declared, row, &holds, &suspension, &mut context)
            }
            None => organization_holds::release(&self.declared, row, &holds, Some(kind), &mut context),
        };
        let Ok(decided) = decided else { return assert_eq!(expected, Expected::Refused) };
        let Some(changes) = &decided.changes else { return assert_eq!(expected, Expected::Unchanged) };
        assert_eq!(expected, Expected::Changed);
        self.database.commit(changes).expect("committed");
        checks::holds_moved(&before, &self.database, &decided);
    }

    /// The newest job is asked for by the moment that something changed: here, that was now.
    fn settle(&mut self, who: u8) {
        let expected = match self.model.tenants.get_mut(id(who).as_str()) {
            Some(tenant) => tenant.settle(),
            None => return,
        };
        let newest = self.database.jobs.values().rfind(|job| job.tenant_id == id(who)).cloned();
        self.lifecycle(who, expected, |d, snapshot, context| {
            let changed_at = context.now;
            organization_holds::settle(d, snapshot, newest.as_ref(), changed_at, context)
        });
    }

    fn claim(&mut self, who: u8) {
        let Some(job) = self.database.snapshot(&id(who)).and_then(|snapshot| snapshot.open_job) else { return };
        if job.state == JobState::Queued {
            self.database.claim(&job.job_id);
            self.expect(who, |tenant, _| {
                let job = tenant.job.as_mut().expect("an open job");
                (job.running, job.begun, job.waits) = (true, true, false);
                Expected::Changed
            });
        }
    }

    fn put_aside(&mut self, who: u8) {
        let Some(job) = self.database.snapshot(&id(who)).and_then(|snapshot| snapshot.open_job) else { return };
        if job.state == JobState::Running {
            self.database.put_aside(&job.job_id);
            self.expect(who, |tenant, _| {
                let job = tenant.job.as_mut().expect("an open job");
                (job.running, job.waits) = (false, true);
                Expected::Changed
            });
        }
    }

    /// The next step is done: what it achieved is committed with its end, and the end of any other is progress.
    fn step(&mut self, who: u8) {
        let open = self.database.snapshot(&id(who)).and_then(|snapshot| snapshot.open_job);
        let Some(mut job) = open.filter(|job| job.state == JobState::Running) else { return };
        let is_next = |step: &tenancy_core::job::Step| step.state != StepState::Done && step.verb != Verb::Record;
        let Some(next) = job.steps.iter_mut().find(|step| is_next(step)) else { return };
        next.state = StepState::Done;
        let step = next.clone();
        job.progress += 0.125;
        append(&mut job.logs, PERSONAL);
        let Target::Environment(name) = &step.target else { panic!("only the record is the tenant's") };
        let expected = self.expect(who, |tenant, _| tenant.step(name));
        let achieved = Achieved::of(&step);
        let done = (&step, &achieved);
        self.lifecycle(who, expected, |d, snapshot, context| step_done(d, snapshot, &job, done, context));
        if expected == Expected::Unchanged {
            self.database.progress(&job);
        }
        let written = self.database.jobs[&job.job_id].steps.clone();
        assert_eq!(written, job.steps, "the end of a step is written, whatever it achieved");
    }

    fn end(&mut self, who: u8, well: bool) {
        let open = self.database.snapshot(&id(who)).and_then(|snapshot| snapshot.open_job);
        let Some(job) = open.filter(|job| job.state == JobState::Running) else { return };
        let expected = self.expect(who, |tenant, now| {
            assert!(tenant.job.as_ref().is_some_and(|job| job.running));
            if well {
                tenant.complete(now)
            } else {
                tenant.fail()
            }
            Expected::Changed
        });
        let message = format!("{PERSONAL}{}", "no\0".repeat(9000));
        let failure = Failure { code: FailureCode::ProvisionerFailed, message, step: Some(0) };
        self.lifecycle(who, expected, |d, snapshot, context| match well {
            true => complete(d, snapshot, &job, context),
            false => fail(d, snapshot, &job, failure, context),
        });
    }

    fn release_ended_holds(&mut self) {
        let now = self.model.now_hours;
        for who in 0..3 {
            let Some(tenant) = self.model.tenants.get(id(who).as_str()) else { continue };
            let ended = tenant.holds.iter().filter(|(_, hold)| hold.until.is_some_and(|until| until <= now));
            for kind in ended.map(|(kind, _)| *kind).collect::<Vec<_>>() {
                self.commands += 1;
                let expected = self.expect(who, |tenant, _| tenant.activate(Some(kind)));
                self.lifecycle(who, expected, |d, snapshot, context| activate(d, snapshot, Some(kind), context));
            }
        }
    }

    /// Commits what was decided, and checks all that holds of every commit.
    fn commit(&mut self, id: &TenantId, expected: Expected, decided: Result<Decision, Error>) {
        let before = self.database.clone();
        let committed = decided.and_then(|decision| match &decision.changes {
            None => Ok((decision, false)),
            Some(changes) => Ok(self.database.commit(changes).map(|()| (decision, true))?),
        });
        let what = match &committed {
            Err(_) => Expected::Refused,
            Ok((_, false)) => Expected::Unchanged,
            Ok((_, true)) => Expected::Changed,
        };
        assert_eq!(what, expected, "{:?}", committed.as_ref().map(|_| ()));
        match committed {
            Ok((decision, true)) => checks::commit(&before, &self.database, id, &decision),
            _ => assert_eq!(before, self.database, "nothing changes"),
        }
    }

    /// The record and the model say the same.
    fn compare(&self) {
        assert_eq!(self.database.tenants.len(), self.model.tenants.len());
        for (name, model) in &self.model.tenants {
            let snapshot = self.database.snapshot(&TenantId::known(name.as_str())).expect("there");
            let tenant = &snapshot.tenant;
            let job = snapshot.open_job.as_ref().map(|job| job.action.as_str());
            assert_eq!((tenant.facts.state.as_str(), tenant.terms.version), (model.state, model.version), "{name}");
            assert_eq!(job, model.job.as_ref().map(|job| job.action), "{name}");
            assert_eq!(tenant.facts.provisioned_at.is_some(), model.provisioned, "{name}");
            assert_eq!(tenant.facts.purged_at.is_some(), model.purged, "{name}");
            assert_eq!(tenant.facts.purge_after.is_some(), model.purge_at.is_some(), "{name}");
            let holds: Vec<_> = snapshot.holds.iter().map(|hold| hold.kind.as_str()).collect();
            assert_eq!(holds, model.holds.keys().copied().collect::<Vec<_>>(), "{name}");
            let places = snapshot.environments.iter().map(|e| (e.name.as_str(), e.provisioned_at.is_some()));
            assert_eq!(places.collect::<Vec<_>>(), model.places.iter().map(|(n, p)| (*n, *p)).collect::<Vec<_>>());
            checks::record(&self.database, &snapshot);
        }
        checks::usage(&self.database);
    }

    /// Works all jobs to their good end.
    pub fn drain(&mut self) {
        (0..3).for_each(|who| self.run(&Command::Settle(who)));
        for _ in 0..8 {
            for who in 0..3 {
                self.run(&Command::Claim(who));
                self.run(&Command::Complete(who));
            }
        }
    }

    /// With no job open, every tenant is as it is wished, or something is said to be in the way.
    pub fn check_rest(&self) {
        for (name, model) in &self.model.tenants {
            let snapshot = self.database.snapshot(&TenantId::known(name.as_str())).expect("there");
            assert!(snapshot.open_job.is_none(), "{name} comes to rest");
            let waits = waits_for(&self.declared, &snapshot);
            let next = next_action(Situation::of(&self.declared, &snapshot));
            let is_active = model.state == "Active";
            if model.failed.is_none() && model.state != "Archived" {
                assert_eq!(next, None, "{name}");
                assert!(snapshot.environments.iter().all(|e| e.provisioned_at.is_some()), "{name}");
                assert!(snapshot.environments.iter().all(|e| e.state == snapshot.tenant.facts.state), "{name}");
                let out = model.is_held() || model.spec.desired == Some(false);
                assert!(!(out && is_active), "{name}");
                assert!(out || model.spec.desired.is_none() || is_active, "{name}");
            }
            let unfulfilled = model.spec.desired == Some(true) && !is_active && model.state != "Archived";
            assert!(!unfulfilled || waits.is_some(), "{name} says for what it waits");
            assert!(next.is_none() || waits.is_some(), "{name}");
        }
    }
}

fn id(who: u8) -> TenantId {
    TenantId::known(format!("t{who}"))
}

fn seats() -> QuotaKey {
    QuotaKey { unit: "seats".to_owned(), sums: true }
}

fn hour(hours: i64) -> Timestamp {
    Timestamp::from_microsecond(1_700_000_000_000_000 + hours * 3_600_000_000).expect("in range")
}
