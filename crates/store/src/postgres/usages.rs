//! Where the newest rows of `organization_usage` begin, as far as they were read before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tenancy_core::ids::OrganizationId;
use tenancy_core::judge::{Found, FoundOrganization};

/// Most organizations that are remembered; then all are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// The number of each organization's newest row when it was last read on a connection. The newest row is never removed and
/// numbers only rise, so no older one need be looked at: the server reads a whole page of an organization's rows to find
/// the last of them, unless it is told where to begin. Only a connection that lasts vouches for it: the database behind a
/// new one may have been restored.
#[derive(Default)]
pub struct NewestUsages(Mutex<HashMap<String, i64>>);

impl NewestUsages {
    /// For each organization the least number that its newest row can have.
    pub fn least<'a>(&self, organizations: impl Iterator<Item = &'a str>) -> Vec<i64> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        organizations.map(|id| known.get(id).copied().unwrap_or(0)).collect()
    }

    /// These were read, under their organizations' locks. False if one is older than was remembered: rows were put back
    /// under a connection that lasted, so all is forgotten, and what was read does not count.
    pub fn remember(&self, found: &Found) -> bool {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let older = |(id, organization): (&OrganizationId, &FoundOrganization)| {
            known.get(id.as_str()).is_some_and(|newest| organization.usage_serial < *newest)
        };
        if found.organizations.iter().any(older) {
            known.clear();
            return false;
        }
        if known.len() + found.organizations.len() > MAX_REMEMBERED {
            known.clear();
        }
        for (id, organization) in &found.organizations {
            match known.get_mut(id.as_str()) {
                Some(newest) => *newest = organization.usage_serial,
                None => drop(known.insert(id.to_string(), organization.usage_serial)),
            }
        }
        true
    }

    /// Another connection begins.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(serial: i64) -> Found {
        let organization = FoundOrganization {
            version: 1,
            counter: 1,
            open: true,
            caps: Default::default(),
            usage: Default::default(),
            usage_serial: serial,
        };
        Found { organizations: HashMap::from([(OrganizationId::known("acme"), organization)]), ..Found::default() }
    }

    #[test]
    fn must_begin_where_the_newest_was_and_forget_all_when_it_is_gone() {
        let usages = NewestUsages::default();
        let least = || usages.least(["acme", "beta"].into_iter());
        assert_eq!(least(), [0, 0]);
        assert!(usages.remember(&found(7)));
        assert!(usages.remember(&found(9)));
        assert_eq!(least(), [9, 0]);
        // Not even one is found when an older state was put back: then it counts as none.
        assert!(!usages.remember(&found(0)));
        assert_eq!(least(), [0, 0]);
        assert!(usages.remember(&found(3)));
        usages.forget();
        assert_eq!(least(), [0, 0]);
    }
}
