//! The only writer: a thread that commits one batch after another, and runs upkeep between them.

use super::connection::{empty_log, failed};
use super::current_rows;
use super::files::Files;
use crate::batch::{Flush, ReadSet, committed_at, judged, numbered, usage_rows};
use crate::queue::{Intake, Waiting};
use crate::rows::{Value, WriteShape};
use crate::tables::audit::{PLATFORM_AUDIT, TENANT_AUDIT};
use crate::tables::log_batches;
use crate::upkeep::Durability;
use crate::write_kind::{WRITES, WriteKind};
use rusqlite::{Connection, TransactionBehavior};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::judge::Judgement;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

type Task = Box<dyn FnOnce(&mut Connection) + Send>;

/// Channels to the writer for upkeep. They are bounded; upkeep waits when they are full.
#[derive(Clone)]
pub struct Upkeep {
    tasks: mpsc::Sender<(Task, Durability)>,
    /// Tasks that run before all waiting work.
    urgent: mpsc::Sender<Task>,
    stop: Arc<Mutex<Option<oneshot::Sender<()>>>>,
}

/// Receiving end of [`Upkeep`].
pub struct Tasks {
    tasks: mpsc::Receiver<(Task, Durability)>,
    urgent: mpsc::Receiver<Task>,
    /// `None` after the stop signal was received.
    stopped: Option<oneshot::Receiver<()>>,
}

/// Creates the channels for upkeep and their receiving end.
pub fn upkeep() -> (Upkeep, Tasks) {
    let (tasks, arriving) = mpsc::channel(64);
    let (urgent, urgently) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel();
    let stop = Arc::new(Mutex::new(Some(stop)));
    (Upkeep { tasks, urgent, stop }, Tasks { tasks: arriving, urgent: urgently, stopped: Some(stopped) })
}

impl Upkeep {
    /// Runs `task` in a separate transaction between two batches.
    pub async fn run<T: Send + 'static>(
        &self,
        durability: Durability,
        task: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (task, answered) = in_transaction(task);
        self.tasks.send((task, durability)).await.map_err(|_| Error::Unavailable)?;
        answered.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Same as [`Upkeep::run`], but runs before all waiting work and does not wait for the disk. On a slow disk it
    /// waits only for the work that is already running. A power failure can undo it.
    pub async fn run_first<T: Send + 'static>(
        &self,
        task: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, Error> {
        let (task, answered) = in_transaction(task);
        self.urgent.send(task).await.map_err(|_| Error::Unavailable)?;
        answered.await.unwrap_or(Err(Error::Unavailable))
    }

    /// Tells the writer to finish its waiting work and to end.
    pub fn stop(&self) {
        drop(self.stop.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// Returns a task that does the work in a transaction, and its answer.
fn in_transaction<T: Send + 'static>(
    work: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
) -> (Task, oneshot::Receiver<Result<T, Error>>) {
    let (answer, answered) = oneshot::channel();
    let task: Task = Box::new(move |connection| {
        let done = (|| {
            let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&transaction)?;
            transaction.commit()?;
            Ok(done)
        })();
        // A caller that has gone away needs no answer.
        let _ = answer.send(done.map_err(|error| failed(&error)));
    });
    (task, answered)
}

/// How long after a purge the write-ahead log is emptied. Purges in this time share it.
const EMPTIES_LOG_AFTER: Duration = Duration::from_millis(500);
/// How long the writer waits for readers when it empties the log. Afterwards it tries again later.
const READER_PATIENCE: Duration = Duration::from_millis(50);

/// The writer.
pub struct Writer {
    connection: Connection,
    /// For urgent tasks; its commits do not wait for the disk.
    unsynced: Connection,
    intake: Intake,
    tasks: Tasks,
    files: Arc<Files>,
    /// When to empty the write-ahead log, because it contains data that a purge has removed.
    empties_log_at: Option<Instant>,
    reads: Vec<String>,
    writes: Vec<String>,
    tenant_audit: String,
    platform_audit: String,
    log_batches: String,
}

impl Writer {
    /// Creates a writer with its connections and channels.
    pub fn new(connection: Connection, unsynced: Connection, intake: Intake, tasks: Tasks, files: Arc<Files>) -> Self {
        Self {
            connection,
            unsynced,
            intake,
            tasks,
            files,
            empties_log_at: None,
            reads: current_rows::statements(),
            writes: WRITES.iter().map(|kind| kind.sqlite()).collect(),
            tenant_audit: WriteShape::Insert(TENANT_AUDIT).sqlite(),
            platform_audit: WriteShape::Insert(PLATFORM_AUDIT).sqlite(),
            log_batches: WriteShape::Insert(log_batches::TABLE).sqlite(),
        }
    }

