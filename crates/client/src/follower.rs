//! Keeps an [`AccessCache`] right: reads the snapshot of all tenants and then every change, and connects again.

use crate::cache::{AccessCache, Full};
use crate::client::{Client, jittered};
use crate::error::Error;
use crate::sse::{Event, Frame, Reader};
use serde::Deserialize;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tenancy_api::access::Access;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Maximum time until the server begins to answer.
const HEAD: Duration = Duration::from_secs(30);
/// Maximum time without a byte. The server says at least every two seconds how far it has read.
const SILENCE: Duration = Duration::from_secs(20);
/// Pauses before the next attempt: the first one, and the maximum, up to which they double.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const MAX_PAUSE: Duration = Duration::from_secs(5);
/// Pause if the server refuses the key, or has too many tenants: only a person can change that.
const REFUSED_PAUSE: Duration = Duration::from_secs(30);
/// A stream that lasted this long was no failure: the next pause is the first one again.
const GOOD: Duration = Duration::from_secs(10);

/// Path of the feed, under `/v1`.
const FEED: [&str; 2] = ["access", "events"];

/// Whether the cache follows the server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    /// No connection yet.
    Connecting,
    /// The cache is complete and follows every change.
    Following,
    /// There is no connection, for this reason. The client tries again.
    Away(String),
    /// The server refuses the key, for this reason.
    Refused(String),
}

/// The task that keeps a cache right.
#[derive(Debug)]
pub struct Follower {
    client: Client,
    cache: Arc<AccessCache>,
    link: watch::Sender<Link>,
}

/// Data of the event `end`.
#[derive(Debug, Deserialize)]
struct End {
    reason: String,
}

