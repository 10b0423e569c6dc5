//! Retries of a batch: every limit, and what is done about every failure. `docs/commit-path.md` has the same as a table.

use super::fault::{Failure, Fault};
use super::target::STATEMENT_TIMEOUT_SECONDS;
use std::time::Duration;
use tenancy_core::Error;
use tokio::time::Instant;

/// How long a batch is retried while nothing of it can have been committed.
const MAX_TIME: Duration = Duration::from_secs(2);
/// How long a batch is retried whose outcome is unknown.
const MAX_TIME_UNKNOWN: Duration = Duration::from_secs(8);
/// How long a batch waits for locks before its members run alone.
const MAX_TIME_LOCKED: Duration = Duration::from_secs(5);
/// How long a batch waits for the commits of other processes. No member is the cause of that, so the members never run alone:
/// each would be one more slow commit for which all others wait.
const MAX_TIME_CROWDED: Duration = MAX_TIME_ALONE;
/// How long the members of a batch run alone while all other batches wait; members that have not run by then are refused.
/// It is longer than one statement may take, so that a slow member does not use up the time of those behind it.
pub const MAX_TIME_ALONE: Duration = Duration::from_secs(STATEMENT_TIMEOUT_SECONDS + 5);
/// How often a batch runs as a whole before its members run alone.
const MAX_TRIES_TOGETHER: u32 = 2;
/// How often a member runs alone.
const MAX_TRIES_ALONE: u32 = 8;
/// The pause before connecting again; it grows by this much with each failure.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest pause, as a multiple of [`PAUSE`].
const MAX_PAUSES: u32 = 10;

/// What a batch has been through. When its members run alone, each of them continues from there.
#[derive(Clone, Copy)]
pub struct RetryState {
    began: Instant,
    tries: u32,
    /// It ran before: its receipts are looked for.
    pub again: bool,
    /// A COMMIT of it may have come through, or may still do so.
    pub unknown: bool,
    /// It waits for locks as long as possible: those that hold them will soon let go of them.
    pub patient: bool,
}

/// What is done about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Read what the batch was presumed to find, and run it again. This is not counted as a try.
    Read,
    /// Run it again on a new connection, after a pause.
    Reconnect(Duration),
    /// Run it again.
    Rerun,
    /// Run each member alone, so that only the member that causes the failure is refused.
    Alone,
    /// Let it wait in the lane beside, with the members that come for its tenants.
    SetAside,
    /// Refuse every member.
    Refuse,
}

impl RetryState {
    /// Of a batch that has not run.
    pub fn new() -> Self {
        Self { began: Instant::now(), tries: 0, again: false, unknown: false, patient: false }
    }

    /// Of a batch that may have run before, but is not in doubt.
    pub fn again() -> Self {
        Self { again: true, ..Self::new() }
    }

    /// Of a batch that was sent behind one that failed, and failed with it.
    pub fn sent_in_vain(unknown: bool) -> Self {
        Self { again: true, unknown, ..Self::new() }
    }

    /// The same with its time starting now: the batch before it may have taken long.
    pub fn starting_now(self) -> Self {
        Self { began: Instant::now(), ..self }
    }

    /// Of one member that runs alone: what is unknown of the batch is unknown of each member.
    pub fn alone(self) -> Self {
        Self { tries: 0, ..self }
    }

    /// What is done after a run that failed, of this many members.
    pub fn after(&mut self, failure: &Failure, presumed: bool, members: usize) -> Step {
        if failure.unknown && !self.unknown {
            // There is time to find out, however late the connection was lost.
            *self = Self { unknown: true, ..Self::new() };
        }
        self.again = true;
        if presumed && matches!(failure.fault, Fault::Again | Fault::Final) {
            return Step::Read;
        }
        // A wait for other processes is not a try: it shows nothing about the members, and its limit is a time. Where the row
        // was released just before its holder was asked for, the wait shows as `Hidden`, and the next run has to find out.
        self.tries = if failure.fault == Fault::Crowded { 0 } else { self.tries + 1 };
        self.patient = matches!(failure.fault, Fault::Locked | Fault::Crowded);
        match failure.fault {
            Fault::Lost | Fault::Stale if self.may_connect() => Step::Reconnect(PAUSE * self.tries.min(MAX_PAUSES)),
            Fault::Lost | Fault::Stale => Step::Refuse,
            Fault::Again | Fault::Hidden if self.tries < MAX_TRIES_TOGETHER => Step::Rerun,
            Fault::Hidden if members == 1 && !self.unknown => Step::SetAside,
            Fault::Crowded if self.began.elapsed() < MAX_TIME_CROWDED => Step::Rerun,
            Fault::Crowded => Step::Refuse,
            Fault::Locked if self.began.elapsed() < MAX_TIME_LOCKED => Step::Rerun,
            _ if members > 1 => Step::Alone,
            Fault::Again | Fault::Locked | Fault::Slow if self.tries < MAX_TRIES_ALONE && self.has_time() => {
                Step::Rerun
            }
            Fault::Again | Fault::Locked | Fault::Hidden | Fault::Slow => Step::Refuse,
            Fault::Full | Fault::Final => Step::Refuse,
        }
    }