    /// Runs until it is told to stop and no work is waiting.
    pub fn run(mut self) {
        // Waiting on two channels at once needs a runtime; this runtime runs nothing else.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        let Ok(runtime) = runtime else {
            tracing::error!("the SQLite writer could not start: nothing can be written");
            return;
        };
        loop {
            let next = runtime.block_on(async {
                tokio::select! {
                    biased;
                    Some(task) = self.tasks.urgent.recv() => Next::Urgent(task),
                    () = at(self.empties_log_at) => Next::EmptyLog,
                    Some((task, durability)) = self.tasks.tasks.recv() => Next::Task(task, durability),
                    batch = self.intake.next_half() => batch.map_or(Next::End, Next::Batch),
                    () = heard(&mut self.tasks.stopped) => Next::Stop,
                }
            });
            match next {
                Next::Urgent(task) => task(&mut self.unsynced),
                Next::Task(task, Durability::Synced) => task(&mut self.connection),
                Next::Task(task, Durability::Unsynced) => {
                    if !self.run_unsynced(task) {
                        return;
                    }
                }
                Next::Batch(batch) => self.batch(batch),
                Next::EmptyLog => self.empty_log(),
                Next::Stop => {
                    self.intake.close();
                    self.tasks.tasks.close();
                    self.tasks.urgent.close();
                }
                Next::End => return,
            }
        }
    }

    /// Runs a task on the connection of the batches, whose cache it shares. Returns `false` if the commits after it could not
    /// wait for the disk.
    fn run_unsynced(&mut self, task: Task) -> bool {
        let set = |connection: &Connection, mode| connection.pragma_update(None, "synchronous", mode);
        if let Err(error) = set(&self.connection, "NORMAL") {
            tracing::debug!(%error, "a commit waits for the disk that need not");
        }
        task(&mut self.connection);
        let is_reset = set(&self.connection, "FULL");
        if let Err(error) = &is_reset {
            tracing::error!(%error, "the SQLite writer ends: its commits would not wait for the disk");
        }
        is_reset.is_ok()
    }

    fn empty_log(&mut self) {
        let emptied = empty_log(&self.connection, READER_PATIENCE);
        if let Err(error) = &emptied {
            tracing::warn!(%error, "the write-ahead log could not be emptied after a purge");
        }
        self.empties_log_at = if emptied == Ok(true) { None } else { Some(Instant::now() + EMPTIES_LOG_AFTER) };
    }

    fn batch(&mut self, members: Vec<Waiting>) {
        match self.commit(&members).map_err(|error| self.files.reason_for(error)) {
            Ok((judgement, first)) => self.intake.tell(members, judgement, first),
            // One member caused the error: commit each alone, so that only that member fails. If the file cannot be
            // written, no member is the cause, and each retry would wait for the file again.
            Err(error)
                if members.len() > 1
                    && !matches!(error, Error::Unavailable | Error::DatabaseGone | Error::OutcomeUnknown) =>
            {
                members.into_iter().for_each(|member| self.batch(vec![member]))
            }
            Err(error) => {
                for waiting in members {
                    let correlation_id = &waiting.member.changes.events()[0].correlation_id;
                    tracing::error!(%error, %correlation_id, "a change could not be committed");
                    waiting.tell(Err(error.clone()));
                }
                if matches!(error, Error::Unavailable | Error::DatabaseGone) {
                    self.intake.refuse(&error);
                }
            }
        }
    }

