//! The database's time, as this process knows its offset to it.

use super::shared::Shared;
use crate::rows::{Dialect, Type, Value};
use crate::sql::Sql;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tenancy_core::{Error, Timestamp};

/// An offset beyond this is not ready.
pub const MAX_OFFSET: Duration = Duration::from_secs(5);
/// How often the offset is measured.
const EVERY: Duration = Duration::from_secs(30);

/// A clock that runs as the database's.
#[derive(Default)]
pub struct Clock {
    offset_micros: AtomicI64,
}

impl Clock {
    /// The database's time, cut to microseconds.
    pub fn now(&self) -> Timestamp {
        let micros = Timestamp::now().as_microsecond() + self.offset_micros.load(Ordering::Relaxed);
        Timestamp::from_microsecond(micros).unwrap_or(Timestamp::UNIX_EPOCH)
    }

    /// What is wrong with the offset, if anything is.
    pub fn complaint(&self) -> Option<String> {
        let offset = Duration::from_micros(self.offset_micros.load(Ordering::Relaxed).unsigned_abs());
        let most = MAX_OFFSET.as_secs();
        (offset > MAX_OFFSET)
            .then(|| format!("this machine's clock is {offset:.1?} off the database's; at most {most} s are allowed"))
    }

    /// Measures the offset: the database's time against the middle of the way there and back.
    pub async fn measure(&self, shared: &Shared) -> Result<(), Error> {
        // reason: this is how the database's time is learned; every other statement gets it as a parameter.
        let sql = Sql::new(Dialect::Postgres, "SELECT clock_timestamp()");
        let before = Timestamp::now().as_microsecond();
        let rows = shared.rows(&sql, &[Type::Time]).await?;
        let middle = before.midpoint(Timestamp::now().as_microsecond());
        if let Some(Value::Time(theirs)) = rows.into_iter().flatten().next() {
            self.offset_micros.store(theirs.as_microsecond() - middle, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Measures it again and again, as long as somebody else holds the clock.
    pub async fn keep(clock: std::sync::Weak<Self>, shared: Arc<Shared>) {
        loop {
            tokio::time::sleep(EVERY).await;
            let Some(clock) = clock.upgrade() else { return };
            // A database that is away is complained of elsewhere; the offset stays as it was.
            let _ = clock.measure(&shared).await;
        }
    }
}
