//! Leases of rows: one process at a time works on a row. One engine for all tables that have leases; a description says what
//! differs between them. The columns `due_at`, `lease_holder` and `lease_epoch` mean the same in each.

use super::{MAX_CLOCK_OFFSET, after};
use crate::list::{corrupt, readable};
use crate::rows::{Dialect, Field, Record, Table, Type, Value};
use crate::sql::Sql;
use crate::{Engine, Store};
use std::time::Duration;
use tenancy_core::Error;

/// A table whose rows are leased.
pub(crate) struct Leased {
    /// The table.
    pub table: &'static Table,
    /// Column of the key.
    pub key: &'static str,
    /// Condition of a row that can be claimed. It is the condition of the partial index on `due_at`.
    pub open: &'static str,
    /// Condition of a row that a process has.
    pub held: &'static str,
    /// Condition of a row that no process has, and that is due although its time lies in the future, after the clock was
    /// set back. `{}` is the time.
    pub due_in_the_past: &'static str,
    /// What a claim sets beside the lease. `{}` stands before the name of a column that is read.
    pub claim: &'static str,
}

/// Held lease: the key of the row and the number of the lease.
pub(crate) type Held<K> = (K, i64);

impl Leased {
    fn columns(&self, prefix: &str, dialect: Dialect) -> String {
        let read = |column: &crate::rows::Column| match (dialect, column.ty) {
            (Dialect::Postgres, Type::Json) => format!("{prefix}{}::text", column.name),
            _ => format!("{prefix}{}", column.name),
        };
        self.table.columns.iter().map(read).collect::<Vec<_>>().join(", ")
    }
}

impl Store {
    /// Claims up to `limit` due rows, including held rows whose lease has expired.
    pub(crate) async fn claim_rows<R: Record>(
        &self,
        leased: &Leased,
        holder: &str,
        limit: usize,
        lease: Duration,
    ) -> Result<Vec<R>, Error> {
        let now = self.now();
        let mut sql = Sql::new(self.dialect(), "");
        let time = sql.bind(Type::Time, Value::Time(now));
        let until = sql.bind(Type::Time, Value::Time(after(now, lease)));
        let holder = sql.bind(Type::Text, Value::Text(holder.to_owned()));
        let limit = sql.bind(Type::Int, Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        let Leased { table, key, open, held, due_in_the_past, claim } = leased;
        let caution = self.caution();
        let leases_hold = caution.since_jump.is_some_and(|since| since < lease);
        let mut due = format!("due_at <= {time}");
        if caution.was_set_back {
            let latest = sql.bind(Type::Time, Value::Time(after(now, 2 * lease + MAX_CLOCK_OFFSET)));
            let past = due_in_the_past.replace("{}", &time);
            due = format!("(due_at <= {time} OR CASE WHEN {held} THEN due_at > {latest} ELSE {past} END)");
        }
        if leases_hold {
            due.push_str(&format!(" AND NOT ({held})"));
        }
        // Not `key IN (SELECT … LIMIT … FOR UPDATE SKIP LOCKED)`: that can claim more than the limit.
        let skip = if self.dialect() == Dialect::Postgres { " FOR UPDATE SKIP LOCKED" } else { "" };
        let (name, dialect) = (table.name, self.dialect());
        let due = format!("SELECT {key} FROM {name} WHERE {open} AND {due} ORDER BY due_at LIMIT {limit}{skip}");
        let set = |prefix: &str| {
            let more = claim.replace("{}", prefix);
            format!("due_at = {until}, lease_holder = {holder}, lease_epoch = {prefix}lease_epoch + 1{more}")
        };
        sql.text = match dialect {
            Dialect::Sqlite => {
                let columns = leased.columns("", dialect);
                format!("UPDATE {name} SET {} WHERE {key} IN ({due}) RETURNING {columns}", set(""))
            }
            Dialect::Postgres => format!(
                "WITH due AS MATERIALIZED ({due}) UPDATE {name} r SET {} FROM due WHERE r.{key} = due.{key} \
                 RETURNING {}",
                set("r."),
                leased.columns("r.", dialect)
            ),
        };
        let types = table.columns.iter().map(|column| column.ty).collect();
        // A row that cannot be read keeps its lease until it ends, and does not keep others from being claimed.
        Ok(readable(self.write(sql, types).await?).0)
    }

    /// Extends leases. Returns those that are still held. It does not wait for locks: a row that is locked, because an
    /// outcome is being committed, is still held and is extended the next time. Fails if there is no answer `within` this
    /// time.
    pub(crate) async fn extend_leases<K: Field>(
        &self,
        leased: &Leased,
        leases: &[Held<K>],
        lease: Duration,
        within: Duration,
    ) -> Result<Vec<Held<K>>, Error> {
        if leases.is_empty() {
            return Ok(Vec::new());
        }
        let mut sql = Sql::new(self.dialect(), "");
        let until = sql.bind(Type::Time, Value::Time(after(self.now(), lease)));
        // One statement for all leases: on a slow database, separate statements could take longer than the lease.
        let pair = |(id, epoch): &Held<K>| {
            format!("({}, {})", sql.bind(Type::Text, id.put()), sql.bind(Type::Int, Value::Int(*epoch)))
        };
        let pairs = leases.iter().map(pair).collect::<Vec<_>>().join(", ");
        let Leased { table, key, held, .. } = leased;
        let name = table.name;
        let ours = format!("({key}, lease_epoch) IN (VALUES {pairs}) AND {held}");
        let types = vec![Type::Text, Type::Int];
        let rows = match &self.engine {
            Engine::Postgres(postgres) => {
                sql.text = format!(
                    "WITH free AS MATERIALIZED (SELECT {key} FROM {name} WHERE {ours} FOR NO KEY UPDATE SKIP LOCKED), \
                     prolonged AS (UPDATE {name} r SET due_at = {until} FROM free WHERE r.{key} = free.{key}) \
                     SELECT {key}, lease_epoch FROM {name} WHERE {ours}"
                );
                postgres.shared.beat(&sql, &types, within).await?
            }
            Engine::Sqlite(sqlite) => {
                sql.text = format!("UPDATE {name} SET due_at = {until} WHERE {ours} RETURNING {key}, lease_epoch");
                let beat = sqlite.write_first(sql, types);
                tokio::time::timeout(within, beat).await.map_err(|_| Error::Unavailable)??
            }
            #[cfg(feature = "model")]
            Engine::Model(_) => return Err(Error::Internal("the model does not support upkeep".to_owned())),
        };
        rows.into_iter().map(read_lease).collect()
    }
}

/// Reads the key and the number of a lease.
pub(crate) fn read_lease<K: Field>(row: Vec<Value>) -> Result<Held<K>, Error> {
    let [id, epoch] = <[Value; 2]>::try_from(row)
        .map_err(|row| Error::Internal(format!("expected two columns, found {}", row.len())))?;
    Ok((K::take(id).map_err(corrupt)?, i64::take(epoch).map_err(corrupt)?))
}
