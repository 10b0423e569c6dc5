//! Upkeep of stored responses: responses of requests that changed nothing (the response of a change is committed with
//! it), and expired responses.

use crate::Store;
use crate::rows::{Field as _, Record, Type, Value};
use crate::sql::Sql;
use crate::tables::{api_keys, idempotency_records, tenants};
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::ids::KeyId;
use tenancy_core::{Error, Timestamp};

impl Store {
    /// Stores the response of a request that changed nothing. If an unexpired response exists for its Idempotency-Key,
    /// returns that response instead. Stores nothing for an API key that has changed since this version of it was read,
    /// for example because it was revoked, and nothing about a tenant that is purged.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn keep_answer(
        &self,
        record: IdempotencyRecord,
        caller: &KeyId,
        version: i64,
    ) -> Result<Option<IdempotencyRecord>, Error> {
        let (digest, tenant) = (record.digest.clone(), record.tenant_id.clone());
        let columns = idempotency_records::TABLE.columns;
        let mut sql = Sql::new(self.dialect(), "");
        let values = columns.iter().zip(record.values()).map(|(column, value)| sql.bind(column.ty, value));
        let values = values.collect::<Vec<_>>().join(", ");
        let key = sql.bind(Type::Text, Value::Text(caller.to_string()));
        let version = sql.bind(Type::Int, Value::Int(version));
        let tenant = sql.bind(Type::Text, tenant.put());
        let names = columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ");
        let (into, keys, tenants) = (idempotency_records::TABLE.name, api_keys::TABLE.name, tenants::TABLE.name);
        let now = sql.bind(Type::Time, Value::Time(self.expired_before()));
        let set =
            columns.iter().map(|column| format!("{0} = excluded.{0}", column.name)).collect::<Vec<_>>().join(", ");
        sql.text = format!(
            "INSERT INTO {into} ({names}) SELECT {values} \
             WHERE EXISTS (SELECT 1 FROM {keys} WHERE key_id = {key} AND version = {version}) \
             AND NOT EXISTS (SELECT 1 FROM {tenants} WHERE tenant_id = {tenant} AND purged_at IS NOT NULL) \
             ON CONFLICT (digest) DO UPDATE SET {set} WHERE {into}.expires_at <= {now} RETURNING digest"
        );
        match self.write(sql, vec![Type::Text]).await?.is_empty() {
            true => self.answer(&digest).await,
            false => Ok(None),
        }
    }

    /// Removes the stored response of a digest if it has expired, so that a new one can be stored.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn remove_expired_answer(&self, digest: &str) -> Result<(), Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let digest = sql.bind(Type::Text, Value::Text(digest.to_owned()));
        let now = sql.bind(Type::Time, Value::Time(self.expired_before()));
        sql.text =
            format!("DELETE FROM idempotency_records WHERE digest = {digest} AND expires_at <= {now} RETURNING 1");
        self.write(sql, vec![Type::Int]).await.map(drop)
    }

    /// Returns the time up to which responses have expired for certain: none after a jump of the clock.
    fn expired_before(&self) -> Timestamp {
        if self.clock_jump().is_some() { Timestamp::UNIX_EPOCH } else { self.now() }
    }
}
