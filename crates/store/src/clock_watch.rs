//! Watches the clock for jumps: the database's time is compared with the monotonic clock of this process, and once with
//! the newest batch of the log.
//!
//! For an hour after a jump nothing is removed because its time is over: the time may be wrong, and what was removed is
//! gone when it is put right. Work that is due by order stays due after the clock was set back.

#[cfg(feature = "model")]
use crate::Engine;
use crate::Store;
use crate::list::corrupt;
use crate::rows::{Field as _, Type};
use crate::sql::Sql;
use jiff::SignedDuration;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tenancy_core::{Error, Timestamp};

/// Smallest difference that is a jump. Clocks are adjusted by less all the time.
const MIN_JUMP: SignedDuration = SignedDuration::from_secs(60);
/// Time after a jump in which nothing is removed.
pub const CAUTIOUS_FOR: Duration = Duration::from_hours(1);

/// A jump of the clock in the last hour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClockJump {
    /// By how much the clock moved; negative if it was set back.
    pub by: SignedDuration,
    /// Time at which the jump was noticed, by the new time.
    pub noticed_at: Timestamp,
    /// How long ago that was, by the monotonic clock.
    pub age: Duration,
}

impl std::fmt::Display for ClockJump {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (by, way) = (self.by.as_secs_f64().abs().round(), if self.by.is_negative() { "back" } else { "forward" });
        let minutes = (CAUTIOUS_FOR.saturating_sub(self.age)).as_secs().div_ceil(60);
        write!(
            f,
            "the clock jumped {way} by {by} s (noticed at {}): what has expired is not removed for another {minutes} \
             min; check the clock of this machine and of the database",
            self.noticed_at
        )
    }
}

/// What claiming jobs must consider after a jump.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Caution {
    /// The clock was set back by so much so recently that times from before may lie in the future.
    pub was_set_back: bool,
    /// Time since the newest jump.
    pub since_jump: Option<Duration>,
}

/// The watch of one process.
#[derive(Default)]
pub struct ClockWatch(Mutex<Watched>);

#[derive(Default)]
struct Watched {
    last: Option<(Timestamp, Instant)>,
    jump: Option<(SignedDuration, Timestamp, Instant)>,
    /// Until then, times from before the clock was set back may lie in the future.
    set_back_until: Option<Instant>,
}

impl Watched {
    fn jumped(&mut self, by: SignedDuration, now: Timestamp, at: Instant) {
        self.jump = Some((by, now, at));
        if by.is_negative() {
            let until = at + by.unsigned_abs();
            self.set_back_until = Some(self.set_back_until.map_or(until, |before| before.max(until)));
        }
        tracing::warn!(
            seconds = by.as_secs(),
            "the clock jumped: what has expired is not removed for an hour; check the clock of this machine and of the \
             database"
        );
    }
}

impl ClockWatch {
    fn watched(&self) -> MutexGuard<'_, Watched> {
        // After a panic the values are still valid.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Compares the two clocks since the last call.
    fn observe(&self, now: Timestamp, at: Instant) -> MutexGuard<'_, Watched> {
        let mut watched = self.watched();
        if let Some((then, since)) = watched.last {
            let passed = SignedDuration::try_from(at.saturating_duration_since(since)).unwrap_or(SignedDuration::MAX);
            let by = now.duration_since(then).saturating_sub(passed);
            if by.abs() > MIN_JUMP {
                watched.jumped(by, now, at);
            }
        }
        // Of two concurrent callers, the one that read the clocks first may come second.
        if watched.last.is_none_or(|(_, since)| since <= at) {
            watched.last = Some((now, at));
        }
        watched
    }
}

impl Store {
    /// Returns the monotonic time of this process.
    fn instant(&self) -> Instant {
        let at = Instant::now();
        #[cfg(feature = "model")]
        let at = self.shift.of_instant(at);
        at
    }

    /// Looks at the clock, and returns its newest jump if that was in the last hour. Nothing may be removed then
    /// because its time is over.
    pub fn clock_jump(&self) -> Option<ClockJump> {
        let at = self.instant();
        let watched = self.clock_watch.observe(self.now(), at);
        let (by, noticed_at, noticed) = watched.jump?;
        let age = at.saturating_duration_since(noticed);
        (age < CAUTIOUS_FOR).then_some(ClockJump { by, noticed_at, age })
    }

    /// Looks at the clock, and returns what claiming jobs must consider.
    pub(crate) fn caution(&self) -> Caution {
        let at = self.instant();
        let watched = self.clock_watch.observe(self.now(), at);
        Caution {
            was_set_back: watched.set_back_until.is_some_and(|until| at < until),
            since_jump: watched.jump.map(|(.., noticed)| at.saturating_duration_since(noticed)),
        }
    }

    /// Compares the clock with the newest batch of the log: the clock was set back while no process was running if the
    /// log has a later time. Call it once at the start.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn compare_clock_with_log(&self) -> Result<(), Error> {
        #[cfg(feature = "model")]
        if matches!(self.engine, Engine::Model(_)) {
            return Ok(());
        }
        let text = "SELECT committed_at FROM log_batches ORDER BY last_position DESC LIMIT 1";
        let row = self.rows(Sql::new(self.dialect(), text), vec![Type::Time]).await?.pop();
        let newest = row.into_iter().flatten().next().map(Timestamp::take).transpose().map_err(corrupt)?;
        let (now, at) = (self.now(), self.instant());
        let by = now.duration_since(newest.unwrap_or(now));
        if by < -MIN_JUMP {
            self.clock_watch.watched().jumped(by, now, at);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A watch and the two clocks that it compares, in seconds.
    struct Rig {
        watch: ClockWatch,
        start: Instant,
        wall: i64,
        monotonic: u64,
    }

    impl Rig {
        fn new() -> Self {
            Self { watch: ClockWatch::default(), start: Instant::now(), wall: 1_000_000, monotonic: 0 }
        }

        fn pass(&mut self, wall: i64, monotonic: u64) -> Option<i64> {
            (self.wall, self.monotonic) = (self.wall + wall, self.monotonic + monotonic);
            let before = self.watch.watched().jump;
            let now = Timestamp::from_second(self.wall).expect("in range");
            let watched = self.watch.observe(now, self.start + Duration::from_secs(self.monotonic));
            watched.jump.filter(|jump| Some(*jump) != before).map(|(by, ..)| by.as_secs())
        }
    }

    #[test]
    fn must_notice_a_jump_of_more_than_a_minute_and_nothing_less() {
        let mut rig = Rig::new();
        let jumps = [(0, 0), (3600, 3600), (65, 5), (66, 5), (5, 5), (-3600, 0), (0, 61), (0, 60)];
        let seen = jumps.map(|(wall, monotonic)| rig.pass(wall, monotonic));
        assert_eq!(seen, [None, None, None, Some(61), None, Some(-3600), Some(-61), None]);
    }

    #[test]
    fn must_know_how_long_times_from_before_may_lie_in_the_future() {
        let mut rig = Rig::new();
        let until = |rig: &Rig| rig.watch.watched().set_back_until.map(|until| (until - rig.start).as_secs());
        rig.pass(0, 0);
        rig.pass(7200, 0);
        assert_eq!(until(&rig), None);
        rig.pass(-3600, 0);
        assert_eq!(until(&rig), Some(3600));
        rig.pass(-90, 10);
        assert_eq!(until(&rig), Some(3600), "the longer of both");
    }
}
