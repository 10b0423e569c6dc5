//! The two flushes of a batch: the statements that each sends together, and how their answers are read.

use super::connection::{Connection, Param, Sent, number, numbers, texts, time, together, together_told};
use super::fault::{Failure, Fault};
use super::one_read::{OneRead, placed};
use super::one_statement::OneStatement;
use super::organization_cache::OrganizationCache;
use super::preconditions::Preconditions;
use super::rows::Rows;
use super::target::LOCK_TIMEOUT_SECONDS;
use crate::batch::{Appended, Flush, ReadSet, key_text};
use crate::current_rows::{READS, ROUNDS, Read};
use crate::rows::{Column, Table, Value, unnest};
use crate::tables::audit::{PLATFORM_AUDIT, TENANT_AUDIT};
use crate::write_kind::WRITES;
use tenancy_core::Timestamp;
use tenancy_core::ids::KeyId;
use tenancy_core::judge::CurrentRows;
use tokio::sync::Notify;
use tokio_postgres::Row;

/// Locks the log's head, and asserts that it is there: without it no process would wait for another. From here on the
/// transaction waits for locks as long as possible: every process waits for the commits of the others here. The limit is set
/// in the condition, before the row is locked.
pub(super) const LOCK_HEAD: &str = "SELECT CASE WHEN count(*) = 1 THEN 1 \
    ELSE assertion_failed('TN002', 'log_head: there is no row to lock') END \
    FROM (SELECT FROM log_head WHERE only_row AND set_config('lock_timeout', '2s', true) <> '' FOR NO KEY UPDATE) head";
const _: () = assert!(LOCK_TIMEOUT_SECONDS == 2, "the limit in LOCK_HEAD");
/// Appends the batch to the log, and asserts the versions of its callers' API keys. A key that is at another version was
/// revoked; it cannot be revoked between this statement and COMMIT, because that needs the log's head. The newest position
/// is a scalar subquery and no join: if there is none, the commit fails, and no event is left without a position.
pub(super) const APPEND_BATCH: &str = "INSERT INTO log_batches (last_position, first_position, committed_at) \
    SELECT last_position + $1::bigint + (SELECT count(CASE WHEN (SELECT version FROM api_keys WHERE key_id = c.id) = c.version \
    THEN NULL ELSE assertion_failed('TN001', 'api_keys: ' || c.id || ' is not at version ' || c.version) END) \
    FROM unnest($3::text[], $4::bigint[]) AS c(id, version)), last_position + 1, $2::timestamptz \
    FROM (SELECT (SELECT last_position FROM log_batches ORDER BY last_position DESC LIMIT 1) AS last_position) h \
    RETURNING first_position";

/// The statements of both flushes, made once.
pub struct Flushes {
    reads: Vec<String>,
    writes: Vec<String>,
    /// The columns of each kind of row.
    columns: Vec<Vec<Column>>,
    tenant_log: String,
    platform_log: String,
    preconditions: Preconditions,
    /// Organizations as the batches before have read or written them.
    pub organizations: OrganizationCache,
}

impl Flushes {
    /// Makes the statements.
    pub fn new() -> Self {
        Self {
            reads: READS.iter().map(|read| read.postgres()).collect(),
            writes: WRITES.iter().map(|kind| kind.postgres()).collect(),
            columns: WRITES.iter().map(|kind| kind.columns()).collect(),
            tenant_log: append_log(TENANT_AUDIT),
            platform_log: append_log(PLATFORM_AUDIT),
            preconditions: Preconditions::new(),
            organizations: OrganizationCache::default(),
        }
    }

