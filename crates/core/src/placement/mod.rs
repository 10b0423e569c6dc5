//! Placements: where the data of environments can live, and the place that each environment has.

mod place;

pub use place::{Access, Chosen, EnvironmentPlacement, Fence, Intent, Place, PlacementKind, settings};

use crate::environment::IsolationLevel;
use crate::ids::PlacementName;
use crate::tenant::Profile;
use jiff::Timestamp;

/// Maximum of `max_environments`. A placement without this cap takes any number.
pub const MAX_ENVIRONMENTS: i64 = 10_000;
/// Maximum of `max_environments` for schemas of one database. With thousands of schemas, the catalog of the database grows to
/// hundreds of megabytes, and dumps of it fail.
pub const MAX_SCHEMAS: i64 = 2_000;
/// Maximum number of placements.
pub const MAX_PLACEMENTS: usize = 500;

/// Where clients reach the places of a placement, if that differs from where the server reaches them: a pooler, for example.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// Name or IP address.
    pub host: String,
    /// Port.
    pub port: i64,
}

/// A row of `placements`: a database server or a disk on which places are made. How the server reaches it, and with which
/// credentials, is in the configuration of the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// Name, chosen by the client. It never changes.
    pub name: PlacementName,
    /// Kind of its places. It never changes.
    pub place_kind: PlacementKind,
    /// Region in which its places are. It never changes.
    pub region: String,
    /// See [`Address`].
    pub address: Option<Address>,
    /// Profiles of tenants that it takes; all if there are none.
    pub profiles: Vec<Profile>,
    /// Isolation levels of environments that it takes; all if there are none.
    pub isolation_levels: Vec<IsolationLevel>,
    /// Maximum number of environments; `None` for no maximum.
    pub max_environments: Option<i64>,
    /// Whether it takes no new environments. Those that it has stay.
    pub cordoned: bool,
    /// Version. It increases by one with each accepted change.
    pub version: i64,
    /// Time of creation.
    pub created_at: Timestamp,
    /// Time of the last change.
    pub updated_at: Timestamp,
}
