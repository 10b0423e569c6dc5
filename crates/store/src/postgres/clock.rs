//! The database's time, computed from the measured offset of this process.

use super::connection::Connection;
use super::fault::failed;
use super::shared::Shared;
use crate::rows::{Dialect, Type, Value};
use crate::sql::Sql;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tenancy_core::decision_context::cut;
use tenancy_core::{Error, Timestamp};

/// Maximum offset between this machine's clock and the database's. Beyond it the server is not ready.
pub const MAX_OFFSET: Duration = Duration::from_secs(5);
/// Interval between measurements of the offset.
const EVERY: Duration = Duration::from_secs(30);
/// Number of samples of the first measurement.
const FIRST_SAMPLES: usize = 3;

/// Clock that follows the database's clock.
#[derive(Default)]
pub struct Clock {
    offset_micros: AtomicI64,
}

impl Clock {
    /// Returns the database's time, truncated to microseconds.
    pub fn now(&self) -> Timestamp {
        let micros = Timestamp::now().as_microsecond() + self.offset_micros.load(Ordering::Relaxed);
        Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// Describes the problem if the offset is too large.
    pub fn complaint(&self) -> Option<String> {
        let offset = Duration::from_micros(self.offset_micros.load(Ordering::Relaxed).unsigned_abs());
        let most = MAX_OFFSET.as_secs();
        (offset > MAX_OFFSET).then(|| {
            format!("this machine's clock is {offset:.1?} off the database's, more than {most} s: synchronize them")
        })
    }

    /// Measures the offset for the first time. Of several samples, the one with the shortest round trip is the most
    /// accurate.
    pub async fn set(&self, shared: &Shared) -> Result<(), Error> {
        let mut quickest = Sample::take(shared).await?;
        for _ in 1..FIRST_SAMPLES {
            let sample = Sample::take(shared).await?;
            if sample.width() < quickest.width() {
                quickest = sample;
            }
        }
        self.offset_micros.store(quickest.least_micros.midpoint(quickest.most_micros), Ordering::Relaxed);
        Ok(())
    }

    /// Measures the offset again. The offset is kept if the new sample allows it. So a slow sample changes nothing, and
    /// a clock that was set forward or back is still followed.
    pub async fn follow(&self, shared: &Shared) -> Result<(), Error> {
        let Sample { least_micros, most_micros } = Sample::take(shared).await?;
        let now = self.offset_micros.load(Ordering::Relaxed);
        self.offset_micros.store(now.clamp(least_micros, most_micros), Ordering::Relaxed);
        Ok(())
    }

    /// Measures the offset repeatedly until all other references to the clock are dropped.
    pub async fn keep(clock: std::sync::Weak<Self>, shared: Arc<Shared>) {
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(clock) = clock.upgrade() else { return };
            // An unreachable database is reported elsewhere; the offset is kept.
            let _ = clock.follow(&shared).await;
        }
    }
}

// reason: this learns the database's time; every other statement gets the time as a parameter.
const QUESTION: &str = "SELECT clock_timestamp()";

fn answer(rows: Vec<Vec<Value>>) -> Result<Timestamp, Error> {
    match rows.into_iter().flatten().next() {
        Some(Value::Time(theirs)) => Ok(theirs),
        _ => Err(Error::Internal("PostgreSQL returned no time".to_owned())),
    }
}

/// Reads the database's time once.
pub async fn ask(connection: &Connection) -> Result<Timestamp, Error> {
    let rows = connection.run(&Sql::new(Dialect::Postgres, QUESTION), &[Type::Time]).await;
    answer(rows.map_err(|error| failed(&error))?).map(cut)
}

/// Lower and upper bound of the offset from one reading of the database's clock. The clock was read at an unknown time
/// between sending the query and receiving its answer.
struct Sample {
    least_micros: i64,
    most_micros: i64,
}

