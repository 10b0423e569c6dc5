//! Typed reads by key.

use crate::keyed::{ALIAS, ANSWER, API_KEY, STAMP, TenantSnapshots};
#[cfg(feature = "model")]
use crate::keyed::{ROWS, SNAPSHOT};
use crate::list::corrupt;
#[cfg(feature = "model")]
use crate::rows::Dialect;
pub use crate::rows::Stamp;
use crate::rows::{AliasRow, Field, Record, UsageRow};
use crate::sql::Sql;
use crate::{Engine, Store};
use tenancy_core::Error;
use tenancy_core::apikey::ApiKey;
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::hold::Hold;
use tenancy_core::ids::{Alias, JobId, KeyId, OrganizationId, TenantId};
use tenancy_core::job::Job;
use tenancy_core::organization::{Organization, Usage};
use tenancy_core::tenant::{TenantSnapshot, TenantVersion};

/// An organization with what its tenants are in sum.
#[derive(Debug, Clone, PartialEq)]
pub struct OrganizationRecord {
    /// The row.
    pub organization: Organization,
    /// What its tenants are in sum.
    pub usage: Usage,
    /// Its holds, by kind.
    pub holds: Vec<Hold>,
}

impl Store {
    /// A tenant with all that is kept beside its row, as of one moment.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database cannot be reached; so for every read.
    pub async fn snapshot(&self, id: &TenantId) -> Result<Option<TenantSnapshot>, Error> {
        match &self.engine {
            Engine::Sqlite(sqlite) => {
                let mut snapshots = TenantSnapshots::default();
                for (index, rows) in sqlite.snapshot(&id.put())?.into_iter().enumerate() {
                    snapshots.add(index, rows).map_err(corrupt)?;
                }
                Ok(snapshots.get(id))
            }
            Engine::Postgres(postgres) => postgres.lookups.snapshot(id).await,
            #[cfg(feature = "model")]
            Engine::Model(model) => {
                let mut snapshots = TenantSnapshots::default();
                for (index, by) in SNAPSHOT.iter().enumerate() {
                    let rows = model.query(&by.sql(Dialect::Sqlite), &[id.put()])?;
                    snapshots.add(index, rows).map_err(corrupt)?;
                }
                Ok(snapshots.get(id))
            }
        }
    }

    /// A tenant's stamp: equal stamps, equal snapshots, but for how far an open job is.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn stamp(&self, id: &TenantId) -> Result<Option<Stamp>, Error> {
        self.by_key(STAMP, id.as_str()).await
    }

    /// Where an alias leads.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn aliased(&self, alias: &Alias) -> Result<Option<TenantId>, Error> {
        Ok(self.by_key::<AliasRow>(ALIAS, alias.as_str()).await?.map(|row| row.tenant_id))
    }

    /// The key whose token has this digest.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn api_key(&self, token_digest: &str) -> Result<Option<ApiKey>, Error> {
        self.by_key(API_KEY, token_digest).await
    }

    /// The stored answer of a digest, until it expires.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn answer(&self, digest: &str) -> Result<Option<IdempotencyRecord>, Error> {
        let kept: Option<IdempotencyRecord> = self.by_key(ANSWER, digest).await?;
        Ok(kept.filter(|record| record.answers(self.now())))
    }

    /// A key by its id.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn api_key_by_id(&self, id: &KeyId) -> Result<Option<ApiKey>, Error> {
        let mut sql = self.select::<ApiKey>();
        sql.and("key_id = {}", Some(id.clone()));
        self.one(sql).await
    }

    /// An organization with its usage and its holds.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn organization(&self, id: &OrganizationId) -> Result<Option<OrganizationRecord>, Error> {
        let mut sql = self.select::<Organization>();
        sql.and("organization_id = {}", Some(id.clone()));
        let Some(organization) = self.one(sql).await? else { return Ok(None) };
        let mut sql = self.select::<UsageRow>();
        sql.and("organization_id = {}", Some(id.clone())).order("serial DESC", 1);
        let usage = self.one::<UsageRow>(sql).await?;
        let usage = usage.map(|row| Usage { tenants: row.tenants, quotas: row.quotas }).unwrap_or_default();
        let mut sql = self.select::<Hold>();
        sql.and("organization_id = {}", Some(id.clone())).order("kind", 256);
        let holds = self.all(sql).await?;
        Ok(Some(OrganizationRecord { organization, usage, holds }))
    }

    /// A job of a tenant.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn job(&self, tenant: &TenantId, id: &JobId) -> Result<Option<Job>, Error> {
        let mut sql = self.select::<Job>();
        sql.and("job_id = {}", Some(id.clone())).and("tenant_id = {}", Some(tenant.clone()));
        self.one(sql).await
    }

    /// A kept version of a tenant.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn tenant_version(&self, id: &TenantId, version: i64) -> Result<Option<TenantVersion>, Error> {
        let mut sql = self.select::<TenantVersion>();
        sql.and("tenant_id = {}", Some(id.clone())).and("version = {}", Some(version));
        self.one(sql).await
    }

    async fn by_key<R: Record>(&self, index: usize, key: &str) -> Result<Option<R>, Error> {
        let row = match &self.engine {
            Engine::Sqlite(sqlite) => sqlite.row(index, key.to_owned().put())?,
            Engine::Postgres(postgres) => postgres.lookups.row(index, key).await?,
            #[cfg(feature = "model")]
            Engine::Model(model) => model.query(&ROWS[index].sql(Dialect::Sqlite), &[key.to_owned().put()])?.pop(),
        };
        row.map(R::from_values).transpose().map_err(corrupt)
    }

    /// Every record that a query finds.
    pub(crate) async fn all<R: Record>(&self, sql: Sql) -> Result<Vec<R>, Error> {
        let types = R::TABLE.columns.iter().map(|column| column.ty).collect();
        let rows = self.rows(sql, types).await?;
        rows.into_iter().map(R::from_values).collect::<Result<_, _>>().map_err(corrupt)
    }

    async fn one<R: Record>(&self, sql: Sql) -> Result<Option<R>, Error> {
        Ok(self.all(sql).await?.pop())
    }
}
