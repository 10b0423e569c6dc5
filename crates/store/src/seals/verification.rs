//! Verifies the log against its seals.

use super::rows::{Beside, LogRow, Range};
use super::{Entry, SealRow, TABLES};
use crate::Store;
use crate::list::{bad_cursor, corrupt, cursor};
use crate::page::Page;
use crate::rows::{Type, take};
use crate::sql::Sql;
use tenancy_core::Error;
use tenancy_core::log_fault::{LogFault, LogFaultKind};

/// Maximum number of seals that one call verifies.
const MAX_SEALS: usize = 20;
/// Maximum number of unsealed positions that one call verifies.
const MAX_UNSEALED: i64 = 20_000;
/// Maximum number of events at one position that are compared.
const MAX_AT_ONE_POSITION: usize = 8;

/// Result of one call of [`Store::verify_log`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogVerification {
    /// Number of events that this call verified.
    pub events: u64,
    /// Number of sealed events that have expired.
    pub expired: u64,
    /// Number of seals that this call verified.
    pub seals: u64,
    /// Last position that is verified and sealed.
    pub sealed_position: i64,
    /// Last position that is verified.
    pub position: i64,
    /// Digest of the last verified seal; empty if there is none. It depends on all events up to `sealed_position`.
    pub digest: String,
    /// The first fault, if there is one. The verification ends there.
    pub fault: Option<LogFault>,
    /// Cursor of the next call; `None` at the end of the log.
    pub next: Option<String>,
}

/// Where a verification continues.
struct Place {
    /// First position of the last verified seal.
    seal: i64,
    /// Last position of the last verified seal.
    sealed: i64,
    digest: String,
    /// Last verified position; greater than `sealed` if unsealed positions were verified.
    position: i64,
}

/// List that cursors of the verification name.
const LIST: &str = "log-verification";

impl Place {
    fn read(page: &Page) -> Result<Self, Error> {
        let Some(text) = crate::list::place(LIST, page)? else {
            return Ok(Self { seal: i64::MIN, sealed: 0, digest: String::new(), position: 0 });
        };
        let mut parts = text.split(':');
        let mut number = || parts.next().and_then(|part| part.parse().ok());
        match (number(), number(), number(), parts.next()) {
            (Some(seal), Some(sealed), Some(position), Some(digest)) => {
                Ok(Self { seal, sealed, position, digest: digest.to_owned() })
            }
            _ => Err(bad_cursor("is not a cursor of this list: pass `next` of the previous page unchanged")),
        }
    }

    fn cursor(&self) -> String {
        cursor(LIST, &format!("{}:{}:{}:{}", self.seal, self.sealed, self.position, self.digest))
    }
}

impl Store {
    /// Verifies a part of the log: the chain of seals, each event against its seal, and what is stored beside each
    /// event against the digest in the event. Positions that are not sealed yet must have one event each. Events that
    /// have expired and data that a purge has removed are no faults. `after` is `next` of the previous call.
    ///
    /// # Errors
    /// [`Error::Malformed`] for an invalid cursor, [`Error::Unavailable`].
    pub async fn verify_log(&self, after: Option<String>) -> Result<LogVerification, Error> {
        let mut place = Place::read(&Page { after, ..Page::default() })?;
        let (floor, head) = self.floor_and_head().await?;
        let seals = self.seals_after(place.seal).await?;
        let (mut done, is_last) = (LogVerification::default(), seals.len() < MAX_SEALS);
        for seal in seals {
            if let Some(fault) = of_seal(&seal, &place, head) {
                return Ok(done.ending(&place, Some(fault)));
            }
            let (first, last) = (seal.first_position, seal.last_position);
            if let Some(fault) = self.verify_range(first, last, Some(&seal), &floor, &mut done).await? {
                // Events that expire meanwhile are removed after the floor was raised: verify this range again.
                let expires = fault.kind == LogFaultKind::Removed && self.floor_and_head().await?.0 != floor;
                return Ok(if expires { done.continuing(&place) } else { done.ending(&place, Some(fault)) });
            }
            done.seals += 1;
            place = Place { seal: first, sealed: last, digest: seal.digest, position: last };
        }
        if !is_last {
            return Ok(done.continuing(&place));
        }
        let first = place.position.max(place.sealed) + 1;
        let last = head.min(first + MAX_UNSEALED - 1);
        if let Some(fault) = self.verify_range(first, last, None, &floor, &mut done).await? {
            return Ok(done.ending(&place, Some(fault)));
        }
        place.position = last.max(place.position);
        if place.position < head {
            return Ok(done.continuing(&place));
        }
        let stray = self.stray_event().await?;
        Ok(done.ending(&place, stray))
    }

