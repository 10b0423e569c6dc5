//! Upkeep of data keys: destroys the keys of purged tenants, and wraps the others as the policies of their tenants say.
//! A row that is due says what is to be done, so that nothing is lost when a process or the key service fails.

use crate::Store;
use crate::list::corrupt;
use crate::rows::{Dialect, Field as _, Record as _, Type, Value, take};
use crate::sealing::unusable;
use crate::sql::Sql;
use crate::tables::data_keys::{self, DataKeyRow};
use std::time::Duration;
use tenancy_core::ids::TenantId;
use tenancy_core::json::Object;
use tenancy_core::tenant::has_own_key;
use tenancy_core::{Error, Timestamp};
use tenancy_vault::{KeyError, KeyName, WrappedKey};

/// Maximum number of due keys that one call looks at.
const MAX_DUE: usize = 100;
/// Pause before a key is looked at again after a failure.
const RETRY_AFTER: Duration = Duration::from_secs(60);
/// Maximum number of data keys that one call wraps again.
const MAX_REWRAPPED: usize = 500;

/// One portion of [`Store::rewrap_data_keys`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rewrapped {
    /// Number of data keys that were wrapped again.
    pub rewrapped: usize,
    /// Tenants whose data key could not be unwrapped, because its wrapping key does not exist.
    pub missing: Vec<String>,
    /// Where the next portion begins; `None` at the end.
    pub next: Option<String>,
}

/// What a due key needs.
struct Due {
    row: DataKeyRow,
    wants_own_key: bool,
    /// Whether the tenant exists and is not purged.
    is_kept: bool,
}

impl Store {
    /// Does what is due: destroys wrapping keys of purged tenants, and wraps data keys whose policy has changed. Returns the
    /// number of keys that are settled. A key that fails is tried again later.
    ///
    /// # Errors
    /// Same as [`Store::claim`].
    pub async fn settle_data_keys(&self) -> Result<usize, Error> {
        let mut sql = self.due_keys();
        sql.and("k.due_at <= {}", Some(self.now())).order("k.due_at", MAX_DUE);
        self.settle_each(sql).await
    }

    /// Does what is due for the key of one tenant.
    pub(crate) async fn settle_data_keys_of(&self, tenant: &TenantId) -> Result<usize, Error> {
        #[cfg(feature = "model")]
        if matches!(self.engine, crate::Engine::Model(_)) {
            return Ok(0);
        }
        let mut sql = self.due_keys();
        sql.and("k.tenant_id = {}", Some(tenant.clone())).also("k.due_at IS NOT NULL");
        self.settle_each(sql).await
    }

    fn due_keys(&self) -> Sql {
        let columns: Vec<_> = data_keys::TABLE.columns.iter().map(|column| format!("k.{}", column.name)).collect();
        let policies = match self.dialect() {
            Dialect::Sqlite => "t.policies",
            Dialect::Postgres => "t.policies::text",
        };
        let kept = "CASE WHEN t.tenant_id IS NULL OR t.purged_at IS NOT NULL THEN 0 ELSE 1 END";
        Sql::new(
            self.dialect(),
            format!(
                "SELECT {}, {policies}, {kept} FROM data_keys k LEFT JOIN tenants t ON t.tenant_id = k.tenant_id",
                columns.join(", ")
            ),
        )
    }

    async fn settle_each(&self, sql: Sql) -> Result<usize, Error> {
        let mut types: Vec<_> = data_keys::TABLE.columns.iter().map(|column| column.ty).collect();
        types.extend([Type::Json, Type::Int]);
        let mut settled = 0;
        for mut values in self.rows(sql, types).await? {
            let mut tenant = values.split_off(data_keys::TABLE.columns.len()).into_iter();
            let policies = take::<Option<Object>>(&mut tenant, "tenants", "policies").map_err(corrupt)?;
            let is_kept = take::<i64>(&mut tenant, "tenants", "purged_at").map_err(corrupt)? == 1;
            let wants_own_key = policies.is_some_and(|policies| has_own_key(&policies));
            let due = Due { row: DataKeyRow::from_values(values).map_err(corrupt)?, wants_own_key, is_kept };
            match self.settle_one(&due).await {
                Ok(()) => settled += 1,
                Err(error) => {
                    tracing::warn!(tenant_id = due.row.tenant_id, %error, "the data key is settled later");
                    self.put_off(&due.row).await?;
                }
            }
        }
        Ok(settled)
    }

