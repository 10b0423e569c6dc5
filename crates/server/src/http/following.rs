//! Following of the log by one request: the batches, a check of its key every few seconds, and why it ends.

use super::server::Server;
use crate::authentication::{Denied, Requirement};
use crate::feed::{Batch, Ended, Follower, StreamSeat};
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tokio::time::{Instant, sleep_until};

/// Interval at which the key of a request that follows events is looked up again.
const CHECK_EVERY: Duration = Duration::from_secs(2);

/// Why a stream of events ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndReason {
    /// The server stops. Connect again.
    Stopping,
    /// The client reads more slowly than events are committed.
    TooSlow,
    /// The key was revoked, has expired, or its token was replaced.
    KeyRevoked,
    /// Events after the cursor are no longer kept, or the database was restored to an earlier time.
    CursorExpired,
}

impl EndReason {
    /// Returns the word of the reason.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stopping => "stopping",
            Self::TooSlow => "too_slow",
            Self::KeyRevoked => "key_revoked",
            Self::CursorExpired => "cursor_expired",
        }
    }
}

impl From<Ended> for EndReason {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::TooSlow => Self::TooSlow,
            Ended::Expired => Self::CursorExpired,
            Ended::Stopping => Self::Stopping,
        }
    }
}

/// What happens next on a stream.
#[derive(Debug)]
pub enum Step {
    /// Events were committed.
    Batch(Arc<Batch>),
    /// The time is over.
    Quiet,
    /// The stream ends.
    Ended(EndReason),
}

/// The key of a request that goes on for long.
pub struct KeyCheck {
    server: Arc<Server>,
    digest: String,
    requirement: Requirement,
    due: Instant,
    _seat: StreamSeat,
}

impl KeyCheck {
    /// Creates the check of a token that was just looked up. The request keeps its seat as long as the check lives.
    pub fn new(server: Arc<Server>, digest: String, requirement: Requirement, seat: StreamSeat) -> Self {
        Self { server, digest, requirement, due: Instant::now() + CHECK_EVERY, _seat: seat }
    }

    /// Returns the state of the server.
    pub fn server(&self) -> &Arc<Server> {
        &self.server
    }

    /// Looks the key up again.
    ///
    /// # Errors
    /// The error of a key that is no longer valid. If the database does not answer, the key counts as valid: nothing
    /// can be read then either.
    pub async fn check(&mut self) -> Result<(), Error> {
        self.due = Instant::now() + CHECK_EVERY;
        let (server, requirement) = (&self.server, self.requirement);
        match server.authentication.look_up(&server.tenancy, &self.digest, requirement).await {
            Err(Denied { error: error @ (Error::InvalidToken | Error::Forbidden(_)), .. }) => Err(error),
            _ => Ok(()),
        }
    }

    /// Returns why the request must end now, if it must. Looks the key up if that is due.
    pub async fn ended(&mut self) -> Option<EndReason> {
        if self.server.stop.is_cancelled() {
            return Some(EndReason::Stopping);
        }
        if Instant::now() < self.due {
            return None;
        }
        self.check().await.is_err().then_some(EndReason::KeyRevoked)
    }

    /// Waits for the next events, until a time.
    pub async fn next(&mut self, follower: &mut Follower, until: Instant) -> Step {
        loop {
            if let Some(reason) = self.ended().await {
                return Step::Ended(reason);
            }
            let wake = until.min(self.due);
            tokio::select! {
                biased;
                () = self.server.stop.cancelled() => return Step::Ended(EndReason::Stopping),
                next = follower.next() => {
                    return next.map_or_else(|ended| Step::Ended(ended.into()), Step::Batch);
                }
                () = sleep_until(wake) => {
                    if wake == until {
                        return Step::Quiet;
                    }
                }
            }
        }
    }
}
