//! The record as plain maps. It commits by the judge, and writes each kind of write as the stores do: only the columns
//! that the kind names.

use crate::spec::PERSONAL;
use std::collections::{BTreeMap, HashMap};
use tenancy_core::Timestamp;
use tenancy_core::changes::{Changes, Conflict, Write};
use tenancy_core::environment::{Environment, EnvironmentVersion};
use tenancy_core::event::Event;
use tenancy_core::hold::{Held, Hold};
use tenancy_core::ids::{Alias, EnvironmentId, HoldId, JobId, OrganizationId, TenantId, WebhookId};
use tenancy_core::job::{Job, JobState};
use tenancy_core::judge::{CurrentOrganization, CurrentRows, Verdict, judge};
use tenancy_core::organization::{Organization, Usage};
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_core::tenant::{Facts, Tenant, TenantVersion, Terms};
use tenancy_core::webhook::Webhook;

#[derive(Debug, Clone, Default, PartialEq)]
pub struct Database {
    pub organizations: BTreeMap<OrganizationId, (Organization, Usage)>,
    pub tenants: BTreeMap<TenantId, Tenant>,
    pub tenant_versions: BTreeMap<(TenantId, i64), TenantVersion>,
    pub environments: BTreeMap<EnvironmentId, Environment>,
    pub environment_versions: BTreeMap<(EnvironmentId, i64), EnvironmentVersion>,
    pub holds: BTreeMap<HoldId, Hold>,
    pub aliases: BTreeMap<Alias, TenantId>,
    pub webhooks: BTreeMap<WebhookId, Webhook>,
    pub jobs: BTreeMap<JobId, Job>,
    pub log: Vec<Event>,
}

impl Database {
    /// A tenant's snapshot, as a store reads it.
    pub fn snapshot(&self, id: &TenantId) -> Option<TenantSnapshot> {
        let tenant = self.tenants.get(id)?.clone();
        let mut environments: Vec<_> = self.environments.values().filter(|e| &e.tenant_id == id).cloned().collect();
        environments.sort_by(|a, b| a.name.cmp(&b.name));
        let mut webhooks: Vec<_> =
            self.webhooks.values().filter(|w| w.owner.tenant_id() == Some(id)).cloned().collect();
        webhooks.sort_by(|a, b| a.name.cmp(&b.name));
        let mut open = self.jobs.values().filter(|job| &job.tenant_id == id && job.is_open());
        let open_job = open.next().cloned();
        assert!(open.next().is_none(), "one open job at most");
        Some(TenantSnapshot {
            environments,
            placements: Vec::new(),
            webhooks,
            aliases: self.aliases.iter().filter(|(_, owner)| *owner == id).map(|(alias, _)| alias.clone()).collect(),
            holds: self.holds_of(&Held::Tenant(id.clone())),
            organization_holds: self.holds_of(&Held::Organization(tenant.organization_id.clone())),
            open_job,
            tenant,
        })
    }

    pub fn holds_of(&self, held: &Held) -> Vec<Hold> {
        let mut holds: Vec<_> = self.holds.values().filter(|hold| &hold.held == held).cloned().collect();
        holds.sort_by(|a, b| a.kind.cmp(&b.kind));
        holds
    }

    /// What a worker does when it takes a job: upkeep, no commit.
    pub fn claim(&mut self, id: &JobId) {
        let job = self.jobs.get_mut(id).expect("an open job");
        job.state = JobState::Running;
        job.attempt += 1;
        job.lease_epoch += 1;
        job.lease_holder = Some("worker".to_owned());
        job.waiting_for = None;
        job.logs.push_str(PERSONAL);
    }

    /// The job that is worked is queued again, and waits.
    pub fn put_aside(&mut self, id: &JobId) {
        let job = self.jobs.get_mut(id).expect("an open job");
        (job.state, job.lease_holder) = (JobState::Queued, None);
        job.lease_epoch += 1;
        job.waiting_for = Some(format!("{PERSONAL} certificate"));
    }

    /// What a worker writes of a job that the record has nothing else to keep of: upkeep, no commit.
    pub fn progress(&mut self, job: &Job) {
        progress_columns(self.jobs.get_mut(&job.job_id).expect("an open job"), job);
    }

