//! What every kind of place can do.

use crate::{Connection, Fault};
use futures_util::future::BoxFuture;
use tenancy_core::Timestamp;
use tenancy_core::environment::IsolationLevel;
use tenancy_core::ids::{EnvironmentId, TenantId};
use tenancy_core::json::Object;
use tenancy_core::placement::{Access, Fence, Place};
use tenancy_core::tenant::Profile;

/// An environment as its place is to be.
#[derive(Debug, Clone, PartialEq)]
pub struct Wanted {
    /// Tenant that owns the environment.
    pub tenant_id: TenantId,
    /// Profile of the tenant.
    pub profile: Profile,
    /// The environment.
    pub env_id: EnvironmentId,
    /// Its name within the tenant.
    pub name: String,
    /// Region in which the data must be.
    pub region: String,
    /// Isolation from other tenants.
    pub isolation_level: IsolationLevel,
    /// Quotas of the environment.
    pub quotas: Object,
    /// Number of days that the data is kept.
    pub retention_days: Option<i64>,
    /// Policies of the tenant.
    pub policies: Object,
}

/// A place as the record has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// Environment of the place.
    pub env_id: EnvironmentId,
    /// The place.
    pub place: Place,
    /// Whether it was made.
    pub is_made: bool,
}

/// What a look at a place found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// The place.
    pub place: Place,
    /// What programs may do with it.
    pub access: Access,
    /// Size of its data, in bytes.
    pub bytes: u64,
}

/// Makes places and changes them. Every method can be repeated, with the same result, also after a crash at any instant of an
/// earlier call. A method with a [`Fence`] changes nothing if a higher one was used for the environment before.
pub trait Provisioner: Send + Sync + 'static {
    /// Looks whether the environment has a place, and what it is. `None` if there is none.
    fn look<'a>(&'a self, env_id: &'a EnvironmentId) -> BoxFuture<'a, Result<Option<Found>, Fault>>;

    /// Chooses where the place of an environment will be, with a new fingerprint. Makes nothing. The place is recorded
    /// before it is made.
    fn choose<'a>(&'a self, wanted: &'a Wanted) -> BoxFuture<'a, Result<Place, Fault>>;

    /// Makes the chosen place with this access, unless it is there.
    fn make<'a>(
        &'a self,
        wanted: &'a Wanted,
        place: &'a Place,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Checks that the place is the recorded one, and that its data can be read.
    fn verify<'a>(&'a self, recorded: &'a Recorded) -> BoxFuture<'a, Result<Found, Fault>>;

    /// Gives the place the quotas, retention and policies of the environment as they are now.
    fn update<'a>(&'a self, wanted: &'a Wanted, fence: Fence) -> BoxFuture<'a, Result<(), Fault>>;

    /// Opens or closes the place. The data stays as it is. Closing does not need data that can be read: a place that is
    /// damaged or lost is closed, too. A place that was never made can only be blocked: afterwards, no earlier job can make it.
    fn set_access<'a>(
        &'a self,
        recorded: &'a Recorded,
        access: Access,
        fence: Fence,
    ) -> BoxFuture<'a, Result<(), Fault>>;

    /// Gives out how to connect to the place with this access until this time. What was given out ends at that time, or when
    /// the place is closed or removed.
    fn connect<'a>(
        &'a self,
        recorded: &'a Recorded,
        access: Access,
        until: Timestamp,
    ) -> BoxFuture<'a, Result<Connection, Fault>>;

    /// Ends what was given out and has expired by `now`: its sessions end and its roles are dropped. Returns how many there
    /// were.
    fn expire<'a>(&'a self, now: Timestamp) -> BoxFuture<'a, Result<u64, Fault>>;

    /// Destroys the place and its data. Nothing happens if it was never made. The environment cannot get another place
    /// afterwards. What has the fingerprint of another place is not destroyed.
    fn remove<'a>(&'a self, recorded: &'a Recorded, fence: Fence) -> BoxFuture<'a, Result<(), Fault>>;
}
