//! The data that were read, and random members based on them: most are valid, many conflict.

use crate::harness::{Bench, small, tenant};
use serde_json::{Value, json};
use tenancy_core::Error;
use tenancy_core::action::Action;
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::changes::{Changes, Guard, IdempotencyRecord};
use tenancy_core::job::{Failure, FailureCode, Job, StepState, Verb};
use tenancy_core::json::{Object, sha256_hex};
use tenancy_core::manifest::Manifest;
use tenancy_core::rules::lifecycle::{Suspension, activate, request, suspend};
use tenancy_core::rules::organizations::{self, OrganizationManifest};
use tenancy_core::rules::outcome;
use tenancy_core::rules::step::{Achieved, step_done};
use tenancy_core::rules::{Decision, keys, organization_holds};
use tenancy_core::scope::Scope;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::State;
use tenancy_store::page::{OrganizationFilter, Page};
use tenancy_store::read::OrganizationRecord;
use tenancy_testkit::Chance;

/// Number of tenant ids that members compete for.
const TENANTS: u64 = 8;
/// Number of aliases.
const ALIASES: u64 = 5;

/// Member to commit, and the expected snapshot of its tenant after the commit.
#[derive(Debug, Clone)]
pub struct Member {
    pub changes: Changes,
    pub after: Option<TenantSnapshot>,
}

/// Data that were read.
#[derive(Debug)]
pub struct World {
    tenants: Vec<TenantSnapshot>,
    organizations: Vec<OrganizationRecord>,
    keys: Vec<ApiKey>,
}

impl World {
    pub async fn read(bench: &Bench) -> Self {
        let mut tenants = Vec::new();
        for number in 0..TENANTS {
            tenants.extend(bench.store.snapshot(&tenant(&format!("t-{number}"))).await.unwrap());
        }
        let page = Page::default();
        let mut organizations = Vec::new();
        for row in bench.store.organizations(&Scope::All, &OrganizationFilter::default(), &page).await.unwrap().items {
            organizations.extend(bench.store.organization(&row.organization_id).await.unwrap());
        }
        let keys = bench.store.api_keys(&Scope::All, &page).await.unwrap().items;
        Self { tenants, organizations, keys }
    }

    /// Number of tombstones.
    pub fn purged(&self) -> usize {
        self.tenants.iter().filter(|snapshot| snapshot.tenant.facts.purged_at.is_some()).count()
    }

    /// Creates this many members.
    pub fn members(&self, bench: &Bench, chance: &mut Chance, count: usize) -> Vec<Member> {
        let mut members = Vec::new();
        while members.len() < count {
            let Ok(Some(mut member)) = self.member(bench, chance) else { continue };
            if chance.one_in(4) {
                let now = bench.context().now;
                let record = answer(&format!("answer {}", chance.below(4)), now, chance.bits());
                member.changes.store_answer(record);
            }
            if let Some(caller) = chance.pick(&self.keys).filter(|_| chance.one_in(5)) {
                member.changes.guard(Guard::CallerAt(caller.key_id.clone(), caller.version));
            }
            members.push(member);
        }
        members
    }

    /// Creates one member. `None` or an error if the rule has nothing to do or refuses.
    fn member(&self, bench: &Bench, chance: &mut Chance) -> Result<Option<Member>, Error> {
        if chance.one_in(5) {
            return self.platform(bench, chance);
        }
        let Some(snapshot) = chance.pick(&self.tenants).filter(|_| !chance.clone().one_in(3)) else {
            return Ok(of(registration(bench, chance)));
        };
        let context = &mut bench.context();
        let declared = &bench.declared;
        let kind = ["operator", "billing", "legal"][usize::try_from(chance.below(3)).unwrap()];
        // Few lives come this far: most of those that do are purged.
        let choice = match &snapshot.open_job {
            Some(job) if job.action == Action::Purge => 2,
            None if snapshot.tenant.facts.state == State::Archived && !chance.one_in(4) => 7,
            _ => chance.below(8),
        };
        let decision = match choice {
            0 | 1 => return change(bench, snapshot, chance).map(of),
            2 | 3 => match &snapshot.open_job {
                Some(job) if chance.one_in(4) => {
                    let failure =
                        Failure { code: FailureCode::ProvisionerFailed, message: "odd".to_owned(), step: None };
                    outcome::fail(declared, snapshot, job, failure, context)
                }
                Some(job) if job.steps[0].verb == Verb::Provision && chance.clone().one_in(4) => {
                    let job = stepped(job);
                    step_done(declared, snapshot, &job, (&job.steps[0], &Achieved::of(&job.steps[0])), context)
                }
                Some(job) => outcome::complete(declared, snapshot, job, context),
                None => return Ok(None),
            },
            4 | 5 => {
                let reason = Some(format!("reason {}", chance.below(3)));
                suspend(declared, snapshot, &Suspension { hold: Some(kind.to_owned()), reason, until: None }, context)
            }
            6 => activate(declared, snapshot, Some(kind), context),
            _ => {
                let action = match snapshot.tenant.facts.state {
                    State::Archived if chance.one_in(4) => Action::Undelete,
                    State::Archived => Action::Purge,
                    _ => Action::Delete,
                };
                request(declared, snapshot, action, context)
            }
        };
        decision.map(of)
    }