    async fn verify_range(
        &self,
        first: i64,
        last: i64,
        seal: Option<&SealRow>,
        floor: &str,
        done: &mut LogVerification,
    ) -> Result<Option<LogFault>, Error> {
        let mut checker = Checker { next: first, pending: Vec::new(), seal, floor, done };
        let mut range = Range::new(first, last, true);
        while let Some(rows) = range.next(self).await? {
            for row in rows {
                if let Some(fault) = checker.add(row) {
                    return Ok(Some(fault));
                }
            }
        }
        Ok(checker.end(last))
    }

    async fn floor_and_head(&self) -> Result<(String, i64), Error> {
        let sql = "SELECT audit_id, (SELECT max(last_position) FROM log_batches) FROM log_floor";
        let rows = self.rows(Sql::new(self.dialect(), sql), vec![Type::Text, Type::Int]).await?;
        let mut values = rows.into_iter().flatten();
        let floor = take::<Option<String>>(&mut values, "log_floor", "audit_id").map_err(corrupt)?;
        let head = take::<Option<i64>>(&mut values, "log_batches", "last_position").map_err(corrupt)?;
        Ok((floor.unwrap_or_default(), head.unwrap_or(0)))
    }

    /// Returns the next seals. Every seal is returned, also one that lies within the range of another.
    async fn seals_after(&self, first_position: i64) -> Result<Vec<SealRow>, Error> {
        let mut sql = self.select::<SealRow>();
        sql.and("first_position > {}", Some(first_position)).order("first_position", MAX_SEALS);
        self.all(sql).await
    }

    /// Returns an event at a position that no batch has committed.
    async fn stray_event(&self) -> Result<Option<LogFault>, Error> {
        let conditions = ["l.position < 1", "l.position > (SELECT max(last_position) FROM log_batches)"];
        let part = |(table, _): (&crate::rows::Table, bool)| {
            conditions.map(|condition| format!("SELECT l.position, l.audit_id FROM {} l WHERE {condition}", table.name))
        };
        let parts: Vec<_> = TABLES.into_iter().flat_map(part).collect();
        let text = format!("{} ORDER BY position, audit_id LIMIT 1", parts.join(" UNION ALL "));
        let rows = self.rows(Sql::new(self.dialect(), text), vec![Type::Int, Type::Text]).await?;
        if rows.is_empty() {
            return Ok(None);
        }
        let mut values = rows.into_iter().flatten();
        let position = take::<i64>(&mut values, "tenant_audit", "position").map_err(corrupt)?;
        let id = take::<String>(&mut values, "tenant_audit", "audit_id").map_err(corrupt)?;
        let message = format!("event {id} has position {position}, which no change has committed");
        Ok(Some(LogFault { kind: LogFaultKind::Inserted, position, audit_id: Some(id), message }))
    }
}

impl LogVerification {
    fn at(mut self, place: &Place) -> Self {
        self.sealed_position = place.sealed;
        self.position = place.position;
        self.digest.clone_from(&place.digest);
        self
    }

    fn ending(self, place: &Place, fault: Option<LogFault>) -> Self {
        Self { fault, ..self.at(place) }
    }

    fn continuing(self, place: &Place) -> Self {
        Self { next: Some(place.cursor()), ..self.at(place) }
    }
}

/// Checks that a seal continues the chain and has its own digest.
fn of_seal(seal: &SealRow, place: &Place, head: i64) -> Option<LogFault> {
    let what = if seal.first_position != place.sealed + 1 {
        format!("it does not begin after position {}, where the seal before it ends", place.sealed)
    } else if seal.previous_digest != place.digest {
        "it does not contain the digest of the seal before it".to_owned()
    } else if seal.last_position < seal.first_position || seal.last_position > head {
        format!("it ends at position {}, which no change has committed", seal.last_position)
    } else if seal.digest != seal.computed_digest() {
        "its digest does not fit".to_owned()
    } else if seal.entries.len() != seal.positions() * super::ENTRY_LENGTH {
        "it does not have one entry for each position".to_owned()
    } else {
        return None;
    };
    let message =
        format!("the seal of the positions from {} was changed, removed or inserted: {what}", seal.first_position);
    Some(LogFault { kind: LogFaultKind::Seal, position: seal.first_position, audit_id: None, message })
}

