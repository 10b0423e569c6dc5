//! The committer: one connection that commits batch after batch, each in two flushes.

use super::connection::{Connection, Sent, answered, arrays, number, texts, time, together, values};
use super::fault::{Fault, described};
use super::target::Target;
use crate::batch::{Flush, Intake, Needs, Waiting, committed_at, tell, usage_rows};
use crate::found::READS;
use crate::rows::{Column, KINDS, Kind, PLATFORM_AUDIT, TENANT_AUDIT, Table, Type, unnest};
use std::time::Duration;
use tenancy_core::judge::{Found, Judgement, judge};
use tenancy_core::{Error, Timestamp};
use tokio::time::Instant;
use tokio_postgres::Row;

/// How long a batch is tried while nothing of it can have been committed.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a batch is tried whose outcome is unknown.
const PATIENCE_UNKNOWN: Duration = Duration::from_secs(8);
/// How long a batch waits for locks before its members run alone: every process waits for the others' commits at the
/// log's head, so on a slow database that is nobody's fault, and alone they would only be more to wait for.
const PATIENCE_LOCKED: Duration = Duration::from_secs(5);
/// How long to wait before connecting anew.
const PAUSE: Duration = Duration::from_millis(50);
/// How long a batch may keep all others waiting while its members run alone; who has not had a turn then is refused.
const PATIENCE_ALONE: Duration = Duration::from_secs(10);
/// How often a batch runs again as it is before its members run alone.
const MAX_TRIES_TOGETHER: u32 = 2;
/// How often a member that runs alone is tried.
const MAX_TRIES_ALONE: u32 = 8;

pub(super) const LOCK_HEAD: &str = "SELECT only_row FROM log_head WHERE only_row FOR NO KEY UPDATE";
pub(super) const APPEND_BATCH: &str = "INSERT INTO log_batches (last_position, first_position, committed_at) \
    SELECT last_position + $1::bigint, last_position + 1, $2::timestamptz \
    FROM (SELECT last_position FROM log_batches ORDER BY last_position DESC LIMIT 1) h RETURNING first_position";

/// The committer with its way in.
pub struct Committer {
    target: Target,
    connection: Option<Connection>,
    intake: Intake,
    reads: Vec<String>,
    writes: Vec<String>,
    tenant_log: String,
    platform_log: String,
}

/// How a batch has fared; its members go on from there when they run alone.
#[derive(Clone, Copy)]
struct Course {
    began: Instant,
    tries: u32,
    /// It ran before: receipts are looked for.
    again: bool,
    /// A COMMIT of it may have come through, or may yet.
    unknown: bool,
}

impl Course {
    fn begin() -> Self {
        Self { began: Instant::now(), tries: 0, again: false, unknown: false }
    }

    fn has_time(&self) -> bool {
        self.began.elapsed() < if self.unknown { PATIENCE_UNKNOWN } else { PATIENCE }
    }
}

/// Why a batch did not come through.
struct Failure {
    fault: Fault,
    /// The COMMIT may have come through.
    unknown: bool,
    what: String,
}

impl Failure {
    fn before(error: &tokio_postgres::Error) -> Self {
        Self { fault: Fault::of(error), unknown: false, what: described(error) }
    }

    fn silence(unknown: bool) -> Self {
        Self { fault: Fault::Lost, unknown, what: "nobody answers".to_owned() }
    }

    fn after(error: &tokio_postgres::Error) -> Self {
        let fault = Fault::of(error);
        Self { fault, unknown: fault == Fault::Lost, what: described(error) }
    }
}

impl Committer {
    /// A committer; it connects when it is needed.
    pub fn new(target: Target, intake: Intake) -> Self {
        Self {
            target,
            connection: None,
            intake,
            reads: READS.iter().map(|read| read.postgres()).collect(),
            writes: KINDS.iter().map(|kind| kind.postgres()).collect(),
            tenant_log: append_log(TENANT_AUDIT),
            platform_log: append_log(PLATFORM_AUDIT),
        }
    }

    /// Works until nobody can come any more.
    pub async fn run(mut self, mut stop: tokio::sync::oneshot::Receiver<()>) {
        loop {
            let batch = tokio::select! {
                biased;
                batch = self.intake.next() => batch,
                // Whether it was sent or dropped is the same: what waits is still taken.
                _ = &mut stop, if !self.intake.is_closed() => {
                    self.intake.close();
                    continue;
                }
            };
            match batch {
                Some(members) => self.settle(members, Course::begin()).await,
                None => return,
            }
        }
    }

