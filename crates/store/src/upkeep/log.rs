//! Upkeep of the log's storage: creates partitions ahead and removes expired events.

use super::MAX_REMOVED;
use crate::list::corrupt;
use crate::rows::{Field, Type, Value};
use crate::sql::Sql;
use crate::{Engine, Store};
use tenancy_core::decision_context::least_audit_id;
use tenancy_core::{Error, Timestamp};

/// Expired part of the log that was removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expired {
    /// Number of monthly partitions.
    Partitions(usize),
    /// Number of events, on a database without partitions.
    Events(usize),
}

impl Store {
    /// Creates the missing partitions of the log. Returns their number. SQLite's log has no partitions.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn top_up_log(&self) -> Result<usize, Error> {
        match &self.engine {
            Engine::Sqlite(_) => Ok(0),
            Engine::Postgres(postgres) => postgres.top_up_log().await,
            #[cfg(feature = "model")]
            Engine::Model(_) => Ok(0),
        }
    }

    /// Raises the floor of the log to `before`, the start of a month. Removes nothing.
    ///
    /// # Errors
    /// Same as [`Store::claim`]; on PostgreSQL also when the role does not own the log.
    pub async fn raise_log_floor(&self, before: Timestamp) -> Result<(), Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let floor = sql.bind(Type::Text, Value::Text(least_audit_id(before).to_string()));
        sql.text = format!("UPDATE log_floor SET audit_id = {floor} WHERE audit_id < {floor} RETURNING 1");
        self.write(sql, vec![Type::Int]).await.map(drop)
    }

    /// Removes tenants' events from before `before` that are below the floor, with their private data. Call it again to
    /// continue. Events of the platform are kept.
    ///
    /// # Errors
    /// Same as [`Store::raise_log_floor`].
    pub async fn remove_expired_log(&self, before: Timestamp) -> Result<Expired, Error> {
        let expired = match &self.engine {
            Engine::Postgres(postgres) => Expired::Partitions(postgres.drop_expired_log(before).await?),
            _ => Expired::Events(self.remove_events_below_floor().await?),
        };
        self.remove_private_below_floor().await?;
        Ok(expired)
    }

    /// Removes a bounded number of tenants' events below the floor. Returns the number.
    async fn remove_events_below_floor(&self) -> Result<usize, Error> {
        let mut removed = 0;
        loop {
            let mut sql = Sql::new(self.dialect(), "");
            let most = sql.bind(Type::Int, Value::Int(i64::from(MAX_REMOVED)));
            sql.text = format!(
                "DELETE FROM tenant_audit WHERE audit_id IN (SELECT audit_id FROM tenant_audit \
                 WHERE audit_id < (SELECT audit_id FROM log_floor) AND tenant_id <> '' LIMIT {most}) RETURNING 1"
            );
            match self.write(sql, vec![Type::Int]).await?.len() {
                0 => return Ok(removed),
                some => removed += some,
            }
        }
    }

    /// Removes the private data of tenants' events below the floor. They are stored by tenant, so old rows are
    /// everywhere: it scans all of them, a bounded number at a time.
    async fn remove_private_below_floor(&self) -> Result<(), Error> {
        let mut behind = [String::new(), String::new()];
        loop {
            let mut sql = Sql::new(self.dialect(), "");
            let [tenant, event] = behind.map(|key| sql.bind(Type::Text, Value::Text(key)));
            let most = sql.bind(Type::Int, Value::Int(i64::from(MAX_REMOVED)));
            let portion = format!(
                "SELECT tenant_id, audit_id FROM audit_private WHERE (tenant_id, audit_id) > ({tenant}, {event}) \
                 ORDER BY tenant_id, audit_id LIMIT {most}"
            );
            let mut last = sql.clone();
            last.text = format!("SELECT * FROM ({portion}) portion ORDER BY tenant_id DESC, audit_id DESC LIMIT 1");
            sql.text = format!(
                "DELETE FROM audit_private WHERE (tenant_id, audit_id) IN ({portion}) AND tenant_id <> '' \
                 AND audit_id < (SELECT audit_id FROM log_floor) RETURNING 1"
            );
            let Some(key) = self.rows(last, vec![Type::Text, Type::Text]).await?.pop() else { return Ok(()) };
            self.write(sql, vec![Type::Int]).await?;
            let mut texts = key.into_iter().map(String::take);
            let mut next = || texts.next().transpose().map_err(corrupt).map(Option::unwrap_or_default);
            behind = [next()?, next()?];
        }
    }
}
