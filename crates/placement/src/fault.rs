//! Why a place is not as it was asked to be.

/// Error of a provisioner. Its text is for people, and says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The place cannot be reached, or is in use. The same call can succeed later.
    #[error("{0}")]
    Unavailable(String),
    /// The place is not in a state in which this can be done. The same call fails until somebody changes that.
    #[error("{0}")]
    Refused(String),
    /// A later job, or a later lease of the same job, has worked on the place. The caller must stop.
    #[error("a later job has worked on this place")]
    Late,
}
