//! Lanes: what limits the requests to one webhook. A lane counts failures, stops sending when there are too many, and tries
//! one delivery from time to time.

use crate::ids::WebhookId;
use jiff::{SignedDuration, Timestamp};
use std::time::Duration;

/// Number of failures in a row after which a webhook gets no requests for a while.
pub const FAILURES_UNTIL_OPEN: i64 = 5;
/// First pause after that many failures.
const FIRST_PAUSE: Duration = Duration::from_secs(30);
/// Longest pause between two tries of a webhook that fails.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// Shares of the time after which a webhook is disabled at which a warning is due, as percentages.
pub const WARNINGS: [i64; 3] = [50, 70, 90];

/// What a change of the webhook, or a request about it, adds to the number of wakes; a new delivery adds 1. A process that
/// has the lane thereby knows that it has to read the webhook again.
pub const CHANGE: i64 = 1 << 32;

/// A row of `webhook_lanes`: the deliveries of one webhook, which one process at a time sends. What limits the requests to
/// a webhook is therefore in one place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lane {
    /// The webhook.
    pub webhook_id: WebhookId,
    /// When a process should take the lane; the end of the lease while one has it. `None`: nothing waits.
    pub due_at: Option<Timestamp>,
    /// Number of times that something became due, and [`CHANGE`] for each change. A process that returns the lane compares
    /// it.
    pub wakes: i64,
    /// Process that has the lane.
    pub lease_holder: Option<String>,
    /// Number of the lease; outcomes are written only under the current one.
    pub lease_epoch: i64,
    /// Number of attempts that failed since the last success.
    pub failures: i64,
    /// Until when the webhook gets no requests because too many failed.
    pub open_until: Option<Timestamp>,
    /// Time of the first failure since the last success.
    pub failing_since: Option<Timestamp>,
    /// Last warning about the failures, as a percentage of the time after which the webhook is disabled.
    pub warned: i64,
    /// Time of the last success.
    pub last_success_at: Option<Timestamp>,
    /// Time of the last failure.
    pub last_failure_at: Option<Timestamp>,
    /// The last failure: an HTTP status or a code.
    pub last_failure: Option<String>,
    /// Change of the webhook that the counts above belong to. After a later change they start again.
    pub seen_at: Option<Timestamp>,
    /// Position up to which events are sent again, if they are.
    pub replay_position: Option<i64>,
    /// Last position to send again.
    pub replay_to: Option<i64>,
    /// Whether only events are sent again that were not delivered.
    pub replay_undelivered: bool,
    /// Whether sending again is paused.
    pub replay_paused: bool,
}

/// What a lane may send now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// As much as its other limits allow.
    Closed,
    /// One delivery, whose result decides.
    HalfOpen,
    /// Nothing until this time.
    Open(Timestamp),
}

/// What the failures of a webhook lead to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consequence {
    /// Its owner is warned: this percentage of the time is over after which it is disabled.
    Warn(i64),
    /// It is disabled.
    Disable,
}

impl Lane {
    /// Creates the lane of a webhook that had no delivery yet.
    pub fn new(webhook_id: WebhookId) -> Self {
        Self {
            webhook_id,
            due_at: None,
            wakes: 0,
            lease_holder: None,
            lease_epoch: 0,
            failures: 0,
            open_until: None,
            failing_since: None,
            warned: 0,
            last_success_at: None,
            last_failure_at: None,
            last_failure: None,
            seen_at: None,
            replay_position: None,
            replay_to: None,
            replay_undelivered: false,
            replay_paused: false,
        }
    }

    /// Returns what may be sent now.
    pub fn gate(&self, now: Timestamp) -> Gate {
        match self.open_until {
            Some(until) if until > now => Gate::Open(until),
            _ if self.failures >= FAILURES_UNTIL_OPEN => Gate::HalfOpen,
            _ => Gate::Closed,
        }
    }

    /// Counts a delivery that was accepted.
    pub fn succeeded(&mut self, now: Timestamp) {
        (self.failures, self.warned) = (0, 0);
        (self.open_until, self.failing_since) = (None, None);
        self.last_success_at = Some(now);
    }

    /// Counts a failure. `pause` is the time for which the receiver asked to get no requests.
    pub fn failed(&mut self, now: Timestamp, what: String, pause: Option<Duration>) {
        self.failures = self.failures.saturating_add(1);
        self.failing_since = self.failing_since.or(Some(now));
        (self.last_failure_at, self.last_failure) = (Some(now), Some(what));
        let own = (self.failures >= FAILURES_UNTIL_OPEN).then(|| {
            let doublings = u32::try_from(self.failures - FAILURES_UNTIL_OPEN).unwrap_or(u32::MAX).min(16);
            (FIRST_PAUSE * 2_u32.pow(doublings)).min(LONGEST_PAUSE)
        });
        let until = own.max(pause).and_then(|pause| now.checked_add(pause).ok());
        self.open_until = self.open_until.max(until);
    }

    /// Forgets what failed before the webhook was changed or enabled.
    pub fn begin_again(&mut self, changed_at: Timestamp) {
        if self.seen_at == Some(changed_at) {
            return;
        }
        (self.failures, self.warned, self.seen_at) = (0, 0, Some(changed_at));
        (self.open_until, self.failing_since) = (None, None);
    }