    async fn settle_one(&self, due: &Due) -> Result<(), Error> {
        let row = &due.row;
        if let Some(former) = &row.former_key {
            self.destroy_key(former).await?;
            self.change_key(row, "former_key = NULL", |sql| format!("former_key = {}", text(sql, former))).await?;
        }
        let Some(wrapped) = row.wrapped_key()? else {
            self.destroy_key(&row.wrapping_key).await?;
            if due.is_kept {
                // The row says that the key is destroyed until the tenant is purged again.
                return self.change_key(row, "due_at = NULL", |sql| is_due_at(sql, row.due_at)).await;
            }
            let mut sql = Sql::new(self.dialect(), "");
            let tenant = text(&mut sql, &row.tenant_id);
            sql.text = format!(
                "DELETE FROM data_keys WHERE tenant_id = {tenant} AND wrapped = '' AND former_key IS NULL RETURNING tenant_id"
            );
            return self.write(sql, vec![Type::Text]).await.map(drop);
        };
        match self.wrapped_again(&wrapped, due.wants_own_key).await? {
            Some(new) => {
                let stored = self.store_wrapped(row, &wrapped, &new).await;
                if let Ok(false) = stored {
                    // A purge or another process was first.
                    self.discard(&new).await;
                }
                stored.map(drop)
            }
            None => self.change_key(row, "due_at = NULL", |sql| is_due_at(sql, row.due_at)).await,
        }
    }

    /// Wraps a data key as its tenant's policy says; `None` if it is already.
    async fn wrapped_again(&self, wrapped: &WrappedKey, wants_own_key: bool) -> Result<Option<WrappedKey>, Error> {
        let again = match (wants_own_key, wrapped.wrapping_key.is_of_a_tenant()) {
            (true, false) => self.vault.rewrap_of_its_own(wrapped).await.map(Some),
            (false, true) => self.vault.rewrap(wrapped).await,
            _ => Ok(None),
        };
        again.map_err(|error| unusable(&error))
    }

