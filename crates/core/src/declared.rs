//! Names that are declared in the configuration: environments, quota keys, regions, kinds of holds.

use crate::hold::DEFAULT_HOLD;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Maximum length of the name of an environment or of a kind of hold, in bytes: the width of their columns.
pub const MAX_SHORT_NAME_BYTES: usize = 32;

/// Maximum length of the name of a quota or a region, in bytes.
pub const MAX_NAME_BYTES: usize = 64;

/// Whether a name can be declared: 1 to `max_bytes` bytes without spaces and control characters.
pub fn may_be_declared(name: &str, max_bytes: usize) -> bool {
    let plain = |c: char| !c.is_control() && !c.is_whitespace();
    !name.is_empty() && name.len() <= max_bytes && name.chars().all(plain)
}

/// Names that manifests may use. The configuration of the server can replace each list; the default lists are built in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Declared {
    /// Names of environments, in order.
    pub environments: Vec<String>,
    /// Keys of quotas.
    pub quotas: BTreeMap<String, QuotaKey>,
    /// Regions.
    pub regions: BTreeMap<String, Region>,
    /// Kinds of holds.
    pub holds: BTreeMap<String, HoldKind>,
}

/// A quota. Its value is an integer of 0 or more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaKey {
    /// Unit, for people: `GiB`, `requests per second`.
    pub unit: String,
    /// Whether the sum of the values of the environments must not exceed the value of the tenant.
    #[serde(default)]
    pub sums: bool,
}

/// A region.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Region {
    /// Jurisdiction that applies to data in the region.
    pub jurisdiction: String,
}

/// Effects of a kind of hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HoldKind {
    /// The hold keeps the tenant suspended.
    #[serde(default)]
    pub suspends: bool,
    /// The hold keeps the data of the tenant: it prevents delete and purge.
    #[serde(default)]
    pub keeps_data: bool,
    /// The actor that placed the hold cannot release it: another actor has to.
    #[serde(default)]
    pub released_by_another: bool,
}

impl Default for Declared {
    fn default() -> Self {
        let quota = |name: &str, unit: &str| (name.to_owned(), QuotaKey { unit: unit.to_owned(), sums: true });
        let region =
            |name: &str, jurisdiction: &str| (name.to_owned(), Region { jurisdiction: jurisdiction.to_owned() });
        let hold = |name: &str, suspends, keeps_data| {
            (name.to_owned(), HoldKind { suspends, keeps_data, released_by_another: false })
        };
        Self {
            environments: ["dev", "stage", "prod"].map(str::to_owned).to_vec(),
            quotas: BTreeMap::from([
                quota("storageGiB", "GiB"),
                quota("concurrentJobs", "jobs"),
                quota("apiRateLimit", "requests per second"),
            ]),
            regions: BTreeMap::from([
                region("eu-west-1", "eu"),
                region("eu-central-1", "eu"),
                region("eu-north-1", "eu"),
                region("us-east-1", "us"),
                region("us-west-2", "us"),
                region("ca-central-1", "ca"),
                region("ap-southeast-1", "sg"),
                region("ap-northeast-1", "jp"),
            ]),
            holds: BTreeMap::from([
                hold("billing", true, false),
                hold("abuse", true, false),
                hold("security", true, false),
                hold("operator", true, false),
                hold("legal", false, true),
            ]),
        }
    }
}

impl Declared {
    /// Whether a hold of `kind` keeps its tenant suspended. A kind that is no longer declared does.
    pub fn suspends(&self, kind: &str) -> bool {
        self.holds.get(kind).is_none_or(|hold| hold.suspends)
    }

    /// Whether a hold of `kind` keeps the data of its tenant. A kind that is no longer declared does.
    pub fn keeps_data(&self, kind: &str) -> bool {
        self.holds.get(kind).is_none_or(|hold| hold.keeps_data)
    }

    /// Whether the actor that placed a hold of `kind` cannot release it.
    pub fn released_by_another(&self, kind: &str) -> bool {
        self.holds.get(kind).is_some_and(|hold| hold.released_by_another)
    }

    /// Returns all errors in the declarations, for people. A configuration with errors is refused.
    pub fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut names = |what: &str, list: &mut dyn Iterator<Item = &String>, max_bytes: usize| {
            let mut seen = BTreeSet::new();
            for name in list {
                if !may_be_declared(name, max_bytes) {
                    found.push(format!("{what} {name:?} must be 1 to {max_bytes} bytes without spaces"));
                }
                if !seen.insert(name) {
                    found.push(format!("{what} {name:?} is declared twice"));
                }
            }
        };
        names("environment", &mut self.environments.iter(), MAX_SHORT_NAME_BYTES);
        names("quota", &mut self.quotas.keys(), MAX_NAME_BYTES);
        names("region", &mut self.regions.keys(), MAX_NAME_BYTES);
        names("hold", &mut self.holds.keys(), MAX_SHORT_NAME_BYTES);
        if !self.holds.get(DEFAULT_HOLD).is_some_and(|hold| hold.suspends) {
            found.push(format!(
                "hold {DEFAULT_HOLD:?} must be declared with suspends = true: it is the default hold of `suspend`"
            ));
        }
        found
    }

    /// Returns the position of an environment in the declared order. Undeclared names come last.
    pub fn environment_order(&self, name: &str) -> usize {
        self.environments.iter().position(|known| known == name).unwrap_or(self.environments.len())
    }
}
