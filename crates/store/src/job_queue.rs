//! The open jobs as an operator sees them: how many there are, who works on them, and what they wait for. Every read is
//! bounded and uses the index by `due_at`.

use crate::Store;
use crate::list::corrupt;
use crate::rows::{Dialect, Field, Type};
use crate::sql::Sql;
use jiff::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::job::JobState;

/// Maximum number of jobs that are read of those that are due, and of those that are not.
const MAX_READ: usize = 1_000;

/// Maximum number of reasons that are listed.
const MAX_REASONS: usize = 10;

/// The open jobs of all tenants.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JobQueue {
    /// Jobs that are due and that no process works on.
    pub due: usize,
    /// Jobs that wait for a condition or for a time.
    pub waiting: usize,
    /// Jobs that a process works on.
    pub running: usize,
    /// Whether there are more jobs than were read.
    pub is_more: bool,
    /// Since when the oldest of the due jobs is due.
    pub oldest_due_at: Option<Timestamp>,
    /// Processes that work on jobs now.
    pub processes: usize,
    /// What the waiting jobs wait for, with the number of jobs, the most frequent first.
    pub waits_for: Vec<(String, usize)>,
}

/// A job that is due but was not claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unclaimed {
    /// Time since which the oldest such job is due.
    pub since: Timestamp,
    /// Whether a process works on other jobs.
    pub others_run: bool,
}

/// What is read of an open job.
struct Open {
    state: JobState,
    waiting_for: Option<String>,
    due_at: Timestamp,
    holder: Option<String>,
}

impl Store {
    /// Returns the open jobs of all tenants.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn job_queue(&self) -> Result<JobQueue, Error> {
        let now = self.now();
        let (due, later) = (self.open_jobs(now, true, MAX_READ).await?, self.open_jobs(now, false, MAX_READ).await?);
        let is_more = due.len() == MAX_READ || later.len() == MAX_READ;
        let mut queue = JobQueue {
            oldest_due_at: due.first().map(|job| job.due_at),
            due: due.len(),
            is_more,
            ..JobQueue::default()
        };
        let (mut holders, mut reasons) = (BTreeSet::new(), BTreeMap::<String, usize>::new());
        for job in later {
            if job.state == JobState::Running {
                queue.running += 1;
                holders.extend(job.holder);
            } else {
                queue.waiting += 1;
                let reason = job.waiting_for.unwrap_or_else(|| "its next attempt".to_owned());
                *reasons.entry(reason).or_default() += 1;
            }
        }
        queue.processes = holders.len();
        queue.waits_for = reasons.into_iter().collect();
        queue.waits_for.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        queue.waits_for.truncate(MAX_REASONS);
        Ok(queue)
    }

    /// Returns the oldest job that has been due for longer than `late` without being claimed.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn unclaimed(&self, late: Duration) -> Result<Option<Unclaimed>, Error> {
        let now = self.now();
        let oldest = self.open_jobs(now, true, 1).await?.pop();
        let since = oldest.map(|job| job.due_at);
        let Some(since) = since.filter(|since| now.duration_since(*since).unsigned_abs() > late) else {
            return Ok(None);
        };
        let later = self.open_jobs(now, false, MAX_READ).await?;
        Ok(Some(Unclaimed { since, others_run: later.iter().any(|job| job.state == JobState::Running) }))
    }

    /// Returns open jobs in the order in which they are due. A running job whose lease has expired is due.
    async fn open_jobs(&self, now: Timestamp, due: bool, limit: usize) -> Result<Vec<Open>, Error> {
        let select = "SELECT state, waiting_for, due_at, lease_holder FROM tenant_jobs";
        let mut sql = Sql::new(self.dialect(), select);
        sql.also("finished_at IS NULL");
        sql.and(if due { "due_at <= {}" } else { "due_at > {}" }, Some(now)).order("due_at", limit);
        let rows = self.list_rows(sql, vec![Type::Text, Type::Text, Type::Time, Type::Text]).await?;
        let read = rows.into_iter().map(|row| {
            let [state, waiting_for, due_at, holder] = crate::current_rows::columns(row)?;
            Ok(Open {
                state: JobState::take(state)?,
                waiting_for: <Option<String> as Field>::take(waiting_for)?,
                due_at: Timestamp::take(due_at)?,
                holder: <Option<String> as Field>::take(holder)?,
            })
        });
        read.collect::<Result<_, _>>().map_err(corrupt)
    }

    /// Returns the kind of the database and its size in bytes.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn kind_and_size(&self) -> Result<(&'static str, i64), Error> {
        let (kind, size) = match self.dialect() {
            Dialect::Sqlite => ("SQLite", "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"),
            Dialect::Postgres => ("PostgreSQL", "SELECT pg_database_size(current_database())"),
        };
        let rows = self.list_rows(Sql::new(self.dialect(), size), vec![Type::Int]).await?;
        let size = rows.into_iter().flatten().next().map(i64::take).transpose().map_err(corrupt)?;
        Ok((kind, size.unwrap_or_default()))
    }
}