/// Compares events, in the order of their positions, with a seal.
struct Checker<'a> {
    /// Next position that is not compared yet.
    next: i64,
    /// Events at the position `next`.
    pending: Vec<LogRow>,
    seal: Option<&'a SealRow>,
    floor: &'a str,
    done: &'a mut LogVerification,
}

impl Checker<'_> {
    fn add(&mut self, row: LogRow) -> Option<LogFault> {
        let fault = self.end(row.position - 1);
        if fault.is_none() && self.pending.len() < MAX_AT_ONE_POSITION {
            self.pending.push(row);
        }
        fault
    }

    /// Compares all positions up to `last`.
    fn end(&mut self, last: i64) -> Option<LogFault> {
        while self.next <= last {
            let position = self.next;
            let rows = std::mem::take(&mut self.pending);
            let fault = match rows.as_slice() {
                [] => self.without_event(position),
                rows => self.with_events(position, rows),
            };
            if fault.is_some() {
                return fault;
            }
            self.next += 1;
        }
        None
    }

    fn entry(&self, position: i64) -> Option<Entry> {
        self.seal.and_then(|seal| seal.entry(position))
    }

    fn without_event(&mut self, position: i64) -> Option<LogFault> {
        let fault = |kind, message: String| Some(LogFault { kind, position, audit_id: None, message });
        let has_expired = |seal: &SealRow| seal.last_audit_id.as_str() < self.floor;
        match self.entry(position) {
            Some(Entry::Expired) => {}
            Some(Entry::Tenant(_)) if self.seal.is_some_and(has_expired) => {}
            Some(Entry::Tenant(_) | Entry::Platform(_) | Entry::Several) => {
                return fault(LogFaultKind::Removed, format!("the event at position {position} was removed"));
            }
            Some(Entry::Missing) => {
                let message = format!("no event was at position {position} when the position was sealed");
                return fault(LogFaultKind::Missing, message);
            }
            None => return fault(LogFaultKind::Missing, format!("no event is at position {position}")),
        }
        self.done.expired += 1;
        None
    }

    fn with_events(&mut self, position: i64, rows: &[LogRow]) -> Option<LogFault> {
        let fault = |kind, row: &LogRow, what: &str| {
            let message = format!("event {} at position {position} {what}", row.audit_id);
            Some(LogFault { kind, position, audit_id: Some(row.audit_id.clone()), message })
        };
        let first = rows.first()?;
        let is = |row: &LogRow, digest: &str, is_platform| row.digest == digest && row.is_platform == is_platform;
        let sealed = |digest: &str, is_platform| match rows.iter().find(|row| !is(row, digest, is_platform)) {
            None => rows.get(1).and_then(|row| fault(LogFaultKind::Inserted, row, "is there twice")),
            Some(odd) if rows.iter().any(|row| is(row, digest, is_platform)) => {
                fault(LogFaultKind::Inserted, odd, "was inserted: the position belongs to another event")
            }
            Some(odd) => fault(LogFaultKind::Changed, odd, "was changed: it does not have the digest in its seal"),
        };
        let found = match self.entry(position) {
            Some(Entry::Tenant(digest)) => sealed(&digest, false),
            Some(Entry::Platform(digest)) => sealed(&digest, true),
            Some(Entry::Expired | Entry::Missing) => {
                fault(LogFaultKind::Inserted, first, "was inserted after the position was sealed without an event")
            }
            Some(Entry::Several) => fault(LogFaultKind::Twice, first, "shared the position when it was sealed"),
            None => {
                rows.get(1).and_then(|row| fault(LogFaultKind::Twice, row, "shares the position with another event"))
            }
        };
        self.done.events += 1;
        let expired = !first.is_platform && first.audit_id.as_str() < self.floor;
        found.or(match first.beside {
            Beside::Changed => fault(LogFaultKind::Changed, first, "does not fit the data that is stored beside it"),
            Beside::Removed if !expired => fault(
                LogFaultKind::Removed,
                first,
                "has lost the data that is stored beside it, or their key, and no purge removed it",
            ),
            Beside::Fits | Beside::Purged | Beside::Removed => None,
        })
    }
}