    /// Creates a member that belongs to no tenant.
    fn platform(&self, bench: &Bench, chance: &mut Chance) -> Result<Option<Member>, Error> {
        let context = &mut bench.context();
        let changes = match chance.below(5) {
            0 => {
                let id = format!("org-{}", chance.below(3));
                organizations::create(&organization(bench, &id, chance), context)?.changes
            }
            1 | 2 => match chance.pick(&self.organizations) {
                Some(known) if chance.one_in(12) => {
                    organizations::close(&known.organization, &known.webhooks, context)?.changes
                }
                Some(known) if chance.one_in(3) => held(bench, known, chance)?,
                Some(known) => {
                    let manifest = organization(bench, known.organization.organization_id.as_str(), chance);
                    organizations::change(&known.organization, &known.webhooks, &known.usage, &manifest, context)?
                        .changes
                }
                None => None,
            },
            3 => {
                let digest = sha256_hex(&[&chance.bits().to_le_bytes()]);
                keys::create(
                    &format!("key {}", chance.below(3)),
                    keys::Rights::unlimited(Role::Viewer),
                    None,
                    digest,
                    context,
                )?
                .changes
            }
            _ => match chance.pick(&self.keys) {
                Some(before) => keys::revoke(before, &[], context)?.changes,
                None => None,
            },
        };
        Ok(changes.map(|changes| Member { changes, after: None }))
    }
}

/// Places or releases a hold on an organization.
fn held(bench: &Bench, known: &OrganizationRecord, chance: &mut Chance) -> Result<Option<Changes>, Error> {
    let (context, kind) = (&mut bench.context(), if chance.one_in(2) { "billing" } else { "abuse" });
    if chance.one_in(2) {
        return Ok(organization_holds::release(
            &bench.declared,
            &known.organization,
            &known.holds,
            Some(kind),
            context,
        )?
        .changes);
    }
    let reason = Some(format!("reason {}", chance.below(3)));
    let suspension = Suspension { hold: Some(kind.to_owned()), reason, until: None };
    let placed = organization_holds::place(&bench.declared, &known.organization, &known.holds, &suspension, context)?;
    Ok(placed.changes)
}

fn of(decision: Decision) -> Option<Member> {
    let snapshot = decision.snapshot;
    decision.changes.map(|changes| Member { changes, after: Some(snapshot) })
}

/// A stored response.
pub fn answer(of: &str, now: tenancy_core::Timestamp, request: u64) -> IdempotencyRecord {
    IdempotencyRecord {
        digest: sha256_hex(&[of.as_bytes()]),
        request_digest: sha256_hex(&[&request.to_le_bytes()]),
        status: 201,
        headers: Object::new(),
        body: r#"{"b": 1, "a": "ü"}"#.to_owned(),
        created_at: now,
        expires_at: now,
        tenant_id: None,
    }
}

fn organization(bench: &Bench, id: &str, chance: &mut Chance) -> OrganizationManifest {
    let caps = json!({"tenants": 3 + chance.below(3), "quotas": {"storageGiB": 100 + chance.below(3) * 20}});
    let document = json!({"organization_id": id, "display_name": format!("name {}", chance.below(4)), "caps": caps});
    OrganizationManifest::parse(&bench.declared, &document).unwrap().0
}

fn aliases(chance: &mut Chance) -> Value {
    let values: Vec<_> = (0..chance.below(3)).map(|_| format!("h{}.example.com", chance.below(ALIASES))).collect();
    if values.is_empty() { json!({}) } else { json!({"host": values}) }
}

fn registration(bench: &Bench, chance: &mut Chance) -> Decision {
    let organization = ["org-0", "org-0", "org-1", "org-2", "nobody"][usize::try_from(chance.below(5)).unwrap()];
    let mut document = small(&format!("t-{}", chance.below(TENANTS)), organization);
    document["quotas"] = json!({"storageGiB": chance.below(3) * 20});
    document["aliases"] = aliases(chance);
    if !chance.one_in(3) {
        document["policies"] = json!({"purgeAfterDays": 0});
    }
    document["environments"] = json!([{"name": "dev", "isolation_level": "shared"}]);
    if chance.one_in(2) {
        document["desired_state"] = json!("Active");
    }
    bench.registration(&distinct(document))
}

/// Removes duplicate aliases, which a manifest must not have.
fn distinct(mut document: Value) -> Value {
    if let Some(hosts) = document["aliases"]["host"].as_array_mut() {
        hosts.sort_by_key(ToString::to_string);
        hosts.dedup();
    }
    document
}

fn change(bench: &Bench, snapshot: &TenantSnapshot, chance: &mut Chance) -> Result<Decision, Error> {
    let mut document = Manifest::of(snapshot).document();
    document["display_name"] = json!(format!("name {}", chance.below(100)));
    if chance.one_in(2) {
        document["quotas"] = json!({"storageGiB": chance.below(4) * 20});
    }
    if chance.one_in(2) {
        document["aliases"] = aliases(chance);
    }
    if chance.one_in(3) {
        document["environments"] = match chance.below(3) {
            0 => json!([]),
            1 => json!([{"name": "dev", "isolation_level": "shared", "quotas": {"storageGiB": 0}}]),
            _ => json!([{"name": "dev", "isolation_level": "shared"}, {"name": "prod", "isolation_level": "strict"}]),
        };
    }
    if chance.one_in(4) {
        let webhook =
            json!({"name": "main", "url": format!("https://h{}.example.com/", chance.below(3)), "events": ["*"]});
        document["webhooks"] = json!([webhook]);
    }
    bench.change(snapshot, &distinct(document), &["remove-environment", "less-retention", "move-isolation"])
}

/// Returns the job with its first step done.
fn stepped(job: &Job) -> Job {
    let mut job = job.clone();
    job.steps[0].state = StepState::Done;
    Job { progress: 0.5, logs: format!("{}done\n", job.logs), ..job }
}
