//! The judge: decides which members of a batch commit. One pure function serves both databases and the in-memory model.

use crate::changes::{Changes, Conflict, Guard, IdempotencyRecord, Write};
use crate::ids::{Alias, AuditId, JobId, KeyId, OrganizationId, PlacementName, TenantId, WebhookId};
use crate::organization::{Caps, Usage};
use std::collections::{BTreeMap, HashMap, HashSet};

/// An organization, read under its lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CurrentOrganization {
    /// Current version.
    pub version: i64,
    /// Current counter.
    pub counter: i64,
    /// Whether it accepts new tenants.
    pub open: bool,
    /// Caps.
    pub caps: Caps,
    /// Usage.
    pub usage: Usage,
    /// Number of the newest usage row.
    pub usage_serial: i64,
}

/// All rows that the guards of a batch name, read under their locks. Keys of callers may instead have the version that
/// the commit asserts. Absent rows do not exist.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct CurrentRows {
    /// Organizations.
    pub organizations: HashMap<OrganizationId, CurrentOrganization>,
    /// Version and counter of tenants.
    pub tenants: HashMap<TenantId, (i64, i64)>,
    /// Aliases that belong to a tenant.
    pub aliases: HashSet<Alias>,
    /// Lease epochs of open jobs.
    pub jobs: HashMap<JobId, i64>,
    /// Versions of API keys.
    pub api_keys: HashMap<KeyId, i64>,
    /// Names of active API keys.
    pub api_key_names: HashSet<String>,
    /// Versions of webhooks of organizations and of the platform.
    pub webhooks: HashMap<WebhookId, i64>,
    /// Full names of webhooks of organizations and of the platform.
    pub webhook_names: HashSet<String>,
    /// Versions of placements.
    pub placements: HashMap<PlacementName, i64>,
    /// Slots that places have.
    pub slots: HashSet<String>,
    /// Stored responses, by digest.
    pub answers: HashMap<String, IdempotencyRecord>,
    /// Receipts that the log contains. They are read only when a batch is retried.
    pub receipts: HashSet<AuditId>,
}

/// Verdict on a member of a batch.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// The member is written.
    In,
    /// A guard of the member failed; the member is not written.
    Out(Conflict),
    /// An earlier member of this batch writes a row that the member depends on: it moves to the next batch.
    Later,
    /// The log contains the member already: an earlier attempt has committed it.
    Done,
}

/// Judgement on a batch.
#[derive(Debug, Clone, PartialEq)]
pub struct Judgement {
    /// One verdict for each member, in order.
    pub verdicts: Vec<Verdict>,
    /// New usage of organizations, with the number of the usage row.
    pub usages: BTreeMap<OrganizationId, (i64, Usage)>,
}