impl Sample {
    async fn take(shared: &Shared) -> Result<Self, Error> {
        let sql = Sql::new(Dialect::Postgres, QUESTION);
        let (rows, sent, answered) = shared.timed(&sql, &[Type::Time]).await?;
        let theirs = answer(rows)?;
        let ahead = |of: Timestamp| theirs.as_microsecond() - of.as_microsecond();
        // This machine's clock may have been set back in the meantime.
        let (least_micros, most_micros) = (ahead(sent.max(answered)), ahead(sent.min(answered)));
        Ok(Self { least_micros, most_micros })
    }

    fn width(&self) -> i64 {
        self.most_micros - self.least_micros
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::target::Target;
    use tenancy_testkit::{Database, Fault, Message, Postgres, Proxy};

    /// Delay of a late answer in these tests.
    const LATE: Duration = Duration::from_secs(2);
    /// Tolerance: less than half of the delay, and more than the longest pause of a busy machine.
    const NEAR: f64 = 0.5;

    struct Rig {
        proxy: Proxy,
        database: Database,
        shared: Shared,
        clock: Clock,
    }

    impl Rig {
        /// Creates a clock on a database whose own clock can be set forward by a number of seconds in a table.
        fn new() -> Self {
            let database = Postgres::shared().database("clocks");
            database.execute(
                "CREATE SCHEMA shifted; CREATE TABLE shifted.by (seconds integer); INSERT INTO shifted.by VALUES (0); \
                 CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql AS \
                 $$ SELECT pg_catalog.clock_timestamp() + seconds * interval '1 s' FROM shifted.by $$; \
                 DO $$ BEGIN EXECUTE format('ALTER DATABASE %I SET search_path = public, shifted, pg_catalog', \
                 current_database()); END $$",
            );
            let proxy = Proxy::start(Postgres::shared().address());
            let shared = Shared::new(Target::parse(&proxy.url(&database)).unwrap());
            Self { proxy, database, shared, clock: Clock::default() }
        }

        fn shift(&self, seconds: i64) {
            self.database.execute(&format!("UPDATE shifted.by SET seconds = {seconds}"));
        }

        /// Injects a fault into the next sample.
        fn arm(&self, fault: Fault) {
            let samples = |message: &Message| message.executes() && message.sql_contains("clock_timestamp");
            self.proxy.arm(fault.when(samples));
        }

        async fn set(&self) -> f64 {
            self.clock.set(&self.shared).await.unwrap();
            self.off()
        }

        async fn followed(&self) -> f64 {
            self.clock.follow(&self.shared).await.unwrap();
            self.off()
        }

        fn off(&self) -> f64 {
            self.clock.now().duration_since(Timestamp::now()).as_secs_f64()
        }
    }

    #[track_caller]
    fn assert_near(off: f64, wanted: f64) {
        assert!((off - wanted).abs() < NEAR, "{off} s and not {wanted} s");
    }

    #[tokio::test]
    async fn a_sample_that_takes_long_must_not_move_the_clock() {
        let rig = Rig::new();
        rig.shift(-3);
        assert_near(rig.set().await, -3.0);
        for late in [Fault::delay(LATE), Fault::delay_answer(LATE)] {
            rig.arm(late);
            assert_near(rig.followed().await, -3.0);
            rig.proxy.disarm();
        }
    }

    #[tokio::test]
    async fn a_clock_that_is_put_forward_must_be_followed_also_where_samples_take_long() {
        let rig = Rig::new();
        assert_near(rig.set().await, 0.0);
        rig.shift(3);
        assert_near(rig.followed().await, 3.0);
        rig.shift(10);
        rig.arm(Fault::delay(LATE));
        let off = rig.followed().await;
        assert!((10.0 - LATE.as_secs_f64() - NEAR..10.0 + NEAR).contains(&off), "{off}");
    }

    #[tokio::test]
    async fn the_first_offset_must_be_that_of_the_quickest_sample() {
        let rig = Rig::new();
        rig.arm(Fault::delay(LATE));
        assert_near(rig.set().await, 0.0);
    }
}
