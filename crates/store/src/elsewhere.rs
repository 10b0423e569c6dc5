//! Work that takes long runs on threads of its own, so that the threads of requests serve others meanwhile.

use tenancy_core::Error;
use tokio::sync::OwnedSemaphorePermit;

/// Number of rows up to which they are converted on the calling thread: that takes less time than a hand-over.
pub const MAX_ROWS_INLINE: usize = 64;

/// Runs work on a thread where it may take long. It ends even if the caller is cancelled, and keeps the permit until
/// then.
///
/// # Errors
/// The error of the work; [`Error::Internal`] if it panics.
pub async fn elsewhere<T: Send + 'static>(
    permit: Option<OwnedSemaphorePermit>,
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    let work = move || {
        let _permit = permit;
        work()
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(Error::Internal(format!("a read was aborted: {error}"))))
}