    /// Runs a batch until every member has its answer, or is carried into the next batch.
    async fn settle(&mut self, members: Vec<Waiting>, mut course: Course) {
        loop {
            let failure = match self.attempt(&members, course.again).await {
                Ok((judgement, first)) => {
                    let later = tell(members, judgement, first);
                    return self.intake.carry(later);
                }
                Err(failure) => failure,
            };
            course.again = true;
            course.tries += 1;
            course.unknown |= failure.unknown;
            match failure.fault {
                Fault::Lost | Fault::Stale if course.has_time() => {
                    self.connection = None;
                    tokio::time::sleep(PAUSE).await;
                }
                Fault::Again if course.tries < MAX_TRIES_TOGETHER => {}
                Fault::Locked if course.began.elapsed() < PATIENCE_LOCKED => {}
                // One of them did it, or they are too many at once: each alone, so that only the culprit fails.
                Fault::Again | Fault::Locked | Fault::Slow | Fault::Final if members.len() > 1 => {
                    return self.alone(members, course, &failure.what).await;
                }
                Fault::Again | Fault::Locked | Fault::Slow if course.tries < MAX_TRIES_ALONE && course.has_time() => {}
                fault => return refuse(members, fault, course.unknown, &failure.what),
            }
        }
    }

    /// Runs each member alone. What is unknown of the batch is unknown of each of them, and the batch's time is theirs.
    async fn alone(&mut self, members: Vec<Waiting>, course: Course, what: &str) {
        let mut members = members.into_iter();
        while course.began.elapsed() < PATIENCE_ALONE {
            let Some(member) = members.next() else { return };
            Box::pin(self.settle(vec![member], Course { tries: 0, ..course })).await;
        }
        refuse(members.collect(), Fault::Slow, course.unknown, what);
    }

    /// One run of a batch. A member whose receipt is found is done: an earlier run had come through.
    async fn attempt(&mut self, members: &[Waiting], again: bool) -> Result<(Judgement, i64), Failure> {
        if self.connection.as_ref().is_none_or(Connection::is_closed) {
            let opened = Connection::open_soon(&self.target, &Target::keyed_settings()).await;
            let opened = opened.ok_or_else(|| Failure::silence(false))?;
            self.connection = Some(opened.map_err(|error| Failure::before(&error))?);
        }
        let Some(connection) = &self.connection else {
            return Err(Failure::silence(false));
        };
        let outcome = self.run_on(connection, members, again).await;
        if let Err(failure) = &outcome {
            // Whatever the transaction is in, it ends here; a connection on which this fails is opened anew.
            let lost = failure.fault == Fault::Lost;
            if lost || !matches!(answered(connection.execute("ROLLBACK")).await, Some(Ok(()))) {
                self.connection = None;
            }
        }
        outcome
    }

    async fn run_on(
        &self,
        connection: &Connection,
        members: &[Waiting],
        again: bool,
    ) -> Result<(Judgement, i64), Failure> {
        let needs = Needs::of(members, again);
        let found = answered(self.look(connection, &needs)).await.ok_or_else(|| Failure::silence(false))??;
        let changes: Vec<_> = members.iter().map(|waiting| &waiting.member.changes).collect();
        let judgement = judge(&changes, &found);
        let usages = usage_rows(&judgement);
        let flush = Flush::of(members, &judgement, &usages);
        if flush.is_empty() {
            let ended = answered(connection.execute("ROLLBACK")).await.ok_or_else(|| Failure::silence(false))?;
            return ended.map(|()| (judgement, 0)).map_err(|error| Failure::before(&error));
        }
        let written = answered(self.write(connection, &flush, committed_at(members))).await;
        let first = written.ok_or_else(|| Failure::silence(true))??;
        Ok((judgement, first))
    }

