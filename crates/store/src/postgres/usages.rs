//! Where the newest rows of `organization_usage` begin, as far as they were read before.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use tenancy_core::judge::Found;

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

    /// These were read, under their organizations' locks.
    pub fn remember(&self, found: &Found) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() + found.organizations.len() > MAX_REMEMBERED {
            known.clear();
        }
        for (id, organization) in &found.organizations {
            match known.get_mut(id.as_str()) {
                Some(newest) => *newest = organization.usage_serial,
                None => drop(known.insert(id.to_string(), organization.usage_serial)),
            }
        }
    }

    /// Another connection begins.
    pub fn forget(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