    /// The first flush: begins, and locks and reads every row that the guards name. Callers' API keys are not read while the
    /// versions in the guards may be presumed.
    pub async fn first(&self, connection: &Connection, needs: &ReadSet<'_>) -> Result<CurrentRows, Failure> {
        let mut planned = self.rounds(needs, |read| !(read.is_of_callers() && needs.callers_hold()));
        if !needs.receipts.is_empty() {
            // An earlier run of this batch may be committed while this one waits for a lock: all locks are taken first, so
            // that everything is read after that.
            planned.splice(0..0, self.rounds(needs, |read| read.lock));
        }
        connection
            .prepare(planned.iter().map(|one| one.sql.as_str()))
            .await
            .map_err(|error| Failure::before(&error))?;
        let mut sent = vec![begun(connection)];
        sent.extend(planned.iter().map(|one| Box::pin(connection.query(&one.sql, &one.params)) as _));
        let mut found = CurrentRows::default();
        for answer in together(sent).await {
            for row in answer.map_err(|error| Failure::before(&error))? {
                let (place, row) = placed(&row).map_err(|error| Failure::before(&error))?;
                let put = READS.get(place).map(|read| (read.put)(&mut found, row));
                if !matches!(put, Some(Ok(()))) {
                    let what = format!("read {place} returned a row that cannot be decoded: {put:?}");
                    return Err(Failure::of_ours(Fault::Final, what));
                }
            }
        }
        if needs.callers_hold() {
            let assumed = needs.caller_versions.iter().filter(|(id, _)| !needs.api_keys.contains(*id));
            for (id, version) in assumed {
                found.api_keys.entry(KeyId::known(*id)).or_insert(*version);
            }
        }
        // A pooler may have switched to another server.
        if !connection.is_pooled() && !self.organizations.was_read(&found) {
            let what = "the usage of an organization is older than it was".to_owned();
            return Err(Failure::of_ours(Fault::Again, what));
        }
        Ok(found)
    }

    /// The reads of a batch, one statement for each round.
    fn rounds<'a>(&self, needs: &'a ReadSet<'a>, which: impl Fn(&Read) -> bool) -> Vec<OneRead<'a>> {
        let mut rounds: [OneRead<'a>; ROUNDS] = Default::default();
        for (place, (read, sql)) in READS.iter().zip(&self.reads).enumerate() {
            if which(read) && !(read.keys)(needs).is_empty() {
                rounds[read.round()].and(place, sql, self.keys(read, needs));
            }
        }
        rounds.into_iter().filter(|one| !one.sql.is_empty()).collect()
    }

    fn keys<'a>(&self, read: &Read, needs: &'a ReadSet<'a>) -> Vec<Param<'a>> {
        let keys = || (read.keys)(needs).iter().copied();
        let keyed = texts(keys());
        if read.is_newest_only() { vec![keyed, numbers(self.organizations.least(keys()))] } else { vec![keyed] }
    }

    /// The second flush: writes the rows kind by kind, then locks the log's head, appends the events, and commits. Returns the
    /// position of the first event. Every answer is looked at, because `COMMIT` of a failed transaction returns no error.
    /// `is_sent` is notified when everything is sent.
    ///
    /// Without a first flush it begins the transaction, and asserts what was `presumed` before it writes.
    pub async fn second(
        &self,
        connection: &Connection,
        presumed: Option<(&ReadSet<'_>, &CurrentRows)>,
        flush: &Flush<'_>,
        now: Timestamp,
        is_sent: &Notify,
    ) -> Result<i64, Failure> {
        let mut planned = self.writes(connection, flush);
        planned.push(OneStatement::of(LOCK_HEAD, Vec::new()));
        let log = self.log(connection, flush, now);
        let asserted: Vec<_> =
            presumed.iter().flat_map(|(needs, found)| self.preconditions.statements(needs, found)).collect();
        let statements = planned.iter().chain([&log]).map(|one| &one.sql).chain(asserted.iter().map(|one| &one.sql));
        connection.prepare(statements.map(String::as_str)).await.map_err(|error| Failure::before(&error))?;
        let mut sent: Vec<Sent<'_, Vec<Row>>> = Vec::new();
        if presumed.is_some() {
            sent.push(begun(connection));
        }
        sent.extend(asserted.iter().map(|one| Box::pin(connection.query(&one.sql, &one.params)) as _));
        sent.extend(planned.iter().map(|one| Box::pin(connection.query(&one.sql, &one.params)) as _));
        sent.push(Box::pin(connection.query(&log.sql, &log.params)));
        sent.push(Box::pin(async {
            connection.execute("COMMIT").await?;
            Ok(Vec::new())
        }));
        let statements = sent.len();
        let mut answers = together_told(sent, || is_sent.notify_one()).await;
        let commit = answers.pop();
        if let Some(Err(error)) = &commit
            && answers.len() + 1 < statements
        {
            // It was not sent, and neither was COMMIT.
            return Err(Failure::before(error));
        }
        let mut first = None;
        let head_at = usize::from(presumed.is_some()) + asserted.len() + planned.len() - 1;
        for (at, answer) in answers.into_iter().enumerate() {
            let rows = answer.map_err(|error| Failure { of_head: at == head_at, ..Failure::after(&error) })?;
            first = rows.first().map(|row| row.try_get::<_, i64>(0));
        }
        if let Some(Err(error)) = commit {
            return Err(Failure::of_commit(&error));
        }
        match first {
            _ if connection.is_unconfirmed() => Err(Failure::unconfirmed()),
            Some(Ok(first)) => Ok(first),
            _ => Err(Failure::of_ours(Fault::Final, "the log returned no position".to_owned())),
        }
    }

    /// Commits the transaction that the first flush has begun, with nothing but the lock of the log's head. Where commits wait
    /// for a standby, the answer says that the standby has everything that was found: what was committed by a session whose
    /// wait was cancelled, or before the server was started again, is visible although no standby may have it. A transaction
    /// that writes nothing would not wait; a lock of a row is a write.
    pub async fn confirm(&self, connection: &Connection) -> Result<(), Failure> {
        let sent: Vec<Sent<'_, Vec<Row>>> = vec![
            Box::pin(connection.query(LOCK_HEAD, &[])),
            Box::pin(async { connection.execute("COMMIT").await.map(|()| Vec::new()) }),
        ];
        for answer in together(sent).await {
            answer.map_err(|error| Failure { unknown: true, of_head: true, ..Failure::after(&error) })?;
        }
        if connection.is_unconfirmed() { Err(Failure::unconfirmed()) } else { Ok(()) }
    }

    /// The statements that write the rows, kind by kind; inserts that follow each other are one statement.
    fn writes<'a>(&'a self, connection: &Connection, flush: &'a Flush<'_>) -> Vec<OneStatement<'a>> {
        let mut planned: Vec<OneStatement<'a>> = Vec::new();
        let mut inserts_last = false;
        for (((kind, sql), columns), rows) in WRITES.iter().zip(&self.writes).zip(&self.columns).zip(&flush.rows) {
            if rows.is_empty() {
                continue;
            }
            let mut params = vec![rows_of(connection, kind.table(), columns, rows, &[])];
            let inserts = kind.inserts();
            if !inserts {
                params.push(texts(rows.iter().filter_map(|row| key_text(row))));
            }
            match planned.last_mut() {
                Some(last) if inserts && inserts_last => last.and(sql, params),
                _ => planned.push(OneStatement::of(sql, params)),
            }
            inserts_last = inserts;
        }
        planned
    }

    /// The statement that appends the events to the log, and their last position.
    fn log<'a>(&'a self, connection: &Connection, flush: &'a Flush<'_>, now: Timestamp) -> OneStatement<'a> {
        let logs = [
            (&self.tenant_log, TENANT_AUDIT, &flush.tenant_events),
            (&self.platform_log, PLATFORM_AUDIT, &flush.platform_events),
        ];
        let mut log = OneStatement::default();
        for (sql, table, Appended { rows, places }) in logs {
            if !rows.is_empty() {
                log.and(sql, vec![rows_of(connection, table, table.columns, rows, places)]);
            }
        }
        let (callers, versions) = (flush.callers.keys().copied(), flush.callers.values().copied().collect());
        log.and(APPEND_BATCH, vec![number(flush.events), time(now), texts(callers), numbers(versions)]);
        log
    }
}