    /// Returns what follows from nothing but failures for so long, if anything. A warning is returned once.
    pub fn consequence(&mut self, now: Timestamp, disabled_after: Duration) -> Option<Consequence> {
        let since = self.failing_since?;
        let passed = u64::try_from(now.duration_since(since).as_secs()).unwrap_or(0);
        let percent = i64::try_from(passed.saturating_mul(100) / disabled_after.as_secs().max(1)).unwrap_or(i64::MAX);
        if percent >= 100 {
            return Some(Consequence::Disable);
        }
        let due = WARNINGS.into_iter().rev().find(|warning| *warning <= percent && *warning > self.warned)?;
        self.warned = due;
        Some(Consequence::Warn(due))
    }
}

/// Token bucket: at most so many requests per second, and as many at once.
#[derive(Debug, Clone, PartialEq)]
pub struct Bucket {
    per_second: i64,
    /// Microseconds of credit: one request costs a second divided by the rate.
    credit: i64,
    at: Timestamp,
}

const SECOND: i64 = 1_000_000;

impl Bucket {
    /// Creates a full bucket.
    pub fn new(per_second: i64, now: Timestamp) -> Self {
        Self { per_second: per_second.max(1), credit: SECOND, at: now }
    }

    /// Whether it is full at this time, like a new one.
    pub fn is_full(&self, now: Timestamp) -> bool {
        self.credit.saturating_add(now.as_microsecond().saturating_sub(self.at.as_microsecond())) >= SECOND
    }

    /// Sets another rate.
    pub fn set_rate(&mut self, per_second: i64) {
        self.per_second = per_second.max(1);
    }

    /// Takes a token, or returns when there is one.
    ///
    /// # Errors
    /// The time of the next token.
    pub fn take(&mut self, now: Timestamp) -> Result<(), Timestamp> {
        let passed = now.as_microsecond().saturating_sub(self.at.as_microsecond()).max(0);
        self.credit = self.credit.saturating_add(passed).min(SECOND);
        self.at = now;
        let cost = SECOND / self.per_second;
        if self.credit >= cost {
            self.credit -= cost;
            return Ok(());
        }
        Err(now.checked_add(SignedDuration::from_micros(cost - self.credit)).unwrap_or(Timestamp::MAX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).expect("in range")
    }

    fn lane() -> Lane {
        Lane::new(WebhookId::known("whk_1"))
    }

    #[test]
    fn must_stop_after_failures_in_a_row_then_try_one_and_resume_after_a_success() {
        let mut lane = lane();
        for second in 0..FAILURES_UNTIL_OPEN {
            assert_eq!(lane.gate(at(second)), Gate::Closed);
            lane.failed(at(second), "500".to_owned(), None);
        }
        assert_eq!(lane.gate(at(5)), Gate::Open(at(34)));
        assert_eq!(lane.gate(at(34)), Gate::HalfOpen);
        lane.failed(at(34), "500".to_owned(), None);
        assert_eq!(lane.gate(at(35)), Gate::Open(at(94)), "the pause doubles");
        lane.succeeded(at(94));
        assert_eq!(lane.gate(at(94)), Gate::Closed);
        for _ in 0..100 {
            lane.failed(at(100), "500".to_owned(), None);
        }
        assert_eq!(lane.gate(at(100)), Gate::Open(at(700)), "no pause is longer than ten minutes");
    }

    #[test]
    fn must_pause_for_as_long_as_the_receiver_asks() {
        let mut lane = lane();
        lane.failed(at(0), "429".to_owned(), Some(Duration::from_secs(90)));
        assert_eq!(lane.gate(at(89)), Gate::Open(at(90)));
        assert_eq!(lane.gate(at(90)), Gate::Closed);
    }

    #[test]
    fn must_warn_three_times_then_disable_and_start_again_after_a_success_or_a_change() {
        let (mut lane, after) = (lane(), Duration::from_secs(100));
        let mut told = Vec::new();
        for second in 0..=100 {
            lane.failed(at(second), "500".to_owned(), None);
            told.extend(lane.consequence(at(second), after).map(|what| (second, what)));
        }
        let warn = Consequence::Warn;
        assert_eq!(told, [(50, warn(50)), (70, warn(70)), (90, warn(90)), (100, Consequence::Disable)]);
        lane.begin_again(at(101));
        assert_eq!((lane.consequence(at(101), after), lane.gate(at(101))), (None, Gate::Closed));
        lane.failed(at(102), "500".to_owned(), None);
        lane.begin_again(at(101));
        assert_eq!(lane.failures, 1, "the same change is no new beginning");
        lane.failed(at(190), "500".to_owned(), None);
        assert_eq!(lane.consequence(at(199), after), Some(warn(90)), "the highest that is due");
        lane.succeeded(at(200));
        assert_eq!(lane.consequence(at(500), after), None);
    }

    #[test]
    fn must_allow_as_many_requests_as_the_rate_says_and_no_more() {
        let mut bucket = Bucket::new(10, at(0));
        assert_eq!((0..20).filter(|_| bucket.take(at(0)).is_ok()).count(), 10);
        let next = bucket.take(at(0)).expect_err("empty");
        assert_eq!(next, at(0) + SignedDuration::from_millis(100));
        assert_eq!(bucket.take(next), Ok(()));
        let sent: usize = (1..=60).map(|second| (0..20).filter(|_| bucket.take(at(second)).is_ok()).count()).sum();
        // The second of the first request after the pause has one token less.
        assert_eq!(sent, 599);
    }
}
