//! Lifecycle actions: what a job does, and the events that tell of it.

use crate::event::EventType;
use crate::words::words;

words!(
    /// A lifecycle action: what a job does.
    Action {
        /// Provisions a registered tenant.
        Create = "create",
        /// Provisions what was added to the manifest since.
        Update = "update",
        /// Puts it in service.
        Activate = "activate",
        /// Takes it out of service.
        Suspend = "suspend",
        /// Archives it.
        Delete = "delete",
        /// Takes it out of the archive.
        Undelete = "undelete",
        /// Destroys its data and leaves a tombstone.
        Purge = "purge",
    }
);

impl Action {
    /// The event of its being asked for. The first time, a creation is asked for by a registration.
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

    /// The event of its good end.
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