pub(super) fn begun(connection: &Connection) -> Sent<'_, Vec<Row>> {
    // Behind a pooler the session is not made read only, and where an administrator has made it so, it stays so.
    let write = if connection.is_pooled() { "" } else { " READ WRITE" };
    Box::pin(async move {
        connection.begin(&format!(" ISOLATION LEVEL READ COMMITTED{write}")).await?;
        Ok(Vec::new())
    })
}

/// Appends to a table of the log. The position of each row is its place within the batch, and the newest position is added to
/// it.
pub(super) fn append_log(table: &'static Table) -> String {
    let names: Vec<_> = table.columns.iter().map(|column| column.name).collect();
    let names = names.join(", ");
    let values = format!("u.{}", names.replace(", ", ", u.")).replace("u.position", "h.last_position + u.position");
    format!(
        "INSERT INTO {} ({names}) SELECT {values} FROM {} \
         CROSS JOIN (SELECT (SELECT last_position FROM log_batches ORDER BY last_position DESC LIMIT 1) AS last_position) h",
        table.name,
        unnest(table)
    )
}

fn rows_of<'a>(
    connection: &Connection,
    table: &Table,
    columns: &'a [Column],
    rows: &'a [&'a [Value]],
    places: &'a [i64],
) -> Param<'a> {
    (Box::new(Rows { columns, rows, places }), connection.row_array_type(table.name))
}
