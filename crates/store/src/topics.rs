//! Topics of hints that something is new. Hints arrive immediately in this process and soon in other processes. A
//! process that misses a hint polls.

use tokio::sync::Notify;
use tokio::sync::futures::Notified;

/// Topic of a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Topic {
    /// A job may be due. One waiting task is woken. A hint without a waiting task is kept for the next one.
    Jobs,
    /// A delivery may be due. One waiting task is woken. A hint without a waiting task is kept for the next one.
    Deliveries,
    /// The log has grown. All waiting tasks are woken; no hint is kept.
    Log,
}

impl Topic {
    /// All topics.
    pub const ALL: [Self; 3] = [Self::Jobs, Self::Deliveries, Self::Log];

    /// Returns the name of the topic in messages between processes.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Jobs => "jobs",
            Self::Deliveries => "deliveries",
            Self::Log => "log",
        }
    }

    /// Parses a topic; `None` for an unknown one, which another release may send.
    pub(crate) fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|topic| topic.as_str() == word)
    }
}

/// Tasks of this process that wait for hints.
#[derive(Debug, Default)]
pub(crate) struct Topics {
    jobs: Notify,
    deliveries: Notify,
    log: Notify,
}

impl Topics {
    /// Wakes the tasks that wait for the topic.
    pub fn tell(&self, topic: Topic) {
        match topic {
            Topic::Jobs => self.jobs.notify_one(),
            Topic::Deliveries => self.deliveries.notify_one(),
            Topic::Log => self.log.notify_waiters(),
        }
    }

    /// Resolves with the next hint after this call.
    pub fn notified(&self, topic: Topic) -> Notified<'_> {
        match topic {
            Topic::Jobs => self.jobs.notified(),
            Topic::Deliveries => self.deliveries.notified(),
            Topic::Log => self.log.notified(),
        }
    }
}
