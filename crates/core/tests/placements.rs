//! Random lives of a tenant whose environments have places: what exists is what the record says, at every instant.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use proptest::prelude::*;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use tenancy_core::Timestamp;
use tenancy_core::action::Action;
use tenancy_core::actor::Actor;
use tenancy_core::decision_context::DecisionContext;
use tenancy_core::declared::Declared;
use tenancy_core::ids::{CorrelationId, EnvironmentId};
use tenancy_core::job::{Failure, FailureCode, Job, JobState, StepState, Target, Verb};
use tenancy_core::manifest::Manifest;
use tenancy_core::placement::{Access, Chosen, Fence, Intent, Place, PlacementKind, settings};
use tenancy_core::rules::lifecycle::{Suspension, activate, request, suspend};
use tenancy_core::rules::outcome::{cancel, complete, fail};
use tenancy_core::rules::step::{Achieved, announced, ready, step_done};
use tenancy_core::rules::{Decision, change, register};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::State;

#[derive(Debug, Clone)]
enum Command {
    /// The manifest has these environments, with this quota.
    Change(Vec<&'static str>, i64),
    Suspend,
    Activate,
    Request(Action),
    Cancel,
    /// A worker claims the open job, does up to this many steps, and dies: at the last one before its result is committed.
    Work(usize),
    /// A worker does that, and the last step fails after it has done something.
    Fail(usize),
    /// A worker does all jobs to their end.
    Drain,
}

fn command() -> impl Strategy<Value = Command> {
    let names = prop::sample::subsequence(vec!["dev", "stage", "prod"], 0..=3);
    let action = prop::sample::select(vec![Action::Delete, Action::Undelete, Action::Purge]);
    prop_oneof![
        6 => (names, 1..4i64).prop_map(|(names, quota)| Command::Change(names, quota)),
        3 => Just(Command::Suspend),
        3 => Just(Command::Activate),
        2 => action.prop_map(Command::Request),
        1 => Just(Command::Cancel),
        6 => (1..4usize).prop_map(Command::Work),
        2 => (1..4usize).prop_map(Command::Fail),
        4 => Just(Command::Drain),
    ]
}

/// A place as a provisioner has made it.
#[derive(Debug, Clone, PartialEq)]
struct Made {
    fingerprint: String,
    access: Access,
    settings: String,
}

struct World {
    declared: Declared,
    snapshot: TenantSnapshot,
    places: BTreeMap<EnvironmentId, Made>,
    /// The highest fence that each place has seen.
    seen: BTreeMap<EnvironmentId, Fence>,
    commands: u64,
    /// A job that would have corrected something was cancelled or has failed.
    is_spoiled: bool,
}

fn document(names: &[&str], quota: i64) -> Value {
    let entry = |name: &&str| json!({"name": name, "quotas": {"storageGiB": quota}});
    let environments: Vec<_> = names.iter().map(entry).collect();
    json!({"tenant_id": "acme-eu", "organization_id": "acme", "region": "eu-west-1", "desired_state": "Active",
           "policies": {"purgeAfterDays": 0}, "environments": environments})
}

impl World {
    fn new() -> Self {
        let declared = Declared::default();
        let (manifest, _) = Manifest::parse(&declared, &document(&["dev", "prod"], 1)).unwrap();
        let made = register::register(&declared, &manifest, Vec::new(), &mut context(0)).unwrap();
        Self {
            declared,
            snapshot: made.snapshot,
            places: BTreeMap::new(),
            seen: BTreeMap::new(),
            commands: 0,
            is_spoiled: false,
        }
    }

    fn decide(
        &mut self,
        rule: impl FnOnce(&Declared, &TenantSnapshot, &mut DecisionContext) -> Result<Decision, tenancy_core::Error>,
    ) -> bool {
        self.commands += 1;
        let Ok(decision) = rule(&self.declared, &self.snapshot, &mut context(self.commands)) else { return false };
        let events = decision.changes.iter().flat_map(|changes| changes.events());
        events.for_each(|event| assert!(event.event_type.accepts(&event.payload), "{event:?}"));
        self.snapshot = decision.snapshot;
        true
    }

