//! Upkeep: a closed list of guarded writes without an audit event. None of them can write a column that holds a
//! manifest, a hold or a state.

mod answers;
mod data_keys;
mod deliveries;
mod dispatch;
mod hold_reconciler;
mod leases;
mod log;
mod outcomes;
mod plain_rows;
mod replay;
mod restored;
mod webhook_secrets;

pub use crate::tables::log_epochs::Epoch;
pub use data_keys::Rewrapped;
pub use deliveries::{LaneLease, LaneReturn};
pub use dispatch::{DispatchLease, Dispatched, EventHead, EventHeads, Move, Replay, Wake};
pub use log::Expired;
pub use outcomes::{Outcome, Recorded};
pub use restored::Restored;

use crate::rows::{Dialect, Field, Record, Type, Value};
use crate::sql::Sql;
use crate::tables::jobs;
use crate::{Engine, Store};
use jiff::SignedDuration;
use leases::{Leased, read_lease};
use std::time::Duration;
use tenancy_core::decision_context::cut;
use tenancy_core::hold::Hold;
use tenancy_core::ids::{JobId, KeyId};
use tenancy_core::job::{Job, MAX_LOG_BYTES, Step};
use tenancy_core::tenant::Tenant;
use tenancy_core::{Error, Timestamp};

/// Progress of a running job.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Completed share, from 0 to 1.
    pub progress: f64,
    /// All steps of the job.
    pub steps: Vec<Step>,
    /// Lines to append to the log of the job.
    pub log: String,
}

/// Held lease: the job and the lease epoch.
pub type Lease = (JobId, i64);

/// How jobs are leased. After the clock was set back, a queued job is due if it was due when it was queued; if it waits,
/// since its wait began in the future.
const LEASED_JOBS: Leased = Leased {
    table: jobs::TABLE,
    key: "job_id",
    open: "finished_at IS NULL",
    held: "state = 'running'",
    due_in_the_past: "waiting_for IS NULL OR updated_at > {}",
    claim: ", state = 'running', attempt = {}attempt + 1, waiting_for = NULL",
};

/// Returns a lease. The new epoch rejects all later writes under the old lease, even before another process claims the
/// job.
const GIVEN_BACK: &str = "state = 'queued', lease_holder = NULL, lease_epoch = lease_epoch + 1";

/// Maximum difference between the clocks of two processes.
const MAX_CLOCK_OFFSET: Duration = Duration::from_secs(60);

/// Maximum number of rows of each kind that one call of [`Store::remove_expired`] removes.
pub const MAX_REMOVED: u32 = 10_000;

/// Whether a transaction of upkeep waits until it is durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It does.
    Synced,
    /// It waits neither for the disk nor for a standby. A crash of the database or a power failure can undo it, with all that
    /// came after it and did not wait either.
    Unsynced,
}

impl Store {
    /// Claims up to `limit` due jobs, including running jobs whose lease has expired.
    ///
    /// After the clock was set back, the time of a job from before may lie in the future. Such a job is due if it was
    /// due when it was queued; if it waits, since its wait began in the future; and if its lease ends later than any
    /// lease that is extended could. Just after a jump no lease has expired for certain: the processes that hold leases
    /// get the time of one lease to extend them.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database cannot be reached. The same applies to all upkeep.
    pub async fn claim(&self, holder: &str, limit: usize, lease: Duration) -> Result<Vec<Job>, Error> {
        self.claim_rows(&LEASED_JOBS, holder, limit, lease).await
    }