/// Key of a row that guards and writes name.
#[derive(PartialEq, Eq, Hash)]
enum Row<'a> {
    Answer(&'a str),
    Organization(&'a OrganizationId),
    Tenant(&'a TenantId),
    Alias(&'a Alias),
    Job(&'a JobId),
    ApiKey(&'a KeyId),
    ApiKeyName(&'a str),
    Webhook(&'a WebhookId),
    WebhookName(&'a str),
    Placement(&'a PlacementName),
    Slot(&'a str),
}

/// Judges the members in order. The accepted members affect disjoint rows, except for the usage of organizations, which
/// is summed up member by member. To write them all at once therefore has the same effect as to write them one by one.
pub fn judge(members: &[&Changes], found: &CurrentRows) -> Judgement {
    let mut touched = HashSet::new();
    let mut usages = BTreeMap::<OrganizationId, (i64, Usage)>::new();
    let verdicts = members
        .iter()
        .map(|member| {
            if found.receipts.contains(member.receipt()) {
                return Verdict::Done;
            }
            if member.guards.iter().filter_map(depends_on).any(|row| touched.contains(&row)) {
                return Verdict::Later;
            }
            let conflicts = member.guards.iter().filter_map(|guard| fails(guard, found, &usages)).collect();
            if let Some(conflict) = Conflict::of(conflicts) {
                return Verdict::Out(conflict);
            }
            for (id, change) in usage_changes(member) {
                let now = usages.entry(id.clone()).or_insert_with(|| {
                    let before = &found.organizations[id];
                    (before.usage_serial + 1, before.usage.clone())
                });
                now.1.add(change);
            }
            touched.extend(member.guards.iter().filter_map(touches));
            touched.extend(member.writes.iter().filter_map(written));
            Verdict::In
        })
        .collect();
    Judgement { verdicts, usages }
}

fn usage_changes(member: &Changes) -> impl Iterator<Item = (&OrganizationId, &Usage)> {
    member.guards.iter().filter_map(|guard| match guard {
        Guard::OrganizationRoom(id, change) if !change.is_nothing() => Some((id, change)),
        _ => None,
    })
}

/// Returns the row that a guard reads. No earlier member may have written it.
fn depends_on(guard: &Guard) -> Option<Row<'_>> {
    Some(match guard {
        Guard::IdempotencyKeyUnused(digest) => Row::Answer(digest),
        Guard::OrganizationUnused(id) | Guard::OrganizationAt(id, ..) | Guard::OrganizationRoom(id, _) => {
            Row::Organization(id)
        }
        Guard::TenantUnused(id) | Guard::TenantAt(id, ..) => Row::Tenant(id),
        Guard::AliasUnused(alias) => Row::Alias(alias),
        Guard::Lease(id, _) => Row::Job(id),
        Guard::ApiKeyUnused(name) => Row::ApiKeyName(name),
        Guard::ApiKeyAt(id, _) | Guard::CallerAt(id, _) => Row::ApiKey(id),
        Guard::WebhookUnused(name) => Row::WebhookName(name),
        Guard::WebhookAt(id, _) => Row::Webhook(id),
        Guard::PlacementUnused(name) | Guard::PlacementAt(name, _) | Guard::PlacementThere(name) => {
            Row::Placement(name)
        }
        Guard::SlotUnused(slot) => Row::Slot(slot),
    })
}

/// Returns the row that a member with this guard changes or reserves: the row of [`depends_on`], except for an
/// organization of which only the usage changes, for the key of the caller, and for a placement that gets a place.
fn touches(guard: &Guard) -> Option<Row<'_>> {
    match guard {
        Guard::OrganizationRoom(..) | Guard::CallerAt(..) | Guard::PlacementThere(_) => None,
        guard => depends_on(guard),
    }
}

/// Returns the row that a write changes and that guards can name, if the member does not necessarily have a guard for
/// it.
fn written(write: &Write) -> Option<Row<'_>> {
    match write {
        Write::DeleteAlias(alias) => Some(Row::Alias(alias)),
        Write::UpdateApiKey(key) => Some(Row::ApiKeyName(&key.name)),
        Write::AdvanceJob(job) | Write::FinishJob(job) | Write::CancelJob(job) => Some(Row::Job(&job.job_id)),
        Write::EraseTenant(id, ..) => Some(Row::Tenant(id)),
        _ => None,
    }
}

/// Returns the conflict of a guard that fails.
fn fails(guard: &Guard, found: &CurrentRows, usages: &BTreeMap<OrganizationId, (i64, Usage)>) -> Option<Conflict> {
    match guard {
        Guard::IdempotencyKeyUnused(digest) => {
            found.answers.get(digest).map(|record| Conflict::IdempotencyKeyUsed(Box::new(record.clone())))
        }
        Guard::OrganizationUnused(id) => {
            found.organizations.contains_key(id).then(|| Conflict::OrganizationExists(id.clone()))
        }
        Guard::OrganizationAt(id, version, counter) => match found.organizations.get(id) {
            None => Some(Conflict::OrganizationMissing(id.clone())),
            Some(now) if (now.version, now.counter) == (*version, *counter) => None,
            Some(now) => {
                Some(Conflict::OrganizationMoved { id: id.clone(), version: now.version, counter: now.counter })
            }
        },
        Guard::OrganizationRoom(id, change) => room(id, change, found, usages),
        Guard::TenantUnused(id) => found.tenants.contains_key(id).then(|| Conflict::TenantExists(id.clone())),
        Guard::TenantAt(id, version, counter) => match found.tenants.get(id) {
            None => Some(Conflict::TenantMissing(id.clone())),
            Some(now) if now == &(*version, *counter) => None,
            Some(now) => Some(Conflict::TenantMoved { id: id.clone(), version: now.0, counter: now.1 }),
        },
        Guard::AliasUnused(alias) => found.aliases.contains(alias).then(|| Conflict::AliasTaken(alias.clone())),
        Guard::Lease(id, epoch) => (found.jobs.get(id) != Some(epoch)).then(|| Conflict::LeaseLost(id.clone())),
        Guard::ApiKeyUnused(name) => found.api_key_names.contains(name).then(|| Conflict::ApiKeyExists(name.clone())),
        Guard::WebhookUnused(name) => found.webhook_names.contains(name).then(|| {
            // The name without the organization that the full name begins with.
            Conflict::WebhookExists(name.rsplit('/').next().unwrap_or_default().to_owned())
        }),
        Guard::WebhookAt(id, version) => {
            (found.webhooks.get(id) != Some(version)).then(|| Conflict::WebhookMoved(id.clone()))
        }
        Guard::PlacementUnused(name) => {
            found.placements.contains_key(name).then(|| Conflict::PlacementExists(name.clone()))
        }
        Guard::PlacementAt(name, version) => {
            (found.placements.get(name) != Some(version)).then(|| Conflict::PlacementMoved(name.clone()))
        }
        Guard::PlacementThere(name) => {
            (!found.placements.contains_key(name)).then(|| Conflict::PlacementMissing(name.clone()))
        }
        Guard::SlotUnused(slot) => found.slots.contains(slot).then(|| Conflict::SlotTaken(slot.clone())),
        Guard::ApiKeyAt(id, version) | Guard::CallerAt(id, version) => {
            (found.api_keys.get(id) != Some(version)).then(|| Conflict::ApiKeyMoved(id.clone()))
        }
    }
}

fn room(
    id: &OrganizationId,
    change: &Usage,
    found: &CurrentRows,
    usages: &BTreeMap<OrganizationId, (i64, Usage)>,
) -> Option<Conflict> {
    let Some(organization) = found.organizations.get(id) else {
        return Some(Conflict::OrganizationMissing(id.clone()));
    };
    if !organization.open && change.tenants > 0 {
        return Some(Conflict::OrganizationClosed(id.clone()));
    }
    let usage = usages.get(id).map_or(&organization.usage, |(_, usage)| usage);
    let exceeded = organization.caps.exceeded(usage, change);
    (!exceeded.is_empty()).then(|| Conflict::CapsExceeded { id: id.clone(), exceeded })
}