    /// Runs one transaction: reads the rows that the guards name, judges, writes the accepted members, and numbers
    /// their events.
    fn commit(&mut self, members: &[Waiting]) -> Result<(Judgement, i64), Error> {
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(|e| failed(&e))?;
        self.files.check()?;
        let found = current_rows::read(&transaction, &self.reads, &ReadSet::of(members, false))?;
        let judgement = judged(members, &found);
        let usages = usage_rows(&judgement);
        let flush = Flush::of(members, &judgement, &usages);
        if flush.is_empty() {
            return Ok((judgement, 0));
        }
        for ((kind, sql), rows) in WRITES.iter().zip(&self.writes).zip(&flush.rows) {
            each(&transaction, sql, kind.asserts(), rows.iter().copied())?;
        }
        let last: i64 = transaction
            .prepare_cached("SELECT max(last_position) FROM log_batches")
            .and_then(|mut statement| statement.query_row([], |row| row.get(0)))
            .map_err(|error| failed(&error))?;
        let logs = [(&self.tenant_audit, &flush.tenant_events), (&self.platform_audit, &flush.platform_events)];
        for (sql, events) in logs {
            each(&transaction, sql, true, events.iter().map(|(place, row)| numbered(row, last + place)))?;
        }
        let batch = [Value::Int(last + flush.events), Value::Int(last + 1), Value::Time(committed_at(members))];
        each(&transaction, &self.log_batches, true, [batch])?;
        transaction.commit().map_err(|error| not_committed(&error))?;
        // A change in a deleted file is lost: it must not be answered.
        self.files.check()?;
        if !flush.rows[WriteKind::DeletePrivate.index()].is_empty() {
            self.empties_log_at.get_or_insert(Instant::now() + EMPTIES_LOG_AFTER);
        }
        Ok((judgement, last + 1))
    }
}

/// Resolves at a time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Resolves once, when the other end is dropped.
async fn heard(stopped: &mut Option<oneshot::Receiver<()>>) {
    match stopped {
        // Sending and dropping have the same effect.
        Some(receiver) => drop(receiver.await),
        None => std::future::pending().await,
    }
    *stopped = None;
}

enum Next {
    Urgent(Task),
    Task(Task, Durability),
    Batch(Vec<Waiting>),
    EmptyLog,
    Stop,
    End,
}

/// Runs a statement for each row. With `asserts`, each execution must change exactly one row; the judge has already
/// checked that the row exists, or does not exist yet.
fn each<R: AsRef<[Value]>>(
    connection: &Connection,
    sql: &str,
    asserts: bool,
    rows: impl IntoIterator<Item = R>,
) -> Result<(), Error> {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_none() {
        return Ok(());
    }
    let mut statement = connection.prepare_cached(sql).map_err(|error| failed(&error))?;
    for row in rows {
        let params = rusqlite::params_from_iter(row.as_ref());
        let changed = statement.execute(params).map_err(|error| failed(&error))?;
        if asserts && changed != 1 {
            return Err(Error::Internal(format!("{changed} rows changed instead of one: {sql}")));
        }
    }
    Ok(())
}

