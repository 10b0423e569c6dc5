//! Lifecycle actions and their events.

use crate::event::EventType;
use crate::words::words;

words!(
    /// Lifecycle action of a job.
    Action {
        /// Provisions a registered tenant.
        Create = "create",
        /// Provisions environments that were added to the manifest.
        Update = "update",
        /// Puts a tenant in service.
        Activate = "activate",
        /// Takes a tenant out of service.
        Suspend = "suspend",
        /// Archives a tenant.
        Delete = "delete",
        /// Takes a tenant out of the archive.
        Undelete = "undelete",
        /// Destroys the data of a tenant and leaves a tombstone.
        Purge = "purge",
    }
);

impl Action {
    /// Returns the event of a request for the action. The first creation is requested by a registration instead.
    pub fn requested(self) -> EventType {
        match self {
            Self::Create => EventType::CreationRequested,
            Self::Update => EventType::TenancyUpdateRequested,
            Self::Activate => EventType::ActivationRequested,
            Self::Suspend => EventType::SuspensionRequested,
            Self::Delete => EventType::DeletionRequested,
            Self::Undelete => EventType::UndeletionRequested,
            Self::Purge => EventType::PurgeRequested,
        }
    }

    /// Returns the event of a completed action.
    pub fn done(self) -> EventType {
        match self {
            Self::Create => EventType::TenancyCreated,
            Self::Update => EventType::TenancyProvisioned,
            Self::Activate => EventType::Activated,
            Self::Suspend => EventType::Suspended,
            Self::Delete => EventType::Deleted,
            Self::Undelete => EventType::Undeleted,
            Self::Purge => EventType::Purged,
        }
    }
}
