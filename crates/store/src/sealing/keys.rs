//! The data keys of tenants: read, opened, and created for tenants from before.

use crate::keyed::KeyedRead;
use crate::rows::{Field, Record, Type};
use crate::sql::Sql;
use crate::tables::data_keys::{self, DataKeyRow};
use crate::{Engine, Store};
use std::sync::Arc;
use std::time::Duration;
use tenancy_core::Error;
use tenancy_core::tenant::Tenant;
use tenancy_vault::{DataKey, KeyError, KeyName, WrappedKey};

/// How often the read of a data key is repeated after it lost its connection.
const MAX_LOST_CONNECTIONS: u32 = 8;
/// Pause before the read is repeated.
const PAUSE: Duration = Duration::from_millis(100);

/// How often a data key is opened when its wrapping key is replaced meanwhile.
const MAX_REPLACED: u32 = 4;

/// The data key of an owner, as far as it can be used.
#[derive(Debug, Clone)]
pub enum Held {
    /// It is unwrapped.
    Open(Arc<DataKey>),
    /// A purge has erased it from the database, or the tenant is not registered.
    Erased,
    /// The database contains it, but the key service does not have its wrapping key.
    Missing,
    /// The key service refuses to unwrap it.
    Refused,
}

/// Converts an error of the key service. Its cause is logged: it may name keys.
pub fn unusable(error: &KeyError) -> Error {
    tracing::error!(%error, "a data key cannot be used");
    Error::KeysUnavailable
}

impl DataKeyRow {
    /// Creates the row of a new key.
    pub fn of(key: &WrappedKey, created_at: tenancy_core::Timestamp) -> Self {
        Self {
            tenant_id: key.tenant_id.clone(),
            wrapping_key: key.wrapping_key.to_string(),
            wrapped: key.wrapped.clone(),
            former_key: None,
            created_at,
            due_at: None,
        }
    }

    /// Returns the wrapped key; `None` if it was erased.
    ///
    /// # Errors
    /// [`Error::KeysUnavailable`] if the name of the wrapping key is not valid.
    pub fn wrapped_key(&self) -> Result<Option<WrappedKey>, Error> {
        if self.wrapped.is_empty() {
            return Ok(None);
        }
        let wrapping_key = KeyName::parse(&self.wrapping_key).map_err(|error| unusable(&error))?;
        Ok(Some(WrappedKey { tenant_id: self.tenant_id.clone(), wrapping_key, wrapped: self.wrapped.clone() }))
    }
}

impl Store {
    /// Returns the data key of a tenant, or of the platform. `None` if the tenant is not registered, or if a purge has erased
    /// its data key from the database: then nothing of it is to be stored.
    ///
    /// # Errors
    /// [`Error::KeysUnavailable`] also if the key service does not have the wrapping key: it may come back, for example with
    /// a restored directory of keys.
    pub(crate) async fn data_key(&self, owner: &str) -> Result<Option<Arc<DataKey>>, Error> {
        match self.held_key(owner).await? {
            Held::Open(key) => Ok(Some(key)),
            Held::Erased => Ok(None),
            Held::Missing | Held::Refused => Err(Error::KeysUnavailable),
        }
    }

    /// Returns the data key of a tenant, or of the platform, also one that cannot be used. A tenant from before tenants had
    /// keys gets one.
    ///
    /// # Errors
    /// [`Error::KeysUnavailable`] if the key service does not answer; [`Error::Unavailable`].
    pub(crate) async fn held_key(&self, owner: &str) -> Result<Held, Error> {
        if let Some(key) = self.vault.cached(owner) {
            return Ok(Held::Open(key));
        }
        // A change that needs the key must survive a lost connection, as its commit does.
        for _ in 0..MAX_LOST_CONNECTIONS {
            match self.read_data_key(owner).await {
                Err(Error::Unavailable) if matches!(self.engine, Engine::Postgres(_)) => {
                    tokio::time::sleep(PAUSE).await;
                }
                done => return done,
            }
        }
        self.read_data_key(owner).await
    }

    async fn read_data_key(&self, owner: &str) -> Result<Held, Error> {
        let row = match self.by_key::<DataKeyRow>(KeyedRead::DataKey, owner).await? {
            Some(row) => Some(row),
            None => self.create_data_key(owner).await?,
        };
        match row {
            Some(row) => self.open_row(row).await,
            None => Ok(Held::Erased),
        }
    }

