//! Organizations: the customers, who own tenants, with caps on how much.

use crate::ids::OrganizationId;
use crate::json::Pointer;
use crate::tenant::Labels;
use crate::violation::Violation;
use jiff::Timestamp;
use std::collections::BTreeMap;

/// Most different quotas that an organization's tenants have, in all: its usage is a sum of each of them.
pub const MAX_QUOTA_KEYS: usize = 256;

/// What [`MAX_QUOTA_KEYS`] is called as a cap. It is no quota's name: what can have a cap has no spaces.
pub const QUOTA_KEYS: &str = "different quota keys";

/// What an organization's tenants may be at most, in number and in sum of their quotas. What is absent has no cap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caps {
    /// How many tenants; what is not purged counts.
    pub tenants: Option<i64>,
    /// The sum of a quota over all tenants that are not purged.
    pub quotas: BTreeMap<String, i64>,
}

/// What an organization's tenants are in sum, or a change of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// How many tenants.
    pub tenants: i64,
    /// Sums of quotas, declared or not, that are not 0: what tenants' documents say is all that they depend on.
    pub quotas: BTreeMap<String, i64>,
}

impl Usage {
    /// Adds a change, which may be negative. Eight million tenants at the largest quota of all would be more than 64
    /// bits: there it stays at the most.
    pub fn add(&mut self, change: &Usage) {
        self.tenants = self.tenants.saturating_add(change.tenants);
        for (name, value) in &change.quotas {
            let sum = self.quotas.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*value);
        }
        self.quotas.retain(|_, value| *value != 0);
    }

    /// The change that leads from `self` to `to`.
    pub fn until(&self, to: &Usage) -> Usage {
        let negative = Usage {
            tenants: self.tenants.saturating_neg(),
            quotas: self.quotas.iter().map(|(name, value)| (name.clone(), value.saturating_neg())).collect(),
        };
        let mut change = to.clone();
        change.add(&negative);
        change
    }

    /// How many quotas more there are in the sum after a change.
    fn more_keys(&self, change: &Usage) -> i64 {
        let sum = |name: &String| self.quotas.get(name).copied().unwrap_or(0);
        let more = change.quotas.iter().map(|(name, value)| {
            let (before, after) = (sum(name), sum(name).saturating_add(*value));
            i64::from(after != 0) - i64::from(before != 0)
        });
        more.sum()
    }

    /// Whether it changes nothing.
    pub fn is_nothing(&self) -> bool {
        self.tenants == 0 && self.quotas.values().all(|value| *value == 0)
    }
}

/// One cap that a change would pass.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CapExceeded {
    /// `tenants`, [`QUOTA_KEYS`], or a quota's name.
    pub cap: String,
    /// The cap.
    pub limit: i64,
    /// What is used without the change.
    pub used: i64,
    /// What the change adds.
    pub asked: i64,
}

impl CapExceeded {
    /// The field of a tenant's document that asks for more than there is.
    pub fn field(&self) -> Violation {
        let Self { cap, limit, used, asked } = self;
        let pointer = match cap.as_str() {
            "tenants" => Pointer::root().key("organization_id"),
            QUOTA_KEYS => Pointer::root().key("quotas"),
            quota => Pointer::root().key("quotas").key(quota),
        };
        let message = format!("{used} of the organization's {limit} {cap} are used: there is no room for {asked} more");
        Violation::at(&pointer, "organization_cap_exceeded", message)
    }
}

impl Caps {
    /// Every cap that `usage` with `change` would pass, [`MAX_QUOTA_KEYS`] among them. What a change does not raise is not
    /// asked: lowering is always allowed, also above a cap that was lowered since.
    pub fn exceeded(&self, usage: &Usage, change: &Usage) -> Vec<CapExceeded> {
        let over = |cap: &str, limit: Option<i64>, used: i64, asked: i64| {
            let limit = limit?;
            let over = asked > 0 && used.saturating_add(asked) > limit;
            over.then(|| CapExceeded { cap: cap.to_owned(), limit, used, asked })
        };
        let tenants = over("tenants", self.tenants, usage.tenants, change.tenants);
        let used = i64::try_from(usage.quotas.len()).unwrap_or(i64::MAX);
        let keys = over(QUOTA_KEYS, i64::try_from(MAX_QUOTA_KEYS).ok(), used, usage.more_keys(change));
        let quotas = change.quotas.iter().filter_map(|(name, asked)| {
            let used = usage.quotas.get(name).copied().unwrap_or(0);
            over(name, self.quotas.get(name).copied(), used, *asked)
        });
        tenants.into_iter().chain(keys).chain(quotas).collect()
    }
}

/// A row of `organizations`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Organization {
    /// Global, chosen by the client.
    pub organization_id: OrganizationId,
    /// For people.
    pub display_name: Option<String>,
    /// Labels.
    pub labels: Labels,
    /// Caps.
    pub caps: Caps,
    /// Up by one per accepted manifest change.
    pub version: i64,
    /// Up by one per change of anything else: its holds, whether it is closed.
    pub counter: i64,
    /// The counter that all its tenants have followed: while it is behind, some have yet to.
    pub settled_counter: i64,
    /// When it was made.
    pub created_at: Timestamp,
    /// When the row last changed.
    pub updated_at: Timestamp,
    /// Since when it takes no new tenants.
    pub closed_at: Option<Timestamp>,
}