    fn run(&mut self, command: &Command) {
        match command {
            Command::Change(names, quota) => {
                let (manifest, _) = Manifest::parse(&self.declared, &document(names, *quota)).unwrap();
                let allow = [String::from("remove-environment")];
                self.decide(|d, s, context| change::change(d, s, &manifest, Vec::new(), &allow, context));
            }
            Command::Suspend => {
                let said = Suspension { hold: None, reason: None, until: None };
                self.decide(|d, s, context| suspend(d, s, &said, context));
            }
            Command::Activate => {
                self.decide(|d, s, context| activate(d, s, None, context));
            }
            Command::Request(action) => {
                self.decide(|d, s, context| request(d, s, *action, context));
            }
            Command::Cancel => {
                self.spoil();
                self.decide(|d, s, context| cancel(d, s, None, context));
            }
            Command::Work(steps) => {
                self.work(*steps);
            }
            Command::Fail(steps) => {
                self.work(*steps);
                if let Some(job) = self.snapshot.open_job.clone().filter(|job| job.state == JobState::Running) {
                    let (code, message) = (FailureCode::ProvisionerFailed, "no room".to_owned());
                    let failure = Failure { code, message, step: None };
                    self.spoil();
                    self.decide(|d, s, context| fail(d, s, &job, failure, context));
                }
            }
            Command::Drain => self.drain(),
        }
        self.check();
    }

    fn spoil(&mut self) {
        self.is_spoiled |= self.snapshot.open_job.as_ref().is_some_and(|job| job.action == Action::Update);
    }

    fn drain(&mut self) {
        for _ in 0..20 {
            if !self.work(usize::MAX) {
                break;
            }
        }
    }

    /// Returns whether a job was open.
    fn work(&mut self, steps: usize) -> bool {
        let Some(open) = self.snapshot.open_job.as_mut() else { return false };
        (open.state, open.attempt, open.lease_epoch) = (JobState::Running, open.attempt + 1, open.lease_epoch + 1);
        let mut job = open.clone();
        let mut left = steps;
        for index in 0..job.steps.len() {
            if job.steps[index].state == StepState::Done || job.steps[index].verb == Verb::Record {
                continue;
            }
            ready(&self.declared, &self.snapshot, &job).expect("no hold keeps data here");
            let achieved = self.effect(&job, index);
            self.check();
            left -= 1;
            if left == 0 {
                return true;
            }
            job.steps[index].state = StepState::Done;
            let step = job.steps[index].clone();
            let kept = job.clone();
            self.decide(|d, s, context| step_done(d, s, &kept, (&step, &achieved), context));
            // If there is nothing to commit, the end of the step is written as progress.
            self.snapshot.open_job.as_mut().expect("open").steps = job.steps.clone();
        }
        self.decide(|d, s, context| complete(d, s, &job, context))
    }

    /// Does what a provisioner does at a step.
    fn effect(&mut self, job: &Job, index: usize) -> Achieved {
        let step = &job.steps[index];
        let (env_id, environment) = match &step.target {
            Target::Removed(env_id) => (env_id.clone(), None),
            _ => match step.environment(&self.snapshot.environments) {
                Some(environment) => (environment.env_id.clone(), Some(environment.clone())),
                None => return Achieved::of(step),
            },
        };
        if step.verb == Verb::Provision && self.snapshot.placement(&env_id).is_none() {
            let place = Place {
                kind: PlacementKind::Sqlite,
                location: env_id.as_str().to_owned(),
                fingerprint: format!("made-in-{}", self.commands),
            };
            let chosen = Chosen { placement: None, slot: None, place };
            self.announce(job, &env_id, &Intent::Make(chosen));
        }
        if step.verb == Verb::Destroy && self.snapshot.placement(&env_id).is_some() {
            self.announce(job, &env_id, &Intent::Destroy);
        }
        let fence = Fence { log_epoch: 1, counter: self.snapshot.tenant.facts.counter, lease_epoch: job.lease_epoch };
        let seen = self.seen.insert(env_id.clone(), fence);
        assert!(seen.is_none_or(|seen| seen <= fence), "an earlier worker would be let in: {seen:?} {fence:?}");
        let Some(placement) = self.snapshot.placement(&env_id).cloned() else {
            // It is not provisioned yet: there is nothing to close or to destroy.
            assert!(!self.places.contains_key(&env_id), "chosen before it is made");
            return Achieved::of(step);
        };
        let told = environment.map(|environment| settings(&environment, &self.snapshot.tenant.terms));
        let access = if self.snapshot.tenant.facts.state == State::Active { Access::Full } else { Access::Blocked };
        match (step.verb, told) {
            (Verb::Provision, Some(settings)) => {
                let made = Made { fingerprint: placement.fingerprint, access, settings: settings.clone() };
                self.places.insert(env_id, made);
                Achieved::Provisioned(Some(settings))
            }
            (Verb::Update, Some(settings)) => {
                let made = self.places.get_mut(&env_id).expect("made");
                (made.settings, made.access) = (settings.clone(), access);
                Achieved::Updated(settings)
            }
            (Verb::Open, _) => self.set(&env_id, Access::Full, step),
            (Verb::Close | Verb::Detach, _) => self.set(&env_id, Access::Blocked, step),
            (Verb::Destroy, _) => {
                self.places.remove(&env_id);
                Achieved::of(step)
            }
            _ => Achieved::of(step),
        }
    }

