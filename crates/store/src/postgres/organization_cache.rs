//! Organizations as this process knows them, and what a batch may therefore be presumed to find.

use crate::queue::Waiting;
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tenancy_core::changes::{Guard, Write};
use tenancy_core::ids::OrganizationId;
use tenancy_core::judge::{CurrentOrganization, CurrentRows, Judgement, Verdict};

/// Most organizations that are remembered; then all are forgotten.
const MAX_REMEMBERED: usize = 10_000;
/// How many batches are read first once what was presumed of one did not hold: where others write too, or requests come
/// twice, it would not hold again.
const READ_FIRST: u32 = 64;

/// What is known of organizations while one connection lasts: as they were last read under their locks, and as this process
/// left them. Nothing is told to anybody on the strength of it: it is asserted in the transaction that stands on it. Only a
/// connection that lasts vouches for it: the database behind a new one may have been restored.
#[derive(Default)]
pub struct OrganizationCache(Mutex<Memory>);

#[derive(Default)]
struct Memory {
    organizations: HashMap<OrganizationId, CurrentOrganization>,
    to_be_read: u32,
}

impl OrganizationCache {
    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For each organization the least number that its newest usage row can have. The newest row is never removed and numbers
    /// only rise, so no older one need be looked at: the server reads a whole page of an organization's rows to find the last
    /// of them, unless it is told where to begin.
    pub fn least<'a>(&self, organizations: impl Iterator<Item = &'a str>) -> Vec<i64> {
        let memory = self.memory();
        organizations.map(|id| memory.organizations.get(id).map_or(0, |known| known.usage_serial)).collect()
    }

    /// These were read, under their organizations' locks. False if the usage of one is older than was remembered: rows were
    /// put back under a connection that lasted, so all is forgotten, and what was read does not count.
    pub fn was_read(&self, found: &CurrentRows) -> bool {
        let known = &mut self.memory().organizations;
        let older = |(id, organization): (&OrganizationId, &CurrentOrganization)| {
            known.get(id).is_some_and(|before| organization.usage_serial < before.usage_serial)
        };
        if found.organizations.iter().any(older) {
            known.clear();
            return false;
        }
        if known.len() + found.organizations.len() > MAX_REMEMBERED {
            known.clear();
        }
        known.extend(found.organizations.iter().map(|(id, organization)| (id.clone(), organization.clone())));
        true
    }

    /// A batch is sent: organizations are remembered as it leaves them, though it may yet fail; then all is to be forgotten.
    pub fn was_sent(&self, members: &[Waiting], judgement: &Judgement) {
        let known = &mut self.memory().organizations;
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

    /// What these members would find if nothing has moved: each row as it is said to be by the first of them that names it,
    /// organizations as they are remembered, and nothing where something is to be new. `None` if one of their organizations
    /// is not remembered, or if batches are to be read first.
    pub fn presumed(&self, members: &[Waiting]) -> Option<CurrentRows> {
        let memory = &mut *self.memory();
        if memory.to_be_read > 0 {
            memory.to_be_read -= 1;
            return None;
        }
        let mut found = CurrentRows::default();
        // An alias that a member drops is there until then. Its rows go before others are inserted, so no unique key would tell.
        for write in members.iter().flat_map(|waiting| &waiting.member.changes.writes) {
            if let Write::DeleteAlias(alias) = write {
                found.aliases.insert(alias.clone());
            }
        }
        for guard in members.iter().flat_map(|waiting| &waiting.member.changes.guards) {
            match guard {
                Guard::OrganizationAt(id, ..) | Guard::OrganizationRoom(id, _) => {
                    if !found.organizations.contains_key(id) {
                        found.organizations.insert(id.clone(), memory.organizations.get(id)?.clone());
                    }
                }
                Guard::TenantAt(id, version, counter) => {
                    found.tenants.entry(id.clone()).or_insert((*version, *counter));
                }
                Guard::Lease(id, epoch) => drop(found.jobs.entry(id.clone()).or_insert(*epoch)),
                Guard::ApiKeyAt(id, version) | Guard::CallerAt(id, version) => {
                    found.api_keys.entry(id.clone()).or_insert(*version);
                }
                Guard::IdempotencyKeyUnused(_)
                | Guard::OrganizationUnused(_)
                | Guard::TenantUnused(_)
                | Guard::AliasUnused(_)
                | Guard::ApiKeyUnused(_) => {}
            }
        }
        Some(found)
    }

    /// What was presumed did not hold.
    pub fn was_wrong(&self) {
        self.memory().to_be_read = READ_FIRST;
    }

    /// Another connection begins, or a batch failed that was sent.
    pub fn forget(&self) {
        self.memory().organizations.clear();
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
    fn must_read_for_a_while_once_what_was_presumed_was_wrong() {
        let remembered = OrganizationCache::default();
        assert!(remembered.presumed(&[]).is_some());
        remembered.was_wrong();
        let read_first = (0..1000).take_while(|_| remembered.presumed(&[]).is_none()).count();
        assert_eq!(read_first, usize::try_from(READ_FIRST).unwrap());
    }

    #[test]
    fn must_begin_where_the_newest_was_and_forget_all_when_it_is_gone() {
        let remembered = OrganizationCache::default();
        let least = || remembered.least(["acme", "beta"].into_iter());
        assert_eq!(least(), [0, 0]);
        assert!(remembered.was_read(&found(7)));
        assert!(remembered.was_read(&found(9)));
        assert_eq!(least(), [9, 0]);
        // Not even one is found when an older state was put back: then it counts as none.
        assert!(!remembered.was_read(&found(0)));
        assert_eq!(least(), [0, 0]);
        assert!(remembered.was_read(&found(3)));
        remembered.forget();
        assert_eq!(least(), [0, 0]);
    }
}