    /// Commits as the stores do.
    pub fn commit(&mut self, changes: &Changes) -> Result<(), Conflict> {
        let found = self.found();
        let mut judgement = judge(&[changes], &found);
        match judgement.verdicts.pop().expect("one verdict") {
            Verdict::In => {}
            Verdict::Out(conflict) => return Err(conflict),
            other => panic!("{other:?} for the only member of a batch"),
        }
        for (id, (_, usage)) in judgement.usages {
            self.organizations.get_mut(&id).expect("an organization").1 = usage;
        }
        // Removed before inserted, as the order of kinds in a batch has it.
        let (deletes, others): (Vec<_>, Vec<_>) = changes.writes.iter().partition(|write| is_delete(write));
        deletes.into_iter().chain(others).for_each(|write| self.write(write));
        self.log.extend(changes.events().iter().cloned());
        changes.writes.iter().for_each(|write| self.erase(write));
        Ok(())
    }

    fn found(&self) -> CurrentRows {
        let organization = |(row, usage): &(Organization, Usage)| CurrentOrganization {
            version: row.version,
            counter: row.counter,
            open: row.closed_at.is_none(),
            caps: row.caps.clone(),
            usage: usage.clone(),
            usage_serial: 0,
        };
        CurrentRows {
            organizations: self.organizations.iter().map(|(id, row)| (id.clone(), organization(row))).collect(),
            tenants: self
                .tenants
                .iter()
                .map(|(id, row)| (id.clone(), (row.terms.version, row.facts.counter)))
                .collect(),
            aliases: self.aliases.keys().cloned().collect(),
            jobs: self.jobs.values().filter(|j| j.is_open()).map(|j| (j.job_id.clone(), j.lease_epoch)).collect(),
            api_keys: HashMap::new(),
            ..CurrentRows::default()
        }
    }

    fn write(&mut self, write: &Write) {
        match write {
            Write::InsertOrganization(row) => {
                insert(&mut self.organizations, row.organization_id.clone(), (row.clone(), Usage::default()));
            }
            Write::UpdateOrganizationFacts(row) => {
                let (now, _) = there(&mut self.organizations, &row.organization_id);
                assert_eq!(now.counter + 1, row.counter, "one more");
                *now = Organization {
                    counter: row.counter,
                    closed_at: row.closed_at,
                    updated_at: row.updated_at,
                    ..now.clone()
                };
            }
            Write::InsertTenant(row) => insert(&mut self.tenants, row.tenant_id.clone(), row.clone()),
            Write::UpdateTenantTerms(id, terms, at) => terms_columns(there(&mut self.tenants, id), terms, *at),
            Write::UpdateTenantFacts(id, facts, at) => facts_columns(there(&mut self.tenants, id), facts, *at),
            Write::InsertTenantVersion(row) => {
                insert(&mut self.tenant_versions, (row.tenant_id.clone(), row.version), row.clone());
            }
            Write::InsertEnvironment(row) => insert(&mut self.environments, row.env_id.clone(), row.clone()),
            Write::UpdateEnvironmentManifest(row) => {
                let now = there(&mut self.environments, &row.env_id);
                assert_eq!(now.version + 1, row.version, "one more");
                *now = Environment { state: now.state, provisioned_at: now.provisioned_at, ..row.clone() };
            }
            Write::UpdateEnvironmentState(row) => {
                let now = there(&mut self.environments, &row.env_id);
                (now.state, now.provisioned_at, now.updated_at) = (row.state, row.provisioned_at, row.updated_at);
            }
            Write::DeleteEnvironment(id) => remove(&mut self.environments, id),
            Write::InsertEnvironmentVersion(row) => {
                insert(&mut self.environment_versions, (row.env_id.clone(), row.version), row.clone());
            }
            Write::InsertHold(row) => insert(&mut self.holds, row.hold_id.clone(), row.clone()),
            Write::UpdateHold(row) => {
                let now = there(&mut self.holds, &row.hold_id);
                let (reason, placed_by) = (row.reason.clone(), row.placed_by.clone());
                (now.reason, now.placed_by, now.until) = (reason, placed_by, row.until);
            }
            Write::DeleteHold(id) => remove(&mut self.holds, id),
            Write::InsertAlias(alias, tenant, _) => insert(&mut self.aliases, alias.clone(), tenant.clone()),
            Write::DeleteAlias(alias) => remove(&mut self.aliases, alias),
            Write::InsertWebhook(row) => insert(&mut self.webhooks, row.webhook_id.clone(), row.clone()),
            Write::UpdateWebhook(row) => webhook_columns(there(&mut self.webhooks, &row.webhook_id), row),
            Write::DeleteWebhook(id) => remove(&mut self.webhooks, id),
            Write::InsertJob(row) => insert(&mut self.jobs, row.job_id.clone(), row.clone()),
            Write::AdvanceJob(row) => progress_columns(there(&mut self.jobs, &row.job_id), row),
            Write::FinishJob(row) => outcome_columns(there(&mut self.jobs, &row.job_id), row),
            Write::CancelJob(row) => cancelled_columns(there(&mut self.jobs, &row.job_id), row),
            Write::EraseTenant(..) | Write::WrapDataKey(..) => {}
            other => panic!("not of this world: {other:?}"),
        }
    }
}

