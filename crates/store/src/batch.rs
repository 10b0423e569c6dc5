//! A batch: changes that commit together. What both databases and the model do alike with it is here.

use crate::queue::Waiting;
use crate::rows::{Record, Value, size};
use crate::tables::audit::AuditRow;
use crate::tables::audit_private::PrivateRow;
use crate::tables::organization_usage::UsageRow;
use crate::write_kind::{WRITES, WriteKind, rows};
use std::collections::{BTreeMap, BTreeSet};
use tenancy_core::Timestamp;
use tenancy_core::changes::{Changes, Guard};
use tenancy_core::judge::{CurrentRows, Judgement, Verdict, judge};

/// Most members of a batch.
pub const MAX_MEMBERS: usize = 256;
/// Largest batch, in bytes of its rows, unless one member alone is larger.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Largest member, in bytes of its rows.
pub const MAX_MEMBER_BYTES: usize = 8 * 1024 * 1024;

/// A member with its rows made: that is done where it is asked for, not on the one way that all batches take.
#[derive(Debug)]
pub struct Member {
    /// What a rule decided.
    pub changes: Changes,
    /// Its rows, with their kinds.
    pub rows: Vec<(WriteKind, Vec<Value>)>,
    /// Its events as rows of the log, each with whether it is a tenant's.
    pub events: Vec<(bool, Vec<Value>)>,
    /// How large its rows are.
    pub bytes: usize,
}

impl Member {
    /// Makes the rows.
    pub fn new(changes: Changes) -> Self {
        let mut rows = rows(&changes);
        let private = changes.events().iter().filter_map(PrivateRow::of);
        rows.extend(private.map(|private| (WriteKind::InsertPrivate, private.values())));
        rows.extend(changes.answer.iter().map(|answer| (WriteKind::InsertAnswer, answer.values())));
        let events: Vec<_> =
            changes.events().iter().map(|event| (event.tenant_id.is_some(), event_row(event))).collect();
        let mut member = Self { changes, rows, events, bytes: 0 };
        member.measure();
        member
    }

    /// Sets the size. Call it after the rows have changed.
    pub fn measure(&mut self) {
        let rows = self.rows.iter().map(|(_, row)| size(row));
        self.bytes = rows.chain(self.events.iter().map(|(_, row)| size(row))).sum();
    }
}

/// The row of the log; `platform_audit` has no column for a tenant.
fn event_row(event: &tenancy_core::event::Event) -> Vec<Value> {
    let mut row = AuditRow::of(event, 0).values();
    if event.tenant_id.is_none() {
        row.remove(1);
    }
    row
}

/// The keys that the guards of a batch name, each kind sorted.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct ReadSet<'a> {
    /// Organizations.
    pub organizations: BTreeSet<&'a str>,
    /// Tenants.
    pub tenants: BTreeSet<&'a str>,
    /// Aliases.
    pub aliases: BTreeSet<&'a str>,
    /// Jobs.
    pub jobs: BTreeSet<&'a str>,
    /// API keys.
    pub api_keys: BTreeSet<&'a str>,
    /// API keys in whose name changes are made.
    pub callers: BTreeSet<&'a str>,
    /// The version that each of them is said to have, if all members agree on it.
    pub caller_versions: BTreeMap<&'a str, i64>,
    /// Two say otherwise of one.
    pub callers_differ: bool,
    /// Names of API keys.
    pub api_key_names: BTreeSet<&'a str>,
    /// Webhooks of organizations and of the platform.
    pub webhooks: BTreeSet<&'a str>,
    /// Their full names.
    pub webhook_names: BTreeSet<&'a str>,
    /// Placements that are changed.
    pub placements: BTreeSet<&'a str>,
    /// Placements that are created, or that get a place.
    pub placement_names: BTreeSet<&'a str>,
    /// Slots of places.
    pub slots: BTreeSet<&'a str>,
    /// Digests of stored answers.
    pub answers: BTreeSet<&'a str>,
    /// Receipts.
    pub receipts: BTreeSet<&'a str>,
}

impl<'a> ReadSet<'a> {
    /// Whether each caller's key may be taken to be at the version that is said of it, as long as that is asserted in the end:
    /// not in a batch that runs again, since that may be why.
    pub fn callers_hold(&self) -> bool {
        self.receipts.is_empty() && !self.callers_differ
    }

    /// What these members need; their receipts too, when an earlier run of them may have come through.
    pub fn of(members: &'a [Waiting], again: bool) -> Self {
        let mut needs = Self::of_guards(members.iter().flat_map(|waiting| &waiting.member.changes.guards));
        if again {
            needs.receipts.extend(members.iter().map(|waiting| waiting.member.changes.receipt().as_str()));
        }
        needs
    }

    /// What these guards need.
    pub fn of_guards(guards: impl IntoIterator<Item = &'a Guard>) -> Self {
        let mut needs = Self::default();
        guards.into_iter().for_each(|guard| needs.add(guard));
        needs
    }

