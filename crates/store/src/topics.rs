//! Topics: hints that something is new, at once in this process and soon in the others. Who misses a hint polls.

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// What a hint is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A job may be due. One of those who wait is woken, and a hint that nobody waits for is kept for the next.
    Jobs,
    /// The log has grown. All are woken who wait; nothing is kept.
    Log,
}

impl Topic {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Jobs, Self::Log];

    /// The topic as processes tell it each other.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Log => "log",
        }
    }

    /// The topic of a word; `None` for one of another release.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
}

/// Those who wait for hints in this process.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    jobs: Notify,
    log: Notify,
}

impl Topics {
    /// Wakes those who wait for the topic.
    pub fn tell(&self, topic: Topic) {
        match topic {
            Topic::Jobs => self.jobs.notify_one(),
            Topic::Log => self.log.notify_waiters(),
        }
    }

    /// Resolves with the next hint after this call.
    pub fn notified(&self, topic: Topic) -> Notified<'_> {
        match topic {
            Topic::Jobs => self.jobs.notified(),
            Topic::Log => self.log.notified(),
        }
    }
}