impl Database {
    /// What a purge empties, after everything else of its commit.
    fn erase(&mut self, write: &Write) {
        let Write::EraseTenant(id, terms, at) = write else { return };
        let now = there(&mut self.tenants, id);
        (now.terms, now.updated_at) = (terms.clone(), *at);
        let nothing = || serde_json::json!({});
        self.tenant_versions.values_mut().filter(|v| &v.tenant_id == id).for_each(|v| v.manifest = nothing());
        self.environment_versions.values_mut().filter(|v| &v.tenant_id == id).for_each(|v| v.manifest = nothing());
        for job in self.jobs.values_mut().filter(|job| &job.tenant_id == id) {
            (job.logs, job.steps, job.waiting_for, job.error) = (String::new(), Vec::new(), None, None);
        }
        self.log.iter_mut().filter(|event| event.tenant_id.as_ref() == Some(id)).for_each(|event| event.private = None);
    }
}

/// What the manifest says of a webhook; everything else stays.
fn webhook_columns(now: &mut Webhook, row: &Webhook) {
    let kept = now.clone();
    *now = Webhook {
        webhook_id: kept.webhook_id,
        owner: kept.owner,
        name: kept.name,
        disabled_at: kept.disabled_at,
        disabled_cause: kept.disabled_cause,
        created_at: kept.created_at,
        ..row.clone()
    };
}

fn is_delete(write: &Write) -> bool {
    matches!(
        write,
        Write::DeleteEnvironment(_) | Write::DeleteHold(_) | Write::DeleteAlias(_) | Write::DeleteWebhook(_)
    )
}

fn terms_columns(now: &mut Tenant, terms: &Terms, at: Timestamp) {
    assert_eq!(now.terms.version + 1, terms.version, "one more");
    (now.terms, now.updated_at) = (terms.clone(), at);
}

fn facts_columns(now: &mut Tenant, facts: &Facts, at: Timestamp) {
    assert_eq!(now.facts.counter + 1, facts.counter, "one more");
    (now.facts, now.updated_at) = (facts.clone(), at);
}

fn progress_columns(now: &mut Job, row: &Job) {
    assert_eq!(now.lease_epoch, row.lease_epoch, "the same lease");
    (now.progress, now.steps, now.logs) = (row.progress, row.steps.clone(), row.logs.clone());
    now.updated_at = row.updated_at;
}

fn cancelled_columns(now: &mut Job, row: &Job) {
    let (progress, steps) = (now.progress, now.steps.clone());
    outcome_columns(now, &Job { progress, steps, ..row.clone() });
}

fn outcome_columns(now: &mut Job, row: &Job) {
    assert_eq!(now.lease_epoch, row.lease_epoch, "the same lease");
    *now = Job {
        state: row.state,
        progress: row.progress,
        steps: row.steps.clone(),
        waiting_for: row.waiting_for.clone(),
        due_at: row.due_at,
        error_code: row.error_code.clone(),
        error: row.error.clone(),
        updated_at: row.updated_at,
        finished_at: row.finished_at,
        ..now.clone()
    };
}

fn insert<K: Ord + std::fmt::Debug, V>(rows: &mut BTreeMap<K, V>, key: K, row: V) {
    let message = format!("{key:?} is new");
    assert!(rows.insert(key, row).is_none(), "{message}");
}

fn there<'a, K: Ord + std::fmt::Debug, V>(rows: &'a mut BTreeMap<K, V>, key: &K) -> &'a mut V {
    rows.get_mut(key).unwrap_or_else(|| panic!("{key:?} is there"))
}

fn remove<K: Ord + std::fmt::Debug, V>(rows: &mut BTreeMap<K, V>, key: &K) {
    assert!(rows.remove(key).is_some(), "{key:?} is there");
}