    fn add(&mut self, guard: &'a Guard) {
        match guard {
            Guard::IdempotencyKeyUnused(digest) => self.answers.insert(digest),
            Guard::OrganizationUnused(id) | Guard::OrganizationAt(id, ..) | Guard::OrganizationRoom(id, _) => {
                self.organizations.insert(id.as_str())
            }
            Guard::TenantUnused(id) | Guard::TenantAt(id, ..) => self.tenants.insert(id.as_str()),
            Guard::AliasUnused(alias) => self.aliases.insert(alias.as_str()),
            Guard::Lease(id, _) => self.jobs.insert(id.as_str()),
            Guard::ApiKeyUnused(name) => self.api_key_names.insert(name),
            Guard::ApiKeyAt(id, _) => self.api_keys.insert(id.as_str()),
            Guard::WebhookUnused(name) => self.webhook_names.insert(name),
            Guard::WebhookAt(id, _) => self.webhooks.insert(id.as_str()),
            Guard::PlacementAt(name, _) => self.placements.insert(name.as_str()),
            Guard::PlacementUnused(name) | Guard::PlacementThere(name) => self.placement_names.insert(name.as_str()),
            Guard::SlotUnused(slot) => self.slots.insert(slot),
            Guard::CallerAt(id, version) => {
                let said = *self.caller_versions.entry(id.as_str()).or_insert(*version);
                self.callers_differ |= said != *version;
                self.callers.insert(id.as_str())
            }
        };
    }
}

/// What a judged batch writes.
#[derive(Debug)]
pub struct Flush<'a> {
    /// For each kind of [`WRITES`], its rows in order of their keys.
    pub rows: Vec<Vec<&'a [Value]>>,
    /// For `tenant_audit`.
    pub tenant_events: Appended<'a>,
    /// For `platform_audit`.
    pub platform_events: Appended<'a>,
    /// The version that each key is at in whose name something is written, but for those that are written themselves.
    pub callers: BTreeMap<&'a str, i64>,
    /// How many events there are.
    pub events: i64,
}

/// Rows for a table of the log.
#[derive(Debug, Default)]
pub struct Appended<'a> {
    /// The rows.
    pub rows: Vec<&'a [Value]>,
    /// The place of each within the batch, from 1.
    pub places: Vec<i64>,
}

impl<'a> Appended<'a> {
    /// Each row with its place.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &'a [Value])> {
        self.places.iter().copied().zip(self.rows.iter().copied())
    }
}

/// What the judge says of a batch, over what was found.
pub fn judged(members: &[Waiting], found: &CurrentRows) -> Judgement {
    let changes: Vec<_> = members.iter().map(|waiting| &waiting.member.changes).collect();
    judge(&changes, found)
}

/// New rows of `organization_usage`.
pub fn usage_rows(judgement: &Judgement) -> Vec<Vec<Value>> {
    let rows = judgement.usages.iter().map(|(id, (serial, usage))| UsageRow {
        organization_id: id.clone(),
        serial: *serial,
        tenants: usage.tenants,
        quotas: usage.quotas.clone(),
    });
    rows.map(|row| row.values()).collect()
}

impl<'a> Flush<'a> {
    /// The rows of those members that are in, with `usages` from [`usage_rows`].
    pub fn of(members: &'a [Waiting], judgement: &Judgement, usages: &'a [Vec<Value>]) -> Self {
        let mut flush = Self {
            rows: vec![Vec::new(); WRITES.len()],
            tenant_events: Appended::default(),
            platform_events: Appended::default(),
            callers: BTreeMap::new(),
            events: 0,
        };
        let mut keys_at = BTreeSet::new();
        flush.rows[WriteKind::AppendUsage.index()].extend(usages.iter().map(Vec::as_slice));
        for (waiting, verdict) in members.iter().zip(&judgement.verdicts) {
            if *verdict != Verdict::In {
                continue;
            }
            for guard in &waiting.member.changes.guards {
                if let Guard::CallerAt(id, version) = guard {
                    flush.callers.insert(id.as_str(), *version);
                }
                if let Guard::ApiKeyAt(id, _) = guard {
                    keys_at.insert(id.as_str());
                }
            }
            for (kind, row) in &waiting.member.rows {
                flush.rows[kind.index()].push(row);
            }
            for (tenants, row) in &waiting.member.events {
                flush.events += 1;
                let log = if *tenants { &mut flush.tenant_events } else { &mut flush.platform_events };
                log.rows.push(row);
                log.places.push(flush.events);
            }
        }
        flush.callers.retain(|id, _| !keys_at.contains(id));
        for rows in &mut flush.rows {
            rows.sort_by(|a, b| key_text(a).cmp(&key_text(b)));
        }
        flush
    }

    /// Whether no member is in.
    pub fn is_empty(&self) -> bool {
        self.events == 0
    }
}

/// The time of a batch: that of its newest decision.
pub fn committed_at(members: &[Waiting]) -> Timestamp {
    let times = members.iter().map(|waiting| waiting.member.changes.events()[0].occurred_at);
    times.max().unwrap_or(Timestamp::UNIX_EPOCH)
}

/// A row of the log with its position, which is its last column.
pub fn numbered(row: &[Value], position: i64) -> Vec<Value> {
    let mut row = row.to_vec();
    if let Some(last) = row.last_mut() {
        *last = Value::Int(position);
    }
    row
}

/// Every table's key begins with text; rows in order of it meet the locks of other processes in one order.
pub fn key_text(row: &[Value]) -> Option<&str> {
    match row.first()? {
        Value::Text(text) => Some(text),
        _ => None,
    }
}
