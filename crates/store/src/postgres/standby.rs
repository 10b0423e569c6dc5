//! Synchronous standbys: whether one is missing, and waiting for what they have confirmed.

use super::shared::Shared;
use crate::rows::{Dialect, Type, Value};
use crate::sql::Sql;
use jiff::SignedDuration;
use tenancy_core::{Error, Timestamp};

/// How long a commit may wait for a standby before the standby is reported. A standby that is frozen still counts as
/// connected for as long as `wal_sender_timeout`.
const SLOW: SignedDuration = SignedDuration::from_secs(5);

/// What is wrong with the synchronous standbys. A role without `pg_monitor` sees that a standby is connected, but not whether
/// it is synchronous; it sees its own sessions, and so its commits that wait.
pub async fn complaint(shared: &Shared, now: Timestamp) -> Result<Option<String>, Error> {
    let mut sql = Sql::new(Dialect::Postgres, "");
    let before = sql.bind(Type::Time, Value::Time(now.checked_sub(SLOW).unwrap_or(now)));
    sql.text = format!(
        "SELECT current_setting('synchronous_standby_names') WHERE current_setting('synchronous_standby_names') <> '' \
         AND current_setting('synchronous_commit') NOT IN ('off', 'local') \
         AND (EXISTS (SELECT FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND query_start < {before}) \
         OR NOT EXISTS (SELECT FROM pg_stat_replication WHERE coalesce(sync_state, 'sync') IN ('sync', 'quorum')))"
    );
    let found = shared.rows(&sql, &[Type::Text]).await?.into_iter().flatten().next();
    Ok(found.map(|names| {
        let names = if let Value::Text(names) = names { names } else { String::new() };
        format!(
            "a synchronous standby (synchronous_standby_names = '{names}') is missing or does not answer, so changes wait: \
             start the standby, or remove it from synchronous_standby_names"
        )
    }))
}

/// Commits a lock of the log's head where commits wait for a standby. The answer says that the standby has everything that
/// was visible before.
pub async fn confirm(shared: &Shared) -> Result<(), Error> {
    let lock = "SELECT 1 FROM log_head WHERE only_row AND current_setting('synchronous_standby_names') <> '' \
        FOR NO KEY UPDATE";
    shared.write(&Sql::new(Dialect::Postgres, lock), &[Type::Int]).await.map(drop)
}
