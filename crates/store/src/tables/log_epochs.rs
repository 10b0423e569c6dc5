//! Epochs of the log's order. A restored database begins a new epoch; positions from before that belong to lost events
//! are refused.

use crate::Store;
use crate::list::{bad_cursor, corrupt};
use crate::rows::{Dialect, Record, Type, Value, described};
use crate::sql::Sql;
use jiff::Timestamp;
use tenancy_core::Error;

/// One epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Epoch {
    /// Number that no other epoch has, also not of another copy of the database that was restored. It increases.
    pub epoch: i64,
    /// First position of the epoch.
    pub first_position: i64,
    /// When it began.
    pub started_at: Timestamp,
}

described!(
    /// Epochs.
    Epoch as TABLE "log_epochs" [epoch] {
        epoch: i64,
        first_position: i64,
        started_at: Timestamp,
    }
);

/// All epochs of a log, oldest first, and its newest position.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEnd {
    epochs: Vec<Epoch>,
    /// Newest position; 0 if there is no event.
    pub newest: i64,
}

/// What a place of a cursor is in this log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// This position.
    At(i64),
    /// Its event is not in this log, because the database was restored to an earlier time.
    Lost,
}

impl LogEnd {
    /// Returns the place of a position in a cursor.
    pub fn place(&self, position: i64) -> String {
        format!("{}:{position}", self.epoch())
    }

    /// Number of the current epoch.
    pub fn epoch(&self) -> i64 {
        self.epochs.last().map_or(1, |epoch| epoch.epoch)
    }

    /// Reads a place. It is valid in its own epoch, and in later epochs if it is before them.
    ///
    /// # Errors
    /// A bad cursor if its event is not in this log.
    pub fn position(&self, place: &str) -> Result<i64, Error> {
        match self.find(place)? {
            Place::At(position) => Ok(position),
            Place::Lost => Err(bad_cursor(
                "points behind an event that is not in this log: the database was restored to an earlier time; read \
                 the log again from the last event that you know to exist, or without a cursor",
            )),
        }
    }

    /// Finds a place in this log.
    ///
    /// # Errors
    /// A bad cursor if the text is not a place.
    pub fn find(&self, place: &str) -> Result<Place, Error> {
        let numbers =
            place.split_once(':').and_then(|(epoch, position)| Some((epoch.parse().ok()?, position.parse().ok()?)));
        let (epoch, position): (i64, i64) =
            numbers.ok_or_else(|| bad_cursor("is not a cursor: pass `next` of the previous page unchanged"))?;
        let known = epoch == 1 || self.epochs.iter().any(|known| known.epoch == epoch);
        let lost = self.epochs.iter().any(|later| later.epoch > epoch && position >= later.first_position);
        let is_lost = !known || lost || position > self.newest;
        Ok(if is_lost { Place::Lost } else { Place::At(position) })
    }
}

/// Reads the newest batch.
const NEWEST: &str = "SELECT last_position FROM log_batches ORDER BY last_position DESC LIMIT 1";

impl Store {
    /// Returns the epochs and the newest position of the log.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn log_end(&self) -> Result<LogEnd, Error> {
        let types = TABLE.columns.iter().map(|column| column.ty).collect();
        let rows = self.rows(Sql::new(self.dialect(), TABLE.select(self.dialect())), types).await?;
        let mut epochs = rows.into_iter().map(Epoch::from_values).collect::<Result<Vec<_>, _>>().map_err(corrupt)?;
        epochs.sort_by_key(|epoch| epoch.epoch);
        let newest = self.rows(Sql::new(self.dialect(), NEWEST), vec![Type::Int]).await?;
        let newest = match newest.into_iter().flatten().next() {
            Some(Value::Int(newest)) => newest,
            _ => 0,
        };
        Ok(LogEnd { epochs, newest })
    }
}

/// Returns the statement that begins an epoch behind the newest position.
pub fn begin(dialect: Dialect, now: Timestamp) -> Sql {
    let mut sql = Sql::new(dialect, "");
    let number = sql.bind(Type::Int, Value::Int(now.as_millisecond()));
    let now = sql.bind(Type::Time, Value::Time(now));
    let greatest = if dialect == Dialect::Sqlite { "max" } else { "greatest" };
    sql.text = format!(
        "INSERT INTO log_epochs (epoch, first_position, started_at) \
         SELECT {greatest}({number}, (SELECT max(epoch) FROM log_epochs) + 1), ({NEWEST}) + 1, {now} \
         RETURNING epoch, first_position, started_at"
    );
    sql
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(epochs: &[(i64, i64)], newest: i64) -> LogEnd {
        let of = |(epoch, first_position): &(i64, i64)| Epoch {
            epoch: *epoch,
            first_position: *first_position,
            started_at: Timestamp::UNIX_EPOCH,
        };
        LogEnd { epochs: epochs.iter().map(of).collect(), newest }
    }

    #[test]
    fn must_refuse_positions_of_a_lost_future_and_no_others() {
        let log = end(&[(1, 1), (500, 11), (900, 21)], 30);
        let valid = ["1:0", "1:10", "500:20", "900:21", "900:30", "500:0"];
        let refused = ["1:11", "1:30", "500:21", "900:31", "400:5", "901:5", "1", "1:x", ":", "x:1"];
        for place in valid {
            assert!(log.position(place).is_ok(), "{place}");
        }
        for place in refused {
            assert!(log.position(place).is_err(), "{place}");
        }
        assert_eq!(log.place(7), "900:7");
    }

    #[test]
    fn must_refuse_a_position_beyond_the_newest_event_before_any_epoch_begins() {
        let log = end(&[(1, 1)], 30);
        assert_eq!(log.position("1:30"), Ok(30));
        assert!(log.position("1:31").is_err());
        assert_eq!(end(&[], 3).place(2), "1:2", "as the model has it");
    }
}
