//! Seals what has been committed.

use super::rows::{LogRow, Range};
use super::{Entry, SealRow, month};
use crate::Store;
use crate::list::corrupt;
use crate::rows::{Record, Type, take};
use crate::sql::Sql;
use crate::tables::log_seals;
use tenancy_core::Error;

/// Maximum number of positions of a seal.
const MAX_POSITIONS: i64 = 1000;
/// Maximum number of seals that one call appends.
const MAX_SEALS: usize = 50;

/// Result of one call of [`Store::seal_log`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Sealed {
    /// Number of seals that were appended.
    pub seals: usize,
    /// Number of sealed positions at which the log had no event, or several.
    pub faults: usize,
}

/// End of the chain: the last sealed position and the digest of its seal; and the last committed position.
struct End {
    sealed: i64,
    digest: String,
    head: i64,
}

impl Store {
    /// Appends seals for the positions that are committed and not sealed yet, up to a limit. Every position up to the
    /// head of the log is settled: batches take their positions and commit under the lock of the head, one after the
    /// other. If another process seals the same positions, the primary key lets one of them through.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn seal_log(&self) -> Result<Sealed, Error> {
        let mut done = Sealed::default();
        let mut end = self.end_of_seals().await?;
        while end.sealed < end.head && done.seals < MAX_SEALS {
            let (seal, faults) = self.next_seal(&end).await?;
            if !self.append_seal(&seal).await? {
                break;
            }
            (end.sealed, end.digest) = (seal.last_position, seal.digest);
            done.seals += 1;
            done.faults += faults;
        }
        Ok(done)
    }

    async fn end_of_seals(&self) -> Result<End, Error> {
        let sql = "SELECT h.head, s.last_position, s.digest FROM (SELECT max(last_position) AS head FROM log_batches) h \
             LEFT JOIN (SELECT last_position, digest FROM log_seals ORDER BY first_position DESC LIMIT 1) s ON true";
        let rows = self.rows(Sql::new(self.dialect(), sql), vec![Type::Int, Type::Int, Type::Text]).await?;
        let mut values = rows.into_iter().flatten();
        let head = take::<Option<i64>>(&mut values, "log_batches", "last_position").map_err(corrupt)?.unwrap_or(0);
        let sealed = take::<Option<i64>>(&mut values, "log_seals", "last_position").map_err(corrupt)?.unwrap_or(0);
        let digest = take::<Option<String>>(&mut values, "log_seals", "digest").map_err(corrupt)?.unwrap_or_default();
        Ok(End { sealed, digest, head })
    }

    /// Returns the seal that continues the chain, and the number of its positions without exactly one event.
    async fn next_seal(&self, end: &End) -> Result<(SealRow, usize), Error> {
        let first = end.sealed + 1;
        let mut building = Building::new(first, end.head.min(end.sealed + MAX_POSITIONS));
        let mut range = Range::new(first, building.last, false);
        'reading: while let Some(rows) = range.next(self).await? {
            for row in rows {
                if !building.add(row) {
                    break 'reading;
                }
            }
        }
        building.fill_to(building.last + 1);
        let gaps = building.entries.contains(&Entry::Missing);
        let oldest = if gaps { self.oldest_kept_position(end.head).await? } else { first };
        for (position, entry) in (first..).zip(&mut building.entries) {
            if *entry == Entry::Missing && position < oldest {
                *entry = Entry::Expired;
            }
        }
        let faults = building.entries.iter().filter(|entry| matches!(entry, Entry::Missing | Entry::Several)).count();
        let mut seal = SealRow {
            first_position: first,
            last_position: building.last,
            previous_digest: end.digest.clone(),
            last_audit_id: building.last_audit_id,
            entries: building.entries.iter().map(Entry::text).collect(),
            digest: String::new(),
            sealed_at: self.now(),
        };
        seal.digest = seal.computed_digest();
        Ok((seal, faults))
    }

    /// Appends a seal unless its range is sealed already. Returns whether it was appended.
    async fn append_seal(&self, seal: &SealRow) -> Result<bool, Error> {
        let table = log_seals::TABLE;
        let mut sql = Sql::new(self.dialect(), "");
        let values: Vec<_> =
            table.columns.iter().zip(seal.values()).map(|(column, value)| sql.bind(column.ty, value)).collect();
        let names: Vec<_> = table.columns.iter().map(|column| column.name).collect();
        sql.text = format!(
            "INSERT INTO {0} ({1}) SELECT {2} WHERE NOT EXISTS (SELECT 1 FROM {0} WHERE first_position = {3}) \
             ON CONFLICT DO NOTHING RETURNING 1",
            table.name,
            names.join(", "),
            values.join(", "),
            values[0]
        );
        Ok(!self.write(sql, vec![Type::Int]).await?.is_empty())
    }
}

/// Entries of a seal, while its events are read.
struct Building {
    first: i64,
    last: i64,
    entries: Vec<Entry>,
    last_audit_id: String,
    month: Option<i64>,
}

impl Building {
    fn new(first: i64, last: i64) -> Self {
        Self { first, last, entries: Vec::new(), last_audit_id: String::new(), month: None }
    }

    /// Position after the last entry.
    fn next(&self) -> i64 {
        self.first + i64::try_from(self.entries.len()).unwrap_or(i64::MAX)
    }

    /// Adds entries without events up to a position.
    fn fill_to(&mut self, position: i64) {
        while self.next() < position {
            self.entries.push(Entry::Missing);
        }
    }

    /// Adds an event. Returns `false`, and ends the range before the event, if it is of another month than the events
    /// before it.
    fn add(&mut self, row: LogRow) -> bool {
        let of = if row.is_platform { None } else { month(&row.audit_id) };
        if of.is_some() && self.month.is_some() && of != self.month && row.position >= self.next() {
            self.last = row.position - 1;
            return false;
        }
        self.month = of.or(self.month);
        if !row.is_platform && row.audit_id > self.last_audit_id {
            self.last_audit_id = row.audit_id;
        }
        self.fill_to(row.position);
        if row.position < self.next() {
            // A second event at the position of the last entry.
            if let Some(entry) = self.entries.last_mut() {
                *entry = Entry::Several;
            }
            return true;
        }
        self.entries.push(if row.is_platform { Entry::Platform(row.digest) } else { Entry::Tenant(row.digest) });
        true
    }
}
