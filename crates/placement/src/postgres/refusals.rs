//! Why a place is refused, for both kinds of places.

use super::ledger::Entry;
use crate::{Fault, Recorded};
use tenancy_core::ids::EnvironmentId;
use tenancy_core::placement::Access;

/// The place was made and does not exist.
pub fn gone(env_id: &EnvironmentId) -> Fault {
    Fault::Refused(format!("the data of environment {env_id} is gone: restore it from a backup"))
}

/// Something else has the name of the place.
pub fn foreign(env_id: &EnvironmentId, location: &str) -> Fault {
    Fault::Refused(format!("{location} was not made for environment {env_id}: rename it, then try again"))
}

/// The place was destroyed.
pub fn destroyed(env_id: &EnvironmentId) -> Fault {
    Fault::Refused(format!("the place of environment {env_id} was destroyed"))
}

/// Fails if a place was made, and not on this server.
pub fn check_known(recorded: &Recorded, entry: &Entry) -> Result<(), Fault> {
    if entry.fingerprint.is_some() || entry.is_removed || !recorded.is_made {
        return Ok(());
    }
    let env_id = &recorded.env_id;
    Err(Fault::Unavailable(format!("the server that has environment {env_id}: check the URL of the placement")))
}

/// Fails if the place does not allow this access.
pub fn check_allowed(env_id: &EnvironmentId, entry: &Entry, access: Access) -> Result<(), Fault> {
    let why = match (entry.access, access) {
        _ if entry.is_removed => return Err(destroyed(env_id)),
        (_, Access::Blocked) => "a connection without access was requested",
        (Access::Blocked, _) => "its place is blocked",
        (Access::ReadOnly, Access::Full) => "its place is read only",
        _ => return Ok(()),
    };
    Err(Fault::Refused(format!("environment {env_id} gives out no connection: {why}")))
}