    /// The first flush: begins, locks and reads every row that the guards name.
    async fn look(&self, connection: &Connection, needs: &Needs<'_>) -> Result<Found, Failure> {
        let asked: Vec<_> = READS.iter().zip(&self.reads).filter(|(read, _)| !(read.keys)(needs).is_empty()).collect();
        let statements = asked.iter().map(|(_, sql)| sql.as_str());
        connection.prepare(statements).await.map_err(|error| Failure::before(&error))?;
        let params: Vec<_> = asked.iter().map(|(read, _)| [texts((read.keys)(needs).iter().copied())]).collect();
        let mut sent: Vec<Sent<'_, Vec<Row>>> = vec![Box::pin(async {
            connection.begin(" ISOLATION LEVEL READ COMMITTED").await?;
            Ok(Vec::new())
        })];
        // A statement that waits for a lock does not see what was inserted meanwhile. Where an earlier run of this batch
        // may come through while it waits, the locks are taken first, so that all is read as it is after that.
        let first = if needs.receipts.is_empty() { 0 } else { asked.iter().filter(|(read, _)| read.lock).count() };
        let locks = asked.iter().zip(&params).filter(|((read, _), _)| read.lock).take(first);
        for ((_, sql), params) in locks.chain(asked.iter().zip(&params)) {
            sent.push(Box::pin(connection.query(sql, params)));
        }
        let mut answers = together(sent).await.into_iter();
        let mut found = Found::default();
        for begun in answers.by_ref().take(1 + first) {
            begun.map_err(|error| Failure::before(&error))?;
        }
        for ((read, _), answer) in asked.iter().zip(answers) {
            for row in answer.map_err(|error| Failure::before(&error))? {
                let row = values(&row, read.types).map_err(|error| Failure::before(&error))?;
                (read.put)(&mut found, row).map_err(|error| Failure {
                    fault: Fault::Final,
                    unknown: false,
                    what: error.to_string(),
                })?;
            }
        }
        Ok(found)
    }

    /// The second flush: writes the rows kind by kind, then takes the log's head, numbers the events, and commits.
    /// Every answer is looked at: `COMMIT` of a failed transaction answers without an error.
    async fn write(&self, connection: &Connection, flush: &Flush<'_>, now: Timestamp) -> Result<i64, Failure> {
        let mut planned = Vec::new();
        for ((kind, sql), rows) in KINDS.iter().zip(&self.writes).zip(&flush.rows) {
            if !rows.is_empty() {
                let mut params = arrays(&kind.columns(), rows);
                if kind.asserts() && !matches!(kind, Kind::Insert(_)) {
                    params.push(number(i64::try_from(rows.len()).unwrap_or(i64::MAX)));
                }
                planned.push((sql.as_str(), params));
            }
        }
        planned.push((LOCK_HEAD, Vec::new()));
        let logs = [
            (&self.tenant_log, TENANT_AUDIT, &flush.tenant_events),
            (&self.platform_log, PLATFORM_AUDIT, &flush.platform_events),
        ];
        for (sql, table, events) in logs {
            if !events.is_empty() {
                let rows: Vec<_> = events.iter().map(|(_, row)| *row).collect();
                let mut params = arrays(but_position(table), &rows);
                let places: Vec<_> = events.iter().map(|(place, _)| *place).collect();
                params.push((Box::new(places), tokio_postgres::types::Type::INT8_ARRAY));
                planned.push((sql.as_str(), params));
            }
        }
        planned.push((APPEND_BATCH, vec![number(flush.events), time(now)]));
        let statements = planned.iter().map(|(sql, _)| *sql);
        connection.prepare(statements).await.map_err(|error| Failure::before(&error))?;
        let mut sent: Vec<Sent<'_, Vec<Row>>> =
            planned.iter().map(|(sql, params)| Box::pin(connection.query(sql, params)) as _).collect();
        sent.push(Box::pin(async {
            connection.execute("COMMIT").await?;
            Ok(Vec::new())
        }));
        let mut answers = together(sent).await;
        let commit = answers.pop();
        let mut first = None;
        for answer in answers {
            let rows = answer.map_err(|error| Failure::after(&error))?;
            first = rows.first().map(|row| row.try_get::<_, i64>(0));
        }
        if let Some(Err(error)) = commit {
            return Err(Failure::after(&error));
        }
        match first {
            Some(Ok(first)) => Ok(first),
            _ => Err(Failure { fault: Fault::Final, unknown: false, what: "no position came back".to_owned() }),
        }
    }
}

/// Appends to a table of the log: each row's place within the batch is added to the newest position.
pub(super) fn append_log(table: &'static Table) -> String {
    let mut columns = but_position(table).to_vec();
    columns.push(Column { name: "place", ty: Type::Int });
    let names: Vec<_> = table.columns.iter().map(|column| column.name).collect();
    let value = |column: &Column| match (column.name, column.ty) {
        ("position", _) => "h.last_position + u.place".to_owned(),
        (name, Type::Json) => format!("u.{name}::jsonb"),
        (name, _) => format!("u.{name}"),
    };
    let values: Vec<_> = table.columns.iter().map(value).collect();
    format!(
        "INSERT INTO {} ({}) SELECT {} FROM {} \
         CROSS JOIN (SELECT last_position FROM log_batches ORDER BY last_position DESC LIMIT 1) h",
        table.name,
        names.join(", "),
        values.join(", "),
        unnest(&columns, 1, "u")
    )
}

/// The columns of a table of the log but `position`, which is its last.
fn but_position(table: &'static Table) -> &'static [Column] {
    table.columns.split_last().map_or(&[], |(_, others)| others)
}

/// Tells everybody that it did not come through, or that nobody knows.
fn refuse(members: Vec<Waiting>, fault: Fault, unknown: bool, what: &str) {
    for waiting in members {
        let correlation_id = &waiting.member.changes.events()[0].correlation_id;
        tracing::error!(error = what, %correlation_id, unknown, "a change could not be committed");
        waiting.tell(Err(match fault {
            _ if unknown => Error::OutcomeUnknown,
            Fault::Lost | Fault::Stale | Fault::Full => Error::Unavailable,
            Fault::Again | Fault::Locked | Fault::Slow => Error::Busy,
            Fault::Final => Error::Internal(format!("PostgreSQL: {what}")),
        }));
    }
}