/// Why a stream ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error(transparent)]
    Failed(#[from] Error),
    #[error("the server ended the stream: {0}")]
    ByServer(String),
    #[error("the server sent nothing for {} seconds", .0.as_secs())]
    Silent(Duration),
    #[error(transparent)]
    Full(#[from] Full),
    #[error("{0}")]
    Unreadable(String),
}

impl Follower {
    /// Creates the task for a cache. The cache may have contents of a [`crate::SnapshotFile`].
    pub fn new(client: Client, cache: Arc<AccessCache>) -> Self {
        Self { client, cache, link: watch::Sender::new(Link::Connecting) }
    }

    /// Returns a view of the connection.
    pub fn link(&self) -> watch::Receiver<Link> {
        self.link.subscribe()
    }

    /// Follows the server until `stop` is cancelled.
    pub async fn run(self, stop: CancellationToken) {
        stop.run_until_cancelled(self.forever()).await;
    }

    async fn forever(&self) {
        let mut pause = FIRST_PAUSE;
        loop {
            let begun = Instant::now();
            let ended = match self.follow().await {
                Ok(never) => match never {},
                Err(ended) => ended,
            };
            let was_following = *self.link.borrow() == Link::Following;
            self.cache.set_current(false);
            if was_following && begun.elapsed() >= GOOD {
                pause = FIRST_PAUSE;
            }
            let wait = self.judge(&ended, pause);
            pause = (pause * 2).min(MAX_PAUSE);
            // Without random numbers the pause is not random, which is no reason to stop.
            tokio::time::sleep(jittered(wait).unwrap_or(wait)).await;
        }
    }

    /// Decides what the end of a stream means, and returns the pause before the next one.
    fn judge(&self, ended: &Ended, pause: Duration) -> Duration {
        let url = self.client.url();
        let is_of_key = match ended {
            Ended::Failed(error) => error.is_of_key(),
            Ended::ByServer(reason) => reason == "key_revoked",
            _ => false,
        };
        let was_refused = matches!(*self.link.borrow(), Link::Refused(_));
        if is_of_key {
            if !was_refused {
                tracing::error!(url, reason = %ended, "the server refuses the key; what is known is kept in memory only");
                self.cache.discard();
            }
            self.link.send_replace(Link::Refused(ended.to_string()));
            return REFUSED_PAUSE;
        }
        if let Ended::Failed(error) = ended
            && error.status() == Some(410)
        {
            let message = "the log of the server was restored or shortened: reading all tenants again";
            tracing::warn!(url, reason = %ended, "{message}");
            self.cache.discard();
            self.cache.begin_snapshot();
            self.link.send_replace(Link::Connecting);
            return FIRST_PAUSE;
        }
        if was_refused {
            // Only a stream shows that the key is valid again. Until then, nothing may be kept in a file.
            return pause;
        }
        match &*self.link.borrow() {
            Link::Away(_) => tracing::debug!(url, reason = %ended, "the server is still away"),
            _ => {
                let tenants = self.cache.tenants();
                tracing::warn!(url, reason = %ended, tenants, "does not follow the server; connecting again");
            }
        }
        self.link.send_replace(Link::Away(ended.to_string()));
        if matches!(ended, Ended::Full(_)) { REFUSED_PAUSE } else { pause }
    }

    /// Reads one stream to its end.
    async fn follow(&self) -> Result<std::convert::Infallible, Ended> {
        let cursor = self.cache.cursor();
        let opening = tokio::time::timeout(HEAD, self.client.stream(&FEED, cursor.as_deref()));
        let mut response = opening.await.map_err(|_| Ended::Silent(HEAD))??;
        if cursor.is_none() {
            self.cache.begin_snapshot();
        }
        let (mut reader, mut is_snapshot) = (Reader::default(), cursor.is_none());
        loop {
            let piece = tokio::time::timeout(SILENCE, response.chunk()).await.map_err(|_| Ended::Silent(SILENCE))?;
            let broken = |error: &reqwest::Error| Ended::Unreadable(crate::error::innermost(error));
            let Some(piece) = piece.map_err(|error| broken(&error))? else {
                return Err(Ended::Unreadable("the connection ended".to_owned()));
            };
            reader.push(&piece).map_err(|malformed| Ended::Unreadable(malformed.to_string()))?;
            while let Some(frame) = reader.take() {
                self.take(&frame, &mut is_snapshot)?;
            }
        }
    }

    fn take(&self, frame: &Frame, is_snapshot: &mut bool) -> Result<(), Ended> {
        // A comment only keeps the connection open: the server perhaps cannot read its database.
        let Frame::Event(Event { id, event, data }) = frame else { return Ok(()) };
        match event.as_str() {
            "tenant" => {
                let access: Access = serde_json::from_str(data)
                    .map_err(|error| Ended::Unreadable(format!("a tenant cannot be read: {error}")))?;
                self.cache.put(access)?;
            }
            "caught-up" if std::mem::take(is_snapshot) => self.cache.complete_snapshot(),
            "unreadable" => tracing::warn!(row = data, "the server cannot read a row"),
            "end" => {
                let reason = serde_json::from_str(data).map_or_else(|_| "unknown".to_owned(), |end: End| end.reason);
                return Err(Ended::ByServer(reason));
            }
            // `position`, and what a newer server may add.
            _ => {}
        }
        let Some(cursor) = id.as_ref().filter(|_| !*is_snapshot) else { return Ok(()) };
        // After the contents: a copy of them may be newer than its cursor, but never older.
        self.cache.advance(cursor);
        if event == "caught-up" {
            self.cache.set_current(true);
            if self.link.send_replace(Link::Following) != Link::Following {
                tracing::info!(
                    url = self.client.url(),
                    tenants = self.cache.tenants(),
                    "follows all changes of access"
                );
            }
        } else if self.cache.is_current() {
            self.cache.hear(Duration::ZERO);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn must_forget_a_refused_key_only_when_a_stream_shows_that_it_is_valid() {
        let client = Client::new("http://127.0.0.1:1", None).expect("a client");
        let follower = Follower::new(client, AccessCache::new());
        let link = follower.link();
        let pause = Duration::from_secs(1);
        assert_eq!(follower.judge(&Ended::ByServer("key_revoked".to_owned()), pause), REFUSED_PAUSE);
        assert_eq!(follower.judge(&Ended::Silent(SILENCE), pause), pause);
        assert!(matches!(*link.borrow(), Link::Refused(_)), "a network that fails says nothing about the key");
        assert_eq!(follower.cache.discards(), 1);
        let event = |event: &str| Event { id: Some("1.1".to_owned()), event: event.to_owned(), data: "{}".to_owned() };
        follower.take(&Frame::Event(event("caught-up")), &mut true).expect("read");
        assert_eq!(*link.borrow(), Link::Following);
        assert_eq!(follower.judge(&Ended::Full(Full(1)), pause), REFUSED_PAUSE);
        assert!(matches!(*link.borrow(), Link::Away(_)));
    }
}
