//! What this process knows of organizations from earlier batches: the serial of the newest usage row of each.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tenancy_core::ids::OrganizationId;
use tenancy_core::judge::{CurrentOrganization, CurrentRows};

/// Maximum number of organizations in the cache; beyond it the cache is emptied.
const MAX_CACHED: usize = 10_000;

/// For each organization the serial of its newest usage row, as it was last read under the organization's lock. It is valid
/// for one connection only: the database behind a new connection may have been restored from a backup.
#[derive(Default)]
pub struct OrganizationCache(Mutex<HashMap<OrganizationId, i64>>);

impl OrganizationCache {
    fn serials(&self) -> MutexGuard<'_, HashMap<OrganizationId, i64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For each organization the lowest serial that its newest usage row can have. The newest row is never removed and serials
    /// only rise, so older rows need not be read: without a lower bound the server reads a whole page of an organization's
    /// rows to find the last one.
    pub fn least<'a>(&self, organizations: impl Iterator<Item = &'a str>) -> Vec<i64> {
        let serials = self.serials();
        organizations.map(|id| serials.get(id).copied().unwrap_or(0)).collect()
    }

    /// Stores what was read under the locks of organizations. False if the usage of one is older than the cached one: rows were
    /// restored while the connection was open. Then the cache is emptied, and what was read must not be used.
    pub fn was_read(&self, found: &CurrentRows) -> bool {
        let serials = &mut *self.serials();
        let older = |(id, now): (&OrganizationId, &CurrentOrganization)| {
            serials.get(id).is_some_and(|before| now.usage_serial < *before)
        };
        if found.organizations.iter().any(older) {
            serials.clear();
            return false;
        }
        if serials.len() + found.organizations.len() > MAX_CACHED {
            serials.clear();
        }
        serials.extend(found.organizations.iter().map(|(id, now)| (id.clone(), now.usage_serial)));
        true
    }

    /// Empties the cache: a new connection begins, or a batch has failed.
    pub fn forget(&self) {
        self.serials().clear();
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