    /// Stores a data key under its new wrapping key, unless the row has changed. A key of the tenant's own that wrapped it
    /// before is noted, so that it is destroyed: old backups contain the data key under it.
    async fn store_wrapped(&self, row: &DataKeyRow, old: &WrappedKey, new: &WrappedKey) -> Result<bool, Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let [name, wrapped, tenant, before] =
            [new.wrapping_key.as_str(), &new.wrapped, &row.tenant_id, &old.wrapped].map(|value| text(&mut sql, value));
        let former = old.wrapping_key.is_of_a_tenant().then(|| old.wrapping_key.to_string());
        let former = sql.bind(Type::Text, former.put());
        // It stays due: the next look destroys the former key, and sees whether the policy has changed meanwhile.
        let due = is_due_at(&mut sql, row.due_at);
        sql.text = format!(
            "UPDATE data_keys SET wrapping_key = {name}, wrapped = {wrapped}, former_key = {former} \
             WHERE tenant_id = {tenant} AND wrapped = {before} AND former_key IS NULL AND {due} RETURNING tenant_id"
        );
        Ok(!self.write(sql, vec![Type::Text]).await?.is_empty())
    }

    /// Destroys a wrapping key of a tenant's own. A shared key stays.
    async fn destroy_key(&self, name: &str) -> Result<(), Error> {
        let name = KeyName::parse(name).map_err(|error| unusable(&error))?;
        if name.is_of_a_tenant() { self.vault.destroy(&name).await.map_err(|error| unusable(&error)) } else { Ok(()) }
    }

    async fn put_off(&self, row: &DataKeyRow) -> Result<(), Error> {
        let later = self.now().checked_add(RETRY_AFTER).unwrap_or(Timestamp::MAX);
        let mut sql = Sql::new(self.dialect(), "");
        let later = sql.bind(Type::Time, Value::Time(later));
        let tenant = text(&mut sql, &row.tenant_id);
        let due = is_due_at(&mut sql, row.due_at);
        sql.text =
            format!("UPDATE data_keys SET due_at = {later} WHERE tenant_id = {tenant} AND {due} RETURNING tenant_id");
        self.write(sql, vec![Type::Text]).await.map(drop)
    }

    async fn change_key(
        &self,
        row: &DataKeyRow,
        set: &str,
        condition: impl FnOnce(&mut Sql) -> String,
    ) -> Result<(), Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let tenant = text(&mut sql, &row.tenant_id);
        let condition = condition(&mut sql);
        sql.text = format!("UPDATE data_keys SET {set} WHERE tenant_id = {tenant} AND {condition} RETURNING tenant_id");
        self.write(sql, vec![Type::Text]).await.map(drop)
    }

    /// Tries the data keys after a tenant, a portion at a time. Returns the tenants whose key cannot be unwrapped, for
    /// example because the wrapping key was destroyed.
    ///
    /// # Errors
    /// Same as [`Store::claim`]; [`Error::KeysUnavailable`].
    pub async fn try_data_keys(&self, after: Option<String>) -> Result<Rewrapped, Error> {
        let mut sql = self.select::<DataKeyRow>();
        sql.and("tenant_id > {}", after).order("tenant_id", MAX_REWRAPPED);
        let rows = self.all::<DataKeyRow>(sql).await?;
        let next = rows.last().filter(|_| rows.len() == MAX_REWRAPPED).map(|row| row.tenant_id.clone());
        let mut tried = Rewrapped { next, ..Rewrapped::default() };
        for row in rows {
            let Some(wrapped) = row.wrapped_key()? else { continue };
            match self.vault.open(&wrapped).await {
                Ok(_) => {}
                Err(error @ (KeyError::Missing(_) | KeyError::Refused(_))) => {
                    tracing::warn!(tenant_id = row.tenant_id, %error, "a data key cannot be unwrapped");
                    tried.missing.push(row.tenant_id);
                }
                Err(error) => return Err(unusable(&error)),
            }
        }
        Ok(tried)
    }

    /// Erases the data keys of tenants that were purged after the backup of a restored database, and destroys their
    /// wrapping keys. Returns the number of erased keys.
    ///
    /// # Errors
    /// Same as [`Store::claim`]; [`Error::KeysUnavailable`].
    pub async fn erase_data_keys(&self, tenants: &[TenantId]) -> Result<usize, Error> {
        let mut erased = 0;
        for tenant in tenants {
            let mut sql = Sql::new(self.dialect(), "");
            let now = sql.bind(Type::Time, Value::Time(self.now()));
            let id = text(&mut sql, tenant.as_str());
            sql.text = format!(
                "UPDATE data_keys SET wrapped = '', due_at = {now} WHERE tenant_id = {id} AND wrapped <> '' \
                 RETURNING tenant_id"
            );
            erased += self.write(sql, vec![Type::Text]).await?.len();
            self.vault.forget(tenant.as_str());
            self.settle_data_keys_of(tenant).await?;
        }
        Ok(erased)
    }

    /// Creates a new shared key, which wraps the data keys of new tenants from now on. Returns its name.
    ///
    /// # Errors
    /// [`Error::KeysUnavailable`].
    pub async fn rotate_shared_key(&self) -> Result<String, Error> {
        self.vault.rotate().await.map(|name| name.to_string()).map_err(|error| unusable(&error))
    }

    /// Wraps the data keys after a tenant that are under a former shared key, a portion at a time. Processes that serve
    /// meanwhile are not disturbed: a data key does not change when it is wrapped again.
    ///
    /// # Errors
    /// Same as [`Store::claim`]; [`Error::KeysUnavailable`].
    pub async fn rewrap_data_keys(&self, after: Option<String>) -> Result<Rewrapped, Error> {
        let mut sql = self.select::<DataKeyRow>();
        sql.and("tenant_id > {}", after).order("tenant_id", MAX_REWRAPPED);
        let rows = self.all::<DataKeyRow>(sql).await?;
        let next = rows.last().filter(|_| rows.len() == MAX_REWRAPPED).map(|row| row.tenant_id.clone());
        let mut done = Rewrapped { next, ..Rewrapped::default() };
        for row in rows {
            let Some(wrapped) = row.wrapped_key()?.filter(|key| !key.wrapping_key.is_of_a_tenant()) else { continue };
            match self.vault.rewrap(&wrapped).await {
                Ok(Some(new)) => done.rewrapped += usize::from(self.store_shared(&wrapped, &new).await?),
                Ok(None) => {}
                Err(KeyError::Missing(_)) => done.missing.push(row.tenant_id),
                Err(error) => return Err(unusable(&error)),
            }
        }
        Ok(done)
    }

    async fn store_shared(&self, old: &WrappedKey, new: &WrappedKey) -> Result<bool, Error> {
        let mut sql = Sql::new(self.dialect(), "");
        let [name, wrapped, tenant, before] =
            [new.wrapping_key.as_str(), &new.wrapped, &old.tenant_id, &old.wrapped].map(|value| text(&mut sql, value));
        sql.text = format!(
            "UPDATE data_keys SET wrapping_key = {name}, wrapped = {wrapped} WHERE tenant_id = {tenant} \
             AND wrapped = {before} RETURNING tenant_id"
        );
        Ok(!self.write(sql, vec![Type::Text]).await?.is_empty())
    }
}

fn text(sql: &mut Sql, value: &str) -> String {
    sql.bind(Type::Text, Value::Text(value.to_owned()))
}

/// Condition that nobody has asked for more since the row was read.
fn is_due_at(sql: &mut Sql, due_at: Option<Timestamp>) -> String {
    let due = sql.bind(Type::Time, due_at.put());
    format!("due_at = {due}")
}
