//! Faults, and the messages at which they occur.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::frontend::Message;

/// Effect on the message at which a fault fires.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    CutBefore,
    CutAfter,
    CutDeliverLater(Duration),
    Garble,
    Delay(Duration),
    DelayAnswer(Duration),
}

type Filter = Arc<dyn Fn(&Message) -> bool + Send + Sync>;

/// One fault: its effect, and the message at which it fires. Counting starts when it is [armed](super::Proxy::arm). It
/// fires at the next message, unless [`when`](Self::when) or [`nth`](Self::nth) say otherwise, and it fires once,
/// unless it is [`repeated`](Self::repeated).
#[derive(Clone)]
pub struct Fault {
    pub(super) trigger: Trigger,
    pub(super) effect: Effect,
    repeated: bool,
}

#[derive(Clone)]
pub(super) enum Trigger {
    Message { filter: Filter, nth: u64 },
    Bytes(u64),
}

impl Fault {
    fn new(effect: Effect) -> Self {
        let trigger = Trigger::Message { filter: Arc::new(|_| true), nth: 1 };
        Self { trigger, effect, repeated: false }
    }

    /// Cuts the connection; the message never reaches the server. The client sees the cut after the server has
    /// processed all earlier messages, closed the connection, and so rolled back.
    #[must_use]
    pub fn cut_before() -> Self {
        Self::new(Effect::CutBefore)
    }

    /// Delivers the message, then cuts the connection; no answer reaches the client from then on. The client sees the
    /// cut after the server has processed everything that was sent and closed the connection: the effect of the message
    /// is visible.
    #[must_use]
    pub fn cut_after() -> Self {
        Self::new(Effect::CutAfter)
    }

    /// Cuts the client's side immediately. The server gets the message, and the messages that arrived with it, only
    /// `later`, when the client may already have reconnected.
    #[must_use]
    pub fn cut_and_deliver(later: Duration) -> Self {
        Self::new(Effect::CutDeliverLater(later))
    }

    /// Cuts the connection after this many more bytes from clients, probably inside a message. `when` and `nth` do not
    /// apply.
    #[must_use]
    pub fn cut_after_bytes(bytes: u64) -> Self {
        Self { trigger: Trigger::Bytes(bytes), effect: Effect::CutBefore, repeated: false }
    }

    /// Replaces the text of the message by one that the server cannot parse: only this statement fails. For a simple
    /// query; other messages have no text.
    #[must_use]
    pub fn garble() -> Self {
        Self::new(Effect::Garble)
    }

    /// Delays the message and all messages behind it: a slow commit that holds locks.
    #[must_use]
    pub fn delay(by: Duration) -> Self {
        Self::new(Effect::Delay(by))
    }

    /// Delivers the message, and delays all answers from then on.
    #[must_use]
    pub fn delay_answer(by: Duration) -> Self {
        Self::new(Effect::DelayAnswer(by))
    }

    /// Counts only messages that match.
    #[must_use]
    pub fn when(mut self, matches: impl Fn(&Message) -> bool + Send + Sync + 'static) -> Self {
        if let Trigger::Message { filter, .. } = &mut self.trigger {
            *filter = Arc::new(matches);
        }
        self
    }

    /// Fires at the n-th message, from 1.
    #[must_use]
    pub fn nth(mut self, n: u64) -> Self {
        assert!(n > 0, "messages are counted from 1");
        if let Trigger::Message { nth, .. } = &mut self.trigger {
            *nth = n;
        }
        self
    }

    /// Fires at every message from then on, until it is disarmed. A cut by bytes cannot be repeated.
    #[must_use]
    pub fn repeated(mut self) -> Self {
        self.repeated = true;
        self
    }
}

impl fmt::Debug for Fault {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = formatter.debug_struct("Fault");
        match &self.trigger {
            Trigger::Message { nth, .. } => shown.field("nth", nth),
            Trigger::Bytes(bytes) => shown.field("bytes", bytes),
        };
        shown.field("effect", &self.effect).field("repeated", &self.repeated).finish()
    }
}

/// An armed fault. It counts how often it has fired.
#[derive(Clone, Debug)]
pub struct Armed {
    fired: watch::Receiver<u64>,
}

impl Armed {
    /// Number of times it has fired.
    #[must_use]
    pub fn fired(&self) -> u64 {
        *self.fired.borrow()
    }

    /// Waits until it has fired. Waits forever if it is disarmed before.
    pub async fn wait(&self) {
        let mut fired = self.fired.clone();
        if fired.wait_for(|times| *times > 0).await.is_err() {
            std::future::pending().await
        }
    }
}

/// A fault and its counter.
#[derive(Debug)]
pub(super) struct Counting {
    fault: Fault,
    seen: u64,
    fired: watch::Sender<u64>,
}

impl Counting {
    pub(super) fn new(fault: Fault) -> (Self, Armed) {
        let (sender, receiver) = watch::channel(0);
        (Self { fault, seen: 0, fired: sender }, Armed { fired: receiver })
    }

    pub(super) fn is_spent(&self) -> bool {
        !self.fault.repeated && *self.fired.borrow() > 0
    }

    /// Counts a message. Returns the effect if the fault fires.
    pub(super) fn message(&mut self, message: &Message) -> Option<Effect> {
        let Trigger::Message { filter, nth } = &self.fault.trigger else {
            return None;
        };
        if self.is_spent() || !filter(message) {
            return None;
        }
        self.seen += 1;
        if self.seen < *nth {
            return None;
        }
        self.fired.send_modify(|times| *times += 1);
        Some(self.fault.effect)
    }

    /// Counts bytes before they are forwarded. Returns how many may be forwarded if the fault fires.
    pub(super) fn bytes(&mut self, bytes: u64) -> Option<u64> {
        let Trigger::Bytes(limit) = self.fault.trigger else {
            return None;
        };
        if self.is_spent() {
            return None;
        }
        let left = limit - self.seen;
        self.seen += bytes.min(left);
        if bytes < left {
            return None;
        }
        self.fired.send_modify(|times| *times += 1);
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: char) -> Message {
        Message { number: 1, connection: 1, application: Arc::from(""), kind, sql: None, length_bytes: 5 }
    }

    #[test]
    fn only_matching_messages_must_count_and_the_nth_fire_once() {
        let fault = Fault::cut_after().when(|message| message.kind == 'E').nth(2);
        let (mut counting, armed) = Counting::new(fault);
        let fires = ['E', 'S', 'E', 'E'].map(|kind| counting.message(&message(kind)).is_some());
        assert_eq!(fires, [false, false, true, false]);
        assert_eq!(armed.fired(), 1);
    }

    #[test]
    fn a_repeated_fault_must_fire_from_the_nth_on() {
        let (mut counting, armed) = Counting::new(Fault::delay(Duration::ZERO).nth(2).repeated());
        let fires = [(); 4].map(|()| counting.message(&message('Q')).is_some());
        assert_eq!(fires, [false, true, true, true]);
        assert_eq!(armed.fired(), 3);
    }

    #[test]
    fn bytes_must_pass_until_the_limit() {
        let (mut counting, _) = Counting::new(Fault::cut_after_bytes(10));
        assert_eq!([4, 4, 4, 4].map(|bytes| counting.bytes(bytes)), [None, None, Some(2), None]);
    }
}
