//! Organizations as this process has last read or written them, and what a batch may be presumed to find.

use crate::queue::Waiting;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tenancy_core::changes::{Guard, Write};
use tenancy_core::ids::OrganizationId;
use tenancy_core::judge::{CurrentOrganization, CurrentRows, Judgement, Verdict};

/// Maximum number of organizations in the cache; beyond it the cache is emptied.
const MAX_CACHED: usize = 10_000;
/// How many batches are read first after a precondition of one did not hold: another process writes the same rows, or requests
/// are sent twice, so preconditions of the next batches would not hold either.
const READ_FIRST: u32 = 64;

/// Organizations as they were last read under their locks, or written by this process. No request is refused because of what
/// is cached: the transaction that depends on it asserts it. It is valid for one connection only: the database behind a new
/// connection may have been restored from a backup.
#[derive(Default)]
pub struct OrganizationCache(Mutex<Cached>);

#[derive(Default)]
struct Cached {
    organizations: HashMap<OrganizationId, CurrentOrganization>,
    to_be_read: u32,
}

impl OrganizationCache {
    fn cached(&self) -> MutexGuard<'_, Cached> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For each organization the lowest serial that its newest usage row can have. The newest row is never removed and serials
    /// only rise, so older rows need not be read: without a lower bound the server reads a whole page of an organization's
    /// rows to find the last one.
    pub fn least<'a>(&self, organizations: impl Iterator<Item = &'a str>) -> Vec<i64> {
        let cached = self.cached();
        organizations.map(|id| cached.organizations.get(id).map_or(0, |known| known.usage_serial)).collect()
    }

    /// Stores organizations that were read under their locks. False if the usage of one is older than the cached one: rows were
    /// restored while the connection was open. Then the cache is emptied, and what was read must not be used.
    pub fn was_read(&self, found: &CurrentRows) -> bool {
        let known = &mut self.cached().organizations;
        let older = |(id, organization): (&OrganizationId, &CurrentOrganization)| {
            known.get(id).is_some_and(|before| organization.usage_serial < before.usage_serial)
        };
        if found.organizations.iter().any(older) {
            known.clear();
            return false;
        }
        if known.len() + found.organizations.len() > MAX_CACHED {
            known.clear();
        }
        known.extend(found.organizations.iter().map(|(id, organization)| (id.clone(), organization.clone())));
        true
    }

    /// Stores organizations as a batch that is being sent leaves them. If it fails, [`Self::forget`] must be called.
    pub fn was_sent(&self, members: &[Waiting], judgement: &Judgement) {
        let known = &mut self.cached().organizations;
        for (id, (serial, usage)) in &judgement.usages {
            if let Some(organization) = known.get_mut(id) {
                organization.usage_serial = *serial;
                organization.usage.clone_from(usage);
            }
        }
        for (waiting, verdict) in members.iter().zip(&judgement.verdicts) {
            for guard in &waiting.member.changes.guards {
                if let (Guard::OrganizationAt(id, ..), Verdict::In) = (guard, verdict) {
                    known.remove(id);
                }
            }
        }
    }

    /// What these members find if no other process has changed anything: each row as the first guard that names it says,
    /// organizations as they are cached, and nothing where a row is to be new. `None` if one of their organizations is not
    /// cached, or if batches are to be read first.
    pub fn presumed(&self, members: &[Waiting]) -> Option<CurrentRows> {
        let cached = &mut *self.cached();
        if cached.to_be_read > 0 {
            cached.to_be_read -= 1;
            return None;
        }
        let mut found = CurrentRows::default();
        // An alias that a member deletes is presumed to be there. Rows are deleted before others are inserted, so a unique key
        // would not protect it.
        for write in members.iter().flat_map(|waiting| &waiting.member.changes.writes) {
            if let Write::DeleteAlias(alias) = write {
                found.aliases.insert(alias.clone());
            }
        }
        for guard in members.iter().flat_map(|waiting| &waiting.member.changes.guards) {
            match guard {
                Guard::OrganizationAt(id, ..) | Guard::OrganizationRoom(id, _) => {
                    if !found.organizations.contains_key(id) {
                        found.organizations.insert(id.clone(), cached.organizations.get(id)?.clone());
                    }
                }
                Guard::TenantAt(id, version, counter) => {
                    found.tenants.entry(id.clone()).or_insert((*version, *counter));
                }
                Guard::Lease(id, epoch) => drop(found.jobs.entry(id.clone()).or_insert(*epoch)),
                Guard::ApiKeyAt(id, version) | Guard::CallerAt(id, version) => {
                    found.api_keys.entry(id.clone()).or_insert(*version);
                }
                Guard::WebhookAt(id, version) => drop(found.webhooks.entry(id.clone()).or_insert(*version)),
                Guard::PlacementAt(name, version) => drop(found.placements.entry(name.clone()).or_insert(*version)),
                // A foreign key settles whether it is there at the commit.
                Guard::PlacementThere(name) => drop(found.placements.entry(name.clone()).or_insert(0)),
                Guard::IdempotencyKeyUnused(_)
                | Guard::OrganizationUnused(_)
                | Guard::TenantUnused(_)
                | Guard::AliasUnused(_)
                | Guard::ApiKeyUnused(_)
                | Guard::WebhookUnused(_)
                | Guard::PlacementUnused(_)
                | Guard::SlotUnused(_) => {}
            }
        }
        Some(found)
    }

    /// A precondition did not hold.
    pub fn was_wrong(&self) {
        self.cached().to_be_read = READ_FIRST;
    }

    /// Empties the cache: a new connection begins, or a batch that was sent has failed.
    pub fn forget(&self) {
        self.cached().organizations.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(serial: i64) -> CurrentRows {
        let organization = CurrentOrganization {
            version: 1,
            counter: 1,
            open: true,
            caps: Default::default(),
            usage: Default::default(),
            usage_serial: serial,
        };
        CurrentRows {
            organizations: HashMap::from([(OrganizationId::known("acme"), organization)]),
            ..CurrentRows::default()
        }
    }

    #[test]
    fn must_read_for_a_while_after_a_precondition_did_not_hold() {
        let cache = OrganizationCache::default();
        assert!(cache.presumed(&[]).is_some());
        cache.was_wrong();
        let read_first = (0..1000).take_while(|_| cache.presumed(&[]).is_none()).count();
        assert_eq!(read_first, usize::try_from(READ_FIRST).unwrap());
    }

    #[test]
    fn must_begin_at_the_newest_serial_and_be_empty_when_it_is_gone() {
        let cache = OrganizationCache::default();
        let least = || cache.least(["acme", "beta"].into_iter());
        assert_eq!(least(), [0, 0]);
        assert!(cache.was_read(&found(7)));
        assert!(cache.was_read(&found(9)));
        assert_eq!(least(), [9, 0]);
        // Not even one is found when an older state was put back: then it counts as none.
        assert!(!cache.was_read(&found(0)));
        assert_eq!(least(), [0, 0]);
        assert!(cache.was_read(&found(3)));
        cache.forget();
        assert_eq!(least(), [0, 0]);
    }
}