/// Converts the error of a COMMIT. If a write failed, the commit is incomplete and nothing can read it. Any other I/O
/// error may occur after everything was written: the disk did not confirm the sync, or the index of the write-ahead log
/// could not grow or had no memory. Then the commit may be in the write-ahead log, and becomes valid when that log is
/// read again.
fn not_committed(error: &rusqlite::Error) -> Error {
    use rusqlite::ErrorCode::{OutOfMemory, SystemIoFailure};
    let written = |cause: &rusqlite::ffi::Error| cause.extended_code != rusqlite::ffi::SQLITE_IOERR_WRITE;
    match error {
        rusqlite::Error::SqliteFailure(cause, _)
            if matches!(cause.code, SystemIoFailure | OutOfMemory) && written(cause) =>
        {
            tracing::error!(%error, "SQLite could not confirm whether the commit succeeded");
            Error::OutcomeUnknown
        }
        _ => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::super::connection;
    use super::*;
    use rusqlite::ffi;

    #[tokio::test]
    async fn must_run_what_is_urgent_before_all_that_waits() {
        let directory = tempfile::tempdir().expect("a directory");
        let path = directory.path().join("file.db");
        let connection = connection::open(&path).expect("open");
        let unsynced = connection::open_unsynced(&path).expect("open");
        let synchronous = |connection: &Connection| {
            connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).expect("a number")
        };
        assert_eq!((synchronous(&connection), synchronous(&unsynced)), (2, 1), "FULL, and NORMAL");
        let (queue, intake) = crate::queue::queue();
        let (upkeep, tasks) = upkeep();
        let files = Arc::new(Files::of(&path));
        let writer = std::thread::spawn(|| Writer::new(connection, unsynced, intake, tasks, files).run());
        let order = Arc::new(Mutex::new(Vec::new()));
        let noted = |name: &'static str| {
            let order = Arc::clone(&order);
            move |_: &Connection| {
                order.lock().expect("not poisoned").push(name);
                Ok(())
            }
        };
        let (begun, has_begun) = oneshot::channel();
        let (go_on, may_go_on) = std::sync::mpsc::channel();
        let slow = upkeep.run(Durability::Synced, move |_| {
            begun.send(()).expect("the test waits");
            may_go_on.recv().expect("the test lets it continue");
            Ok(())
        });
        // Each waits by the time the writer looks for its next task.
        let others = async {
            has_begun.await.expect("it has started");
            let release = async { go_on.send(()).expect("it waits") };
            tokio::join!(
                upkeep.run(Durability::Synced, noted("first")),
                upkeep.run(Durability::Unsynced, noted("second")),
                upkeep.run_first(noted("urgent")),
                release
            )
        };
        let (slow, (first, second, urgent, ())) = tokio::join!(slow, others);
        assert_eq!([slow, first, second, urgent], [const { Ok(()) }; 4]);
        assert_eq!(*order.lock().expect("not poisoned"), ["urgent", "first", "second"]);
        let waits = |connection: &Connection| {
            connection.pragma_query_value(None, "synchronous", |row| row.get::<_, i64>(0)).map(|mode| mode == 2)
        };
        for (durability, waits_then) in [(Durability::Unsynced, false), (Durability::Synced, true)] {
            assert_eq!(upkeep.run(durability, waits).await, Ok(waits_then), "{durability:?}");
        }
        upkeep.stop();
        drop(queue);
        writer.join().expect("it has not panicked");
    }

    #[test]
    fn must_know_which_commits_that_failed_may_be_there_all_the_same() {
        let of = |code| not_committed(&rusqlite::Error::SqliteFailure(ffi::Error::new(code), None));
        for code in [
            ffi::SQLITE_IOERR_FSYNC,
            ffi::SQLITE_IOERR_FSTAT,
            ffi::SQLITE_IOERR_SHMMAP,
            ffi::SQLITE_IOERR_SHMSIZE,
            ffi::SQLITE_IOERR_NOMEM,
            ffi::SQLITE_IOERR,
            ffi::SQLITE_NOMEM,
        ] {
            assert_eq!(of(code), Error::OutcomeUnknown, "{code}");
        }
        for code in [ffi::SQLITE_IOERR_WRITE, ffi::SQLITE_FULL, ffi::SQLITE_BUSY] {
            assert_eq!(of(code), Error::Unavailable, "{code}");
        }
        assert!(matches!(of(ffi::SQLITE_CONSTRAINT_FOREIGNKEY), Error::Internal(_)));
    }
}