    /// Extends leases. Returns the leases that are still held. It does not wait for locks: a job whose row is locked,
    /// because its outcome is being committed, is still held and is extended the next time. Fails if there is no answer
    /// `within` this time.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn heartbeat(&self, leases: &[Lease], lease: Duration, within: Duration) -> Result<Vec<Lease>, Error> {
        self.extend_leases(&LEASED_JOBS, leases, lease, within).await
    }

    /// Gives leases back. Their jobs are queued again and due now.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn release(&self, leases: &[Lease]) -> Result<(), Error> {
        let now = Value::Time(self.now());
        let set = |sql: &mut Sql| {
            let now = sql.bind(Type::Time, now.clone());
            format!("{GIVEN_BACK}, due_at = {now}")
        };
        self.leased(leases, set).await.map(drop)
    }

    /// Puts a waiting job back into the queue. It is not due before `until`, and the job says what it waits for.
    /// Returns `false` when the lease is lost, or when the tenant has changed since it was `seen`: a hold may have been
    /// placed that the job does not know of. Placing a hold locks the tenant's row as well, so the two happen one after
    /// the other.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn put_aside(
        &self,
        (job_id, epoch): &Lease,
        seen: &Tenant,
        waiting_for: &str,
        until: Timestamp,
    ) -> Result<bool, Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let what = sql.bind(Type::Text, Value::Text(waiting_for.to_owned()));
        let until = sql.bind(Type::Time, Value::Time(cut(until)));
        let now = sql.bind(Type::Time, Value::Time(self.now()));
        let id = sql.bind(Type::Text, job_id.put());
        let epoch = sql.bind(Type::Int, Value::Int(*epoch));
        let tenant = sql.bind(Type::Text, seen.tenant_id.put());
        let counter = sql.bind(Type::Int, Value::Int(seen.facts.counter));
        let share = match self.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => " FOR SHARE",
        };
        sql.text = format!(
            "WITH seen AS MATERIALIZED (SELECT 1 FROM tenants WHERE tenant_id = {tenant} AND counter = {counter}{share}) \
             UPDATE tenant_jobs SET {GIVEN_BACK}, waiting_for = {what}, due_at = {until}, updated_at = {now} \
             WHERE job_id = {id} AND lease_epoch = {epoch} AND state = 'running' AND EXISTS (SELECT 1 FROM seen) \
             RETURNING 1"
        );
        Ok(!self.write(sql, vec![Type::Int]).await?.is_empty())
    }

    /// Writes the progress of a job. Returns `false` when the lease is lost.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn progress(&self, lease: &Lease, progress: Progress) -> Result<bool, Error> {
        let now = Value::Time(self.now());
        let held = self
            .leased(std::slice::from_ref(lease), |sql| {
                let share = sql.bind(Type::Float, Value::Float(progress.progress));
                let steps = sql.bind(Type::Json, progress.steps.put());
                let log = sql.bind(Type::Text, Value::Text(progress.log.clone()));
                let now = sql.bind(Type::Time, now.clone());
                // The oldest part of a log that exceeds the limit is cut off.
                let (all, characters) = (format!("logs || {log}"), MAX_LOG_BYTES / 4);
                let (bytes, end) = match sql.dialect() {
                    Dialect::Sqlite => {
                        (format!("length(CAST({all} AS BLOB))"), format!("substr({all}, -{characters})"))
                    }
                    Dialect::Postgres => (format!("octet_length({all})"), format!("right({all}, {characters})")),
                };
                let keep = format!("CASE WHEN {bytes} <= {MAX_LOG_BYTES} THEN {all} ELSE {end} END");
                format!("progress = {share}, steps = {steps}, logs = {keep}, updated_at = {now}")
            })
            .await?;
        Ok(!held.is_empty())
    }

    /// Updates jobs whose leases are held. Returns those leases.
    async fn leased(&self, leases: &[Lease], set: impl Fn(&mut Sql) -> String) -> Result<Vec<Lease>, Error> {
        let mut held = Vec::new();
        // A few hundred at most. Each statement has one lease, so that both databases run the same text.
        for (id, epoch) in leases {
            let mut sql = Sql::new(self.dialect(), "");
            let set = set(&mut sql);
            let id = sql.bind(Type::Text, id.put());
            let epoch = sql.bind(Type::Int, Value::Int(*epoch));
            sql.text = format!(
                "UPDATE tenant_jobs SET {set} WHERE job_id = {id} AND lease_epoch = {epoch} AND state = 'running' \
                 RETURNING job_id, lease_epoch"
            );
            let rows = self.write(sql, vec![Type::Text, Type::Int]).await?;
            held.extend(rows.into_iter().map(read_lease).collect::<Result<Vec<_>, _>>()?);
        }
        Ok(held)
    }

    /// Returns the holds that have ended, the earliest end first.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn ended_holds(&self, limit: usize) -> Result<Vec<Hold>, Error> {
        let mut sql = Sql::new(self.dialect(), Hold::TABLE.select(self.dialect()));
        sql.and("until <= {}", Some(self.now())).order("until", limit);
        self.all_readable(sql).await
    }

    /// Removes expired idempotency records and outdated usage rows, up to [`MAX_REMOVED`] of each. Returns the number
    /// of removed rows. It does not wait for locks: rows that another process is removing are skipped. In the hour after
    /// a jump of the clock it removes no idempotency records.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn remove_expired(&self) -> Result<u64, Error> {
        let answers = if self.clock_jump().is_some() { 0 } else { self.remove_expired_answers().await? };
        let newer = "EXISTS (SELECT 1 FROM organization_usage newer \
                     WHERE newer.organization_id = old.organization_id AND newer.serial > old.serial)";
        let sql = Sql::new(self.dialect(), "");
        let usage = self.remove_portion(sql, "organization_usage", "organization_id, serial", newer).await?;
        Ok(answers + usage)
    }

    async fn remove_expired_answers(&self) -> Result<u64, Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let now = sql.bind(Type::Time, Value::Time(self.now()));
        let expired = format!("old.expires_at <= {now} ORDER BY old.expires_at");
        self.remove_portion(sql, "idempotency_records", "digest", &expired).await
    }

    /// Removes rows of `table` by key. `which` is the condition on a row, named `old`.
    async fn remove_portion(&self, mut sql: Sql, table: &str, key: &str, which: &str) -> Result<u64, Error> {
        let most = sql.bind(Type::Int, Value::Int(i64::from(MAX_REMOVED)));
        let skip = match self.dialect() {
            Dialect::Sqlite => "",
            Dialect::Postgres => " FOR UPDATE OF old SKIP LOCKED",
        };
        sql.text = format!(
            "WITH portion AS MATERIALIZED (SELECT {key} FROM {table} old WHERE {which} LIMIT {most}{skip}) \
             DELETE FROM {table} WHERE ({key}) IN (SELECT {key} FROM portion) RETURNING 1"
        );
        let removed = self.write(sql, vec![Type::Int]).await?.len();
        Ok(u64::try_from(removed).unwrap_or(u64::MAX))
    }

    /// Records when keys were last used, if the recorded time is at least `min_seconds` older.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn note_key_uses(&self, uses: &[(KeyId, Timestamp)], min_seconds: i64) -> Result<(), Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let pair = |(id, at): &(KeyId, Timestamp)| {
            let before = at.checked_sub(SignedDuration::from_secs(min_seconds)).unwrap_or(Timestamp::MIN);
            let id = sql.bind(Type::Text, id.put());
            let [at, before] = [*at, before].map(|time| sql.bind(Type::Time, Value::Time(time)));
            format!("({id}, {at}, {before})")
        };
        let rows = uses.iter().map(pair).collect::<Vec<_>>().join(", ");
        sql.text = format!(
            "WITH used (id, at, before) AS (VALUES {rows}) UPDATE api_keys SET last_used_at = used.at FROM used \
             WHERE key_id = used.id AND (last_used_at IS NULL OR last_used_at <= used.before) RETURNING key_id"
        );
        self.write(sql, vec![Type::Text]).await.map(drop)
    }

    /// Sets a mark on the database once. [`crate::database::Database::is_marked`] finds it.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn mark(&self, name: &str) -> Result<(), Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let name = sql.bind(Type::Text, Value::Text(name.to_owned()));
        let value = sql.bind(Type::Text, Value::Text(env!("CARGO_PKG_VERSION").to_owned()));
        let now = sql.bind(Type::Time, Value::Time(self.now()));
        sql.text = format!(
            "INSERT INTO marks (name, value, created_at) VALUES ({name}, {value}, {now}) \
             ON CONFLICT (name) DO NOTHING RETURNING name"
        );
        self.write(sql, vec![Type::Text]).await.map(drop)
    }

    /// Runs upkeep statements in one transaction. Returns the rows of each that are a number.
    pub(crate) async fn write_all(
        &self,
        statements: Vec<Sql>,
        durability: Durability,
    ) -> Result<Vec<Vec<Vec<Value>>>, Error> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.write_all(statements, durability).await,
            Engine::Postgres(postgres) => postgres.shared.write_all(&statements, durability).await,
            #[cfg(feature = "model")]
            Engine::Model(_) => Err(Error::Internal("the model does not support upkeep".to_owned())),
        }
    }

    /// Runs an upkeep statement.
    pub(crate) async fn write(&self, sql: Sql, types: Vec<Type>) -> Result<Vec<Vec<Value>>, Error> {
        match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.write(sql, types).await,
            Engine::Postgres(postgres) => postgres.shared.write(&sql, &types).await,
            #[cfg(feature = "model")]
            Engine::Model(_) => Err(Error::Internal("the model does not support upkeep".to_owned())),
        }
    }
}

fn after(now: Timestamp, lease: Duration) -> Timestamp {
    now.checked_add(lease).unwrap_or(Timestamp::MAX)
}
