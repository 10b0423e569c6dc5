//! Organizations: the customers, which own tenants, with caps and usage.

use crate::ids::OrganizationId;
use crate::json::Pointer;
use crate::tenant::Labels;
use crate::violation::Violation;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::fmt;

/// Maximum number of different quota keys of all tenants of an organization, because its usage has a sum for each.
pub const MAX_QUOTA_KEYS: usize = 256;

/// Name of [`MAX_QUOTA_KEYS`] as a cap. It cannot be the name of a quota, because names of quotas contain no spaces.
pub const QUOTA_KEYS: &str = "different quota keys";

/// Caps on the number of tenants of an organization and on the sums of their quotas. An absent cap means no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Caps {
    /// Maximum number of tenants. Tenants that are not purged count.
    pub tenants: Option<i64>,
    /// Maximum sum of each quota over all tenants that are not purged.
    pub quotas: BTreeMap<String, i64>,
}

/// Usage of an organization, or a change of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of tenants.
    pub tenants: i64,
    /// Sum of each quota, without sums of 0. A tenant without a quota counts the sum of its environments. It includes undeclared quotas, so that it depends only on the documents of
    /// the tenants.
    pub quotas: BTreeMap<String, i64>,
}

impl Usage {
    /// Adds a change, which can be negative. Eight million tenants with the largest quota exceed 64 bits: the sum then
    /// saturates.
    pub fn add(&mut self, change: &Usage) {
        self.tenants = self.tenants.saturating_add(change.tenants);
        for (name, value) in &change.quotas {
            let sum = self.quotas.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*value);
        }
        self.quotas.retain(|_, value| *value != 0);
    }

    /// Returns the change from `self` to `to`.
    pub fn until(&self, to: &Usage) -> Usage {
        let negative = Usage {
            tenants: self.tenants.saturating_neg(),
            quotas: self.quotas.iter().map(|(name, value)| (name.clone(), value.saturating_neg())).collect(),
        };
        let mut change = to.clone();
        change.add(&negative);
        change
    }

    /// Returns by how many the number of quota keys increases with a change.
    fn more_keys(&self, change: &Usage) -> i64 {
        let sum = |name: &String| self.quotas.get(name).copied().unwrap_or(0);
        let more = change.quotas.iter().map(|(name, value)| {
            let (before, after) = (sum(name), sum(name).saturating_add(*value));
            i64::from(after != 0) - i64::from(before != 0)
        });
        more.sum()
    }

    /// Whether the change is empty.
    pub fn is_nothing(&self) -> bool {
        self.tenants == 0 && self.quotas.values().all(|value| *value == 0)
    }
}

/// A cap that a change would exceed.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct CapExceeded {
    /// Name of the cap: `tenants`, [`QUOTA_KEYS`], or the name of a quota.
    pub cap: String,
    /// Value of the cap.
    pub limit: i64,
    /// Usage without the change.
    pub used: i64,
    /// Increase by the change.
    pub asked: i64,
}

impl CapExceeded {
    /// Returns the field of a tenant's document that exceeds the cap.
    pub fn field(&self) -> Violation {
        let pointer = match self.cap.as_str() {
            "tenants" => Pointer::root().key("organization_id"),
            QUOTA_KEYS => Pointer::root().key("quotas"),
            quota => Pointer::root().key("quotas").key(quota),
        };
        Violation::at(&pointer, "organization_cap_exceeded", format!("would exceed the organization's {self}"))
    }
}

impl fmt::Display for CapExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cap, limit, used, asked } = self;
        write!(f, "cap on {cap}: {used} of {limit} used")?;
        if *asked == 1 { Ok(()) } else { write!(f, ", {asked} more requested") }
    }
}

impl Caps {
    /// Returns a warning for each cap that is lower than the usage.
    pub fn below(&self, usage: &Usage) -> Vec<Violation> {
        let at = Pointer::root().key("caps");
        let quotas = self.quotas.iter().map(|(name, cap)| {
            let used = usage.quotas.get(name).copied().unwrap_or(0);
            (at.key("quotas").key(name), name.as_str(), *cap, used)
        });
        let tenants = self.tenants.map(|cap| (at.key("tenants"), "tenants", cap, usage.tenants));
        let over = tenants.into_iter().chain(quotas).filter(|(_, _, cap, used)| used > cap);
        over.map(|(at, name, cap, used)| {
            let message = format!("the cap on {name} is {cap}, but {used} are in use: the usage can only decrease");
            Violation::at(&at, "cap_below_usage", message)
        })
        .collect()
    }

    /// Returns all caps that `usage` with `change` exceeds, including [`MAX_QUOTA_KEYS`]. Only increases are checked: a
    /// decrease is always permitted, even if the usage still exceeds a cap that was lowered.
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
    /// Id of the organization: global, chosen by the client.
    pub organization_id: OrganizationId,
    /// Display name, for people.
    pub display_name: Option<String>,
    /// Labels of the organization.
    pub labels: Labels,
    /// Caps on all tenants together.
    pub caps: Caps,
    /// Version of the manifest. It increases by one with each accepted change.
    pub version: i64,
    /// Counter of all other changes: holds and closing.
    pub counter: i64,
    /// Counter up to which all tenants have followed the holds. If it is lower than `counter`, some have not followed
    /// yet.
    pub settled_counter: i64,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
    /// Time at which the organization was closed. It accepts no new tenants since then.
    pub closed_at: Option<Timestamp>,
}