    fn announce(&mut self, job: &Job, env_id: &EnvironmentId, intent: &Intent) {
        assert!(self.decide(|d, s, context| announced(d, s, job, (env_id, intent), context)));
        assert!(self.snapshot.is_announced(env_id, intent));
    }

    fn set(&mut self, env_id: &EnvironmentId, access: Access, step: &tenancy_core::job::Step) -> Achieved {
        if let Some(made) = self.places.get_mut(env_id) {
            made.access = access;
        }
        Achieved::of(step)
    }

    /// At every instant: nothing exists that the record does not know.
    fn check(&self) {
        for (env_id, made) in &self.places {
            let placement = self.snapshot.placement(env_id).unwrap_or_else(|| panic!("{env_id} is an orphan"));
            assert_eq!(placement.fingerprint, made.fingerprint);
        }
    }

    /// When no job is open: what exists is as the record says.
    fn settled(&self) {
        let facts = &self.snapshot.tenant.facts;
        if facts.purged_at.is_some() {
            assert!(self.places.is_empty() && self.snapshot.placements.is_empty(), "{:?}", self.places);
            return;
        }
        let is_destroying = self.snapshot.placements.iter().any(|placement| placement.destroying_at.is_some());
        assert!(!is_destroying || facts.state == State::Archived, "a tenant came back without its data");
        for environment in &self.snapshot.environments {
            let Some(made) = self.places.get(&environment.env_id) else {
                let placement = self.snapshot.placement(&environment.env_id);
                let is_destroyed = placement.is_some_and(|placement| placement.destroying_at.is_some());
                assert!(environment.provisioned_at.is_none() || is_destroyed, "{} has no place", environment.name);
                continue;
            };
            // A suspension that was cancelled has left it in doubt: the next job makes it certain.
            let in_doubt = self.snapshot.placement(&environment.env_id).is_none_or(|place| place.settings.is_none());
            if environment.provisioned_at.is_none() || in_doubt && (facts.state == State::Active || self.is_spoiled) {
                continue;
            }
            let access = if facts.state == State::Active { Access::Full } else { Access::Blocked };
            assert_eq!(made.access, access, "{} in {}", environment.name, facts.state);
        }
        for placement in self.snapshot.placements.iter().filter(|placement| placement.removed_at.is_some()) {
            assert!(!self.snapshot.environments.iter().any(|one| one.env_id == placement.env_id));
            let access = self.places.get(&placement.env_id).map(|made| made.access);
            assert!(placement.closed_at.is_none() || access != Some(Access::Full), "{placement:?}");
        }
    }

    /// When nothing failed and all is done: every place has what the manifest says.
    fn complete(&self) {
        self.settled();
        if self.snapshot.tenant.facts.state == State::Archived {
            return;
        }
        for environment in &self.snapshot.environments {
            let told = settings(environment, &self.snapshot.tenant.terms);
            let made = self.places.get(&environment.env_id).map(|made| &made.settings);
            assert_eq!(made, Some(&told), "{}", environment.name);
        }
        assert!(self.snapshot.removed_placements().all(|placement| !placement.is_left_open()));
    }
}

fn context(commands: u64) -> DecisionContext {
    let now = Timestamp::from_second(1_700_000_000 + i64::try_from(commands).unwrap()).unwrap();
    let mut random = [0; 32];
    random[..8].copy_from_slice(&commands.to_le_bytes());
    DecisionContext::new(now, random, Actor::system("test"), CorrelationId::known("c"))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn must_leave_no_orphan_and_give_every_environment_what_its_state_says(
        commands in prop::collection::vec(command(), 1..25),
    ) {
        let mut world = World::new();
        for command in &commands {
            world.run(command);
        }
        world.drain();
        world.check();
        world.settled();
        // A cancelled job is not repeated by itself: whatever changes next continues.
        if world.snapshot.tenant.facts.state != State::Archived {
            world.run(&Command::Change(vec!["dev"], 9));
            world.drain();
            world.complete();
        }
    }
}