    fn has_time(&self) -> bool {
        self.began.elapsed() < if self.unknown { MAX_TIME_UNKNOWN } else { MAX_TIME }
    }

    /// Once in any case: it can take longer than all limits here until a lost connection is noticed, and a new one may be
    /// there at once.
    fn may_connect(&self) -> bool {
        self.tries <= 1 || self.has_time()
    }
}

/// The error that a refused member is answered with.
pub fn refusal(fault: Fault, unknown: bool, what: &str) -> Error {
    match fault {
        _ if unknown => Error::OutcomeUnknown,
        Fault::Lost | Fault::Stale | Fault::Full => Error::Unavailable,
        Fault::Again | Fault::Locked | Fault::Crowded | Fault::Hidden | Fault::Slow => Error::Busy,
        Fault::Final => Error::Internal(format!("PostgreSQL: {what}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(fault: Fault) -> Failure {
        Failure::of_ours(fault, String::new())
    }

    /// The first steps after the same failure again and again, while no time passes.
    fn steps(fault: Fault, members: usize, count: usize) -> Vec<Step> {
        let mut state = RetryState::new();
        (0..count).map(|_| state.after(&failure(fault), false, members)).collect()
    }

    #[test]
    fn must_do_about_each_failure_what_the_table_says() {
        let pause = |tries: u32| Step::Reconnect(PAUSE * tries);
        assert_eq!(steps(Fault::Again, 5, 2), [Step::Rerun, Step::Alone]);
        for at_once in [Fault::Slow, Fault::Full, Fault::Final] {
            assert_eq!(steps(at_once, 5, 1), [Step::Alone], "{at_once:?}");
        }
        assert_eq!(steps(Fault::Again, 1, 8), [vec![Step::Rerun; 7], vec![Step::Refuse]].concat());
        assert_eq!(steps(Fault::Slow, 1, 8), [vec![Step::Rerun; 7], vec![Step::Refuse]].concat());
        assert_eq!(steps(Fault::Full, 1, 1), [Step::Refuse]);
        assert_eq!(steps(Fault::Final, 1, 1), [Step::Refuse]);
        for members in [1, 5] {
            assert_eq!(steps(Fault::Lost, members, 2), [pause(1), pause(2)]);
            assert_eq!(steps(Fault::Stale, members, 12)[11], pause(MAX_PAUSES));
            for waits in [Fault::Locked, Fault::Crowded] {
                assert_eq!(steps(waits, members, 9), [Step::Rerun; 9]);
            }
        }
        assert_eq!(steps(Fault::Hidden, 5, 2), [Step::Rerun, Step::Alone]);
        assert_eq!(steps(Fault::Hidden, 1, 2), [Step::Rerun, Step::SetAside]);
    }

    #[test]
    fn must_not_count_a_wait_for_other_processes_as_a_try() {
        let mut state = RetryState::new();
        for fault in [Fault::Crowded, Fault::Hidden, Fault::Crowded, Fault::Again, Fault::Crowded] {
            assert_eq!(state.after(&failure(fault), false, 60), Step::Rerun, "{fault:?}");
        }
        assert_eq!(state.after(&failure(Fault::Hidden), false, 60), Step::Rerun);
        assert_eq!(state.after(&failure(Fault::Hidden), false, 60), Step::Alone);
    }

    #[test]
    fn must_read_what_was_presumed_before_a_try_is_counted() {
        let mut state = RetryState::new();
        assert_eq!(state.after(&failure(Fault::Final), true, 1), Step::Read);
        assert_eq!((state.tries, state.again), (0, true));
        assert_eq!(state.after(&failure(Fault::Full), true, 1), Step::Refuse);
    }

    #[test]
    fn must_give_up_in_time_and_later_where_the_outcome_is_unknown() {
        let steps = |fault: Fault, began: Duration| {
            let mut state = RetryState::new();
            state.began -= began;
            [(); 2].map(|()| state.after(&failure(fault), false, 2))
        };
        assert_eq!(steps(Fault::Lost, MAX_TIME), [Step::Reconnect(PAUSE), Step::Refuse]);
        assert_eq!(steps(Fault::Locked, MAX_TIME_LOCKED), [Step::Alone; 2]);
        assert_eq!(steps(Fault::Crowded, MAX_TIME_LOCKED), [Step::Rerun; 2]);
        assert_eq!(steps(Fault::Crowded, MAX_TIME_CROWDED), [Step::Refuse; 2], "no member is the cause");
        let mut state = RetryState::new();
        state.began -= MAX_TIME;
        assert_eq!(state.after(&Failure::silence(true), false, 2), Step::Reconnect(PAUSE), "its time begins");
        state.began -= MAX_TIME;
        assert_eq!(state.after(&Failure::silence(true), false, 2), Step::Reconnect(2 * PAUSE));
        state.began -= MAX_TIME_UNKNOWN;
        assert_eq!(state.after(&failure(Fault::Lost), false, 2), Step::Refuse);
        assert_eq!(refusal(Fault::Lost, state.unknown, "x"), Error::OutcomeUnknown);
    }
}
