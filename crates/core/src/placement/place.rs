//! The place where an environment's data lives, as the record keeps it.

use crate::environment::Environment;
use crate::ids::{EnvironmentId, PlacementName, TenantId};
use crate::json::{canonical, sha256_hex};
use crate::tenant::Terms;
use crate::words::words;
use jiff::Timestamp;
use serde_json::json;

words!(
    /// Kind of a place.
    PlacementKind {
        /// A SQLite file of the environment's own.
        Sqlite = "sqlite",
        /// A PostgreSQL database of the environment's own.
        PostgresDatabase = "postgres_database",
        /// A schema of the environment's own, in a PostgreSQL database that it shares.
        PostgresSchema = "postgres_schema",
    }
);

words!(
    /// What programs and people may do with the data of an environment.
    Access {
        /// Read and write.
        Full = "full",
        /// Read only.
        ReadOnly = "read_only",
        /// Nothing: the place refuses every connection.
        Blocked = "blocked",
    }
);

/// A place: where the data of one environment lives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// Kind of the place.
    pub kind: PlacementKind,
    /// Where it is, unique among the places of one kind: for `sqlite`, the name of the environment's folder.
    pub location: String,
    /// Random text that is written into the place when it is made. A place with another text is not the one that was
    /// recorded.
    pub fingerprint: String,
}

/// A place that was chosen for an environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chosen {
    /// Placement that the place is on; `None` if the server keeps it where places belong to no placement.
    pub placement: Option<PlacementName>,
    /// See [`EnvironmentPlacement::slot`].
    pub slot: Option<String>,
    /// The place.
    pub place: Place,
}

/// What a step is about to do to a place. It is committed before it is done, so that a crash leaves nothing that the record
/// does not know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Intent {
    /// Make this place.
    Make(Chosen),
    /// Destroy the place with its data.
    Destroy,
}

/// A row of `environment_placements`: the place that was chosen for an environment. It is committed before the place is
/// made, so that a crash leaves nothing that the record does not know. It outlives the row of its environment: when an
/// environment is removed, its data stays until the tenant is purged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnvironmentPlacement {
    /// The environment.
    pub env_id: EnvironmentId,
    /// Tenant that owns it.
    pub tenant_id: TenantId,
    /// Name of the environment within the tenant.
    pub name: String,
    /// Placement that the place is on; `None` if the server keeps it where places belong to no placement.
    pub placement: Option<PlacementName>,
    /// Name of the placement and a number, such as `disk-1/7`, if the placement has a cap. At most one place has each slot, and
    /// the numbers end at the cap.
    pub slot: Option<String>,
    /// Kind of the place.
    pub kind: PlacementKind,
    /// See [`Place::location`].
    pub location: String,
    /// See [`Place::fingerprint`].
    pub fingerprint: String,
    /// Digest of the [`settings`] that the place was given last. `None` until the place is made, and when a job ended
    /// before all its steps were done: what the place was given, and whether it is open, is then not known.
    pub settings: Option<String>,
    /// Time at which the place was chosen.
    pub created_at: Timestamp,
    /// Time at which the place was made; `None` while it is only chosen.
    pub made_at: Option<Timestamp>,
    /// Time at which the environment was removed from the manifest.
    pub removed_at: Option<Timestamp>,
    /// Time at which the place of a removed environment was closed.
    pub closed_at: Option<Timestamp>,
    /// Time at which a purge began to destroy the place. It is committed before the place is touched, so that nobody takes
    /// the data for kept when the purge fails.
    pub destroying_at: Option<Timestamp>,
}

impl EnvironmentPlacement {
    /// Returns the place.
    pub fn place(&self) -> Place {
        Place { kind: self.kind, location: self.location.clone(), fingerprint: self.fingerprint.clone() }
    }

    /// Whether the place was given other settings than the environment has now, or that is not known.
    pub fn is_behind(&self, environment: &Environment, terms: &Terms) -> bool {
        self.settings.as_ref().is_none_or(|given| *given != settings(environment, terms))
    }

    /// Whether the place of a removed environment is still to be closed.
    pub fn is_left_open(&self) -> bool {
        self.closed_at.is_none()
    }
}

/// Returns the digest of everything that a place is told about its environment. A change of it queues an `update` job.
pub fn settings(environment: &Environment, terms: &Terms) -> String {
    let told = json!({
        "profile": terms.profile,
        "region": environment.region,
        "isolation_level": environment.isolation_level,
        "quotas": environment.quotas,
        "retention_days": environment.retention_days,
        "policies": terms.policies,
    });
    sha256_hex(&[canonical(&told).as_bytes()])
}

/// Order of everything that works on the places of one tenant. Whatever changes a place carries it, and a place refuses a
/// lower one than it has seen: a worker that comes back late changes nothing.
///
/// It is read in one snapshot of the tenant, in which the job of the worker is open under the worker's lease. The counter
/// of a tenant grows when a job is queued and when it ends, so every job has a higher one than the jobs before it; within
/// a job, the later lease is the higher one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fence {
    /// Epoch of the log, which grows when a backup is restored: the counters of a restored record are lower than they were.
    pub log_epoch: i64,
    /// Counter of the tenant.
    pub counter: i64,
    /// Epoch of the job's lease.
    pub lease_epoch: i64,
}