    /// Unwraps a stored data key. A missing wrapping key is believed only if the row still names it: it is destroyed after
    /// the data key was wrapped by another one, and after a purge.
    ///
    /// # Errors
    /// [`Error::KeysUnavailable`] if the key service does not answer; [`Error::Unavailable`].
    pub(crate) async fn open_row(&self, mut row: DataKeyRow) -> Result<Held, Error> {
        for _ in 0..MAX_REPLACED {
            let Some(wrapped) = row.wrapped_key()? else { return Ok(Held::Erased) };
            let (missing, error) = match self.vault.open(&wrapped).await {
                Ok(key) => return Ok(Held::Open(key)),
                Err(error @ KeyError::Missing(_)) => (true, error),
                Err(error @ KeyError::Refused(_)) => (false, error),
                Err(error) => return Err(unusable(&error)),
            };
            match self.by_key::<DataKeyRow>(KeyedRead::DataKey, &wrapped.tenant_id).await? {
                None => return Ok(Held::Erased),
                Some(now) if now.wrapped == wrapped.wrapped => {
                    tracing::error!(
                        tenant_id = wrapped.tenant_id,
                        %error,
                        "a data key cannot be used: restore its wrapping key from the backup of the keys; if the tenant was \
                         purged after this database was backed up, name it to `db after-restore --purged`"
                    );
                    return Ok(if missing { Held::Missing } else { Held::Refused });
                }
                Some(now) => row = now,
            }
        }
        Err(Error::KeysUnavailable)
    }

    /// Creates the key of the platform, or of a tenant from before tenants had keys.
    async fn create_data_key(&self, owner: &str) -> Result<Option<DataKeyRow>, Error> {
        let of_its_own = match owner {
            "" => false,
            id => {
                let mut sql = self.select::<Tenant>();
                sql.and("tenant_id = {}", Some(id.to_owned()));
                match self.one::<Tenant>(sql).await? {
                    Some(tenant) if tenant.facts.purged_at.is_none() => tenant.terms.has_own_key(),
                    _ => return Ok(None),
                }
            }
        };
        let (made, _) = self.vault.create(owner, of_its_own).await.map_err(|error| unusable(&error))?;
        self.insert_data_key(&DataKeyRow::of(&made, self.now())).await?;
        let kept = self.by_key::<DataKeyRow>(KeyedRead::DataKey, owner).await?;
        // Another process may have been first.
        if kept.as_ref().is_none_or(|kept| kept.wrapped != made.wrapped) {
            self.discard(&made).await;
        }
        Ok(kept)
    }

    /// Inserts the row unless there is one.
    async fn insert_data_key(&self, row: &DataKeyRow) -> Result<(), Error> {
        #[cfg(feature = "model")]
        if let Engine::Model(model) = &self.engine {
            return model.insert(data_keys::INSERT, &row.values());
        }
        let mut sql = Sql::new(self.dialect(), "");
        let values: Vec<_> = data_keys::TABLE
            .columns
            .iter()
            .zip(row.values())
            .map(|(column, value)| sql.bind(column.ty, value))
            .collect();
        let names: Vec<_> = data_keys::TABLE.columns.iter().map(|column| column.name).collect();
        sql.text = format!(
            "INSERT INTO data_keys ({}) VALUES ({}) ON CONFLICT (tenant_id) DO NOTHING RETURNING tenant_id",
            names.join(", "),
            values.join(", ")
        );
        self.write(sql, vec![Type::Text]).await.map(drop)
    }

    /// Destroys the wrapping key of a data key that no row contains. If that fails, the key stays and protects nothing.
    pub(crate) async fn discard(&self, key: &WrappedKey) {
        if key.wrapping_key.is_of_a_tenant()
            && let Err(error) = self.vault.destroy(&key.wrapping_key).await
        {
            tracing::warn!(%error, key = %key.wrapping_key, "an unused wrapping key could not be destroyed");
        }
    }

    /// Returns the stored rows of some tenants.
    pub(super) async fn data_key_rows(&self, owners: &[&str]) -> Result<Vec<DataKeyRow>, Error> {
        const FEW: usize = 4;
        let is_model = !matches!(self.engine, Engine::Sqlite(_) | Engine::Postgres(_));
        if owners.len() <= FEW || is_model {
            let mut rows = Vec::new();
            for owner in owners {
                rows.extend(self.by_key::<DataKeyRow>(KeyedRead::DataKey, owner).await?);
            }
            return Ok(rows);
        }
        let mut sql = self.select::<DataKeyRow>();
        let owners: Vec<_> = owners.iter().map(|owner| sql.bind(Type::Text, (*owner).to_owned().put())).collect();
        sql.also(&format!("tenant_id IN ({})", owners.join(", ")));
        self.all(sql).await
    }
}
