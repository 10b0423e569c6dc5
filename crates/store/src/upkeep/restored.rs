//! Upkeep after a database was restored from a backup: a new epoch of the log, and the end of all leases.

use super::GIVEN_BACK;
use crate::Store;
use crate::list::corrupt;
use crate::rows::{Field, Record, Type, Value};
use crate::sql::Sql;
use crate::tables::log_epochs::{self, Epoch};
use tenancy_core::{Error, Timestamp};

/// What a restored database contains that was in progress or may be out of date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// Newest log position in the backup. Later events are lost.
    pub newest_position: i64,
    /// Time of the newest batch in the backup.
    pub newest_at: Option<Timestamp>,
    /// Number of jobs whose lease was ended.
    pub ended_leases: usize,
    /// Number of jobs that are not finished.
    pub open_jobs: i64,
    /// Number of jobs among them that wait for something.
    pub waiting_jobs: i64,
    /// Number of keys that are not revoked. Keys that were revoked after the backup are among them.
    pub keys: i64,
    /// Number of holds. Holds that were placed after the backup are missing; holds that were released are back.
    pub holds: i64,
    /// Number of holds whose end has passed.
    pub ended_holds: i64,
    /// Number of tenants whose purge was requested or may have happened after the backup.
    pub archived_tenants: i64,
    /// Number of stored answers to requests with an Idempotency-Key.
    pub answers: i64,
    /// Number of those that have expired.
    pub expired_answers: i64,
}

/// Counts what is listed in [`Restored`], in its order. `{}` is the time.
const COUNTS: [&str; 8] = [
    "SELECT count(*) FROM tenant_jobs WHERE finished_at IS NULL",
    "SELECT count(*) FROM tenant_jobs WHERE finished_at IS NULL AND waiting_for IS NOT NULL",
    "SELECT count(*) FROM api_keys WHERE revoked_at IS NULL",
    "SELECT count(*) FROM holds",
    "SELECT count(*) FROM holds WHERE until <= {}",
    "SELECT count(*) FROM tenants WHERE archived_at IS NOT NULL AND purged_at IS NULL",
    "SELECT count(*) FROM idempotency_records",
    "SELECT count(*) FROM idempotency_records WHERE expires_at <= {}",
];

/// More than the number of leases that a row gets between a backup and its restore.
const EPOCHS_AFTER_RESTORE: i64 = 1 << 32;

impl Store {
    /// Begins a new epoch of the log's order, so that positions of lost events are refused.
    ///
    /// # Errors
    /// Same as [`Store::claim`]; on PostgreSQL also when the role does not own the log.
    pub async fn begin_log_epoch(&self) -> Result<Epoch, Error> {
        let types = log_epochs::TABLE.columns.iter().map(|column| column.ty).collect();
        let begun = self.write(log_epochs::begin(self.dialect(), self.now()), types).await?.pop();
        let begun = begun.ok_or_else(|| Error::Internal("the epoch was not stored".to_owned()))?;
        Epoch::from_values(begun).map_err(corrupt)
    }

    /// Ends all leases, which processes before the backup held: those of jobs, of the dispatcher of webhooks and of webhooks.
    /// Counts what is open. Before it, nothing may have been written to the restored database.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn end_leases_after_restore(&self) -> Result<Restored, Error> {
        let text = "SELECT last_position, committed_at FROM log_batches ORDER BY last_position DESC LIMIT 1";
        let newest = self.rows(Sql::new(self.dialect(), text), vec![Type::Int, Type::Time]).await?;
        let (newest_position, newest_at) = match newest.into_iter().next().unwrap_or_default().as_slice() {
            [Value::Int(position), Value::Time(at)] => (*position, (*position > 0).then_some(*at)),
            _ => (0, None),
        };
        let mut sql = Sql::new(self.dialect(), "");
        let now = sql.bind(Type::Time, Value::Time(self.now()));
        sql.text = format!("UPDATE tenant_jobs SET {GIVEN_BACK}, due_at = {now} WHERE state = 'running' RETURNING 1");
        let ended_leases = self.write(sql, vec![Type::Int]).await?.len();
        self.end_webhook_leases().await?;
        let mut counts = [0; COUNTS.len()];
        for (count, text) in counts.iter_mut().zip(COUNTS) {
            let mut sql = Sql::new(self.dialect(), text);
            if text.contains("{}") {
                let now = sql.bind(Type::Time, Value::Time(self.now()));
                sql.text = text.replace("{}", &now);
            }
            let found = self.rows(sql, vec![Type::Int]).await?.into_iter().flatten().next();
            *count = found.map(i64::take).transpose().map_err(corrupt)?.unwrap_or_default();
        }
        let [open_jobs, waiting_jobs, keys, holds, ended_holds, archived_tenants, answers, expired_answers] = counts;
        Ok(Restored {
            newest_position,
            newest_at,
            ended_leases,
            open_jobs,
            waiting_jobs,
            keys,
            holds,
            ended_holds,
            archived_tenants,
            answers,
            expired_answers,
        })
    }
    /// Ends the leases of the dispatcher and of all webhooks. A process that took leases after the backup may still run. The
    /// numbers go so far up that no lease gets a number which such a process has.
    async fn end_webhook_leases(&self) -> Result<(), Error> {
        let sql = format!(
            "UPDATE webhook_dispatch SET lease_holder = NULL, lease_until = NULL, \
             lease_epoch = lease_epoch + {EPOCHS_AFTER_RESTORE} RETURNING 1"
        );
        self.write(Sql::new(self.dialect(), sql), vec![Type::Int]).await?;
        let mut sql = Sql::new(self.dialect(), "");
        let now = sql.bind(Type::Time, Value::Time(self.now()));
        sql.text = format!(
            "UPDATE webhook_lanes SET due_at = CASE WHEN lease_holder IS NULL THEN due_at ELSE {now} END, \
             lease_holder = NULL, lease_epoch = lease_epoch + {EPOCHS_AFTER_RESTORE} RETURNING 1"
        );
        self.write(sql, vec![Type::Int]).await.map(drop)
    }
}
