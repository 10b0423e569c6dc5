//! In-memory model for tests: rows in maps, with the judge and the kinds of write of the databases.

pub mod keys;
mod reads;
mod rows;
mod shift;
mod together;

use crate::batch::{Flush, MAX_MEMBERS, ReadSet, committed_at, judged, numbered, usage_rows};
use crate::current_rows::READS;
use crate::queue::{self, Intake, Queue, Waiting};
use crate::rows::{Value, WriteShape};
use crate::sql::{Bound, Sql};
use crate::tables::audit::{PLATFORM_AUDIT, TENANT_AUDIT};
use crate::tables::log_batches;
use crate::write_kind::WRITES;
use crate::{Engine, Store};
pub use reads::Reads;
use rows::Rows;
pub use shift::Shift;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tenancy_core::Error;
use tenancy_core::judge::{CurrentRows, Judgement};
pub use together::Next;

/// In-memory database. Cheap to clone.
#[derive(Clone)]
pub struct Model {
    /// Queue of its committer.
    pub queue: Queue,
    rows: Arc<Mutex<Rows>>,
}

impl Store {
    /// Returns a store that keeps its rows in memory; call it within a runtime. It supports no upkeep and only
    /// unfiltered lists.
    pub fn model() -> Self {
        let (queue, intake) = queue::queue();
        let rows = Arc::new(Mutex::new(Rows::new()));
        tokio::spawn(run(Arc::clone(&rows), intake));
        Self::new(Engine::Model(Model { queue, rows }), Arc::default(), keys::vault())
    }
}

impl Model {
    /// Runs a query of a simple form.
    pub fn rows(&self, sql: &Sql) -> Result<Vec<Vec<Value>>, Error> {
        let value = |bound: &Bound| match bound {
            Bound::One(value) => Ok(value.clone()),
            Bound::Column(..) => Err(Error::Internal("a query of a simple form has no arrays".to_owned())),
        };
        self.query(&sql.text, &sql.params.iter().map(value).collect::<Result<Vec<_>, _>>()?)
    }

    /// Inserts a row, unless there is one with its key.
    pub fn insert(&self, shape: WriteShape, row: &[Value]) -> Result<(), Error> {
        // The only reason why it fails is that the row is there.
        let _ = lock(&self.rows).write(shape, row);
        Ok(())
    }

    /// Runs the text of a query of a simple form.
    pub fn query(&self, text: &str, params: &[Value]) -> Result<Vec<Vec<Value>>, Error> {
        lock(&self.rows).query(text, params).map_err(Error::Internal)
    }
}

fn lock(rows: &Mutex<Rows>) -> MutexGuard<'_, Rows> {
    rows.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn run(rows: Arc<Mutex<Rows>>, mut intake: Intake) {
    while let Some(batch) = intake.next().await {
        debug_assert!(batch.len() <= MAX_MEMBERS);
        settle(&rows, batch, &mut intake);
    }
}

fn settle(rows: &Mutex<Rows>, members: Vec<Waiting>, intake: &mut Intake) {
    match attempt(&mut lock(rows), &members) {
        Ok((judgement, first)) => intake.tell(members, judgement, first),
        Err(_) if members.len() > 1 => members.into_iter().for_each(|member| settle(rows, vec![member], intake)),
        Err(error) => members.into_iter().for_each(|member| member.tell(Err(Error::Internal(error.clone())))),
    }
}

/// Runs one transaction. An error leaves the rows unchanged.
fn attempt(rows: &mut Rows, members: &[Waiting]) -> Result<(Judgement, i64), String> {
    let (needs, mut found) = (ReadSet::of(members, false), CurrentRows::default());
    for read in READS {
        for key in (read.keys)(&needs) {
            for row in rows.query(&read.sqlite(), &[Value::Text((*key).to_owned())])? {
                (read.put)(&mut found, row).map_err(|error| error.to_string())?;
            }
        }
    }
    let judgement = judged(members, &found);
    let usages = usage_rows(&judgement);
    let flush = Flush::of(members, &judgement, &usages);
    if flush.is_empty() {
        return Ok((judgement, 0));
    }
    let mut next = rows.clone();
    for (kind, of_kind) in WRITES.iter().zip(&flush.rows) {
        of_kind.iter().try_for_each(|row| next.write(*kind, row))?;
    }
    let newest = next.query("SELECT last_position FROM log_batches ORDER BY last_position DESC LIMIT 1", &[])?;
    let last = match newest.first().and_then(|row| row.first()) {
        Some(Value::Int(last)) => *last,
        _ => 0,
    };
    for (table, events) in [(TENANT_AUDIT, &flush.tenant_events), (PLATFORM_AUDIT, &flush.platform_events)] {
        for (place, row) in events.iter() {
            next.write(WriteShape::Insert(table), &numbered(row, last + place))?;
        }
    }
    let batch = [Value::Int(last + flush.events), Value::Int(last + 1), Value::Time(committed_at(members))];
    next.write(WriteShape::Insert(log_batches::TABLE), &batch)?;
    *rows = next;
    Ok((judgement, last + 1))
}
