//! Work that takes long runs on threads of its own: large bodies are parsed and large lists are rendered there. The
//! threads of requests serve others meanwhile.

use std::num::NonZero;
use std::sync::{Arc, LazyLock};
use tenancy_core::Error;
use tokio::sync::Semaphore;

/// Minimum number of works that run at once. One that takes long must not delay all others.
const MIN_AT_ONCE: usize = 4;

/// Turns of works. Further works wait in order, so that they do not take all processors from the threads of requests.
static TURNS: LazyLock<Arc<Semaphore>> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
    Arc::new(Semaphore::new(cores.max(MIN_AT_ONCE)))
});

/// Runs `work` on a thread where it may take long.
///
/// # Errors
/// [`Error::Internal`] if the work panics.
pub async fn elsewhere<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Error> {
    let turn = Arc::clone(&TURNS).acquire_owned().await.map_err(|_| Error::Busy)?;
    // If the caller is cancelled, the work continues, and keeps its turn until it ends.
    let work = move || {
        let _turn = turn;
        work()
    };
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Error::Internal(format!("work on another thread was aborted: {error}")))
}
