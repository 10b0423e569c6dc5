//! How long the server may be silent before its connection is given up.

use super::target::STATEMENT_TIMEOUT_SECONDS;
use std::time::Duration;

/// How long to wait for an answer: longer than the server lets a statement run. TCP notices a peer that is gone, but not one
/// that accepts statements and never answers.
pub const MAX_SILENCE: Duration = Duration::from_secs(STATEMENT_TIMEOUT_SECONDS + 5);

/// The answer, or `None` after [`MAX_SILENCE`]; then the connection must not be used any more.
pub async fn answered<T>(answer: impl Future<Output = T>) -> Option<T> {
    #[cfg(feature = "model")]
    let limit = shortened::max_silence();
    #[cfg(not(feature = "model"))]
    let limit = MAX_SILENCE;
    tokio::time::timeout(limit, answer).await.ok()
}

/// Tests that wait for silence need not wait as long as a server does.
#[cfg(feature = "model")]
pub mod shortened {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::time::Duration;

    static MILLIS: AtomicU64 = AtomicU64::new(0);

    /// From now on this process waits only this long for an answer.
    pub fn shorten_silence(to: Duration) {
        MILLIS.store(u64::try_from(to.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn max_silence() -> Duration {
        match MILLIS.load(Ordering::Relaxed) {
            0 => super::MAX_SILENCE,
            millis => Duration::from_millis(millis),
        }
    }
}
