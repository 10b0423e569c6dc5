//! Typed reads.

use crate::Store;
use crate::page::{AuditFilter, JobFilter, Listed, ListedKeys, LoggedEvent, OrganizationFilter, Page, TenantFilter};
use tenancy_core::Error;
use tenancy_core::apikey::ApiKey;
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::environment::EnvironmentVersion;
use tenancy_core::hold::Hold;
use tenancy_core::ids::{Alias, EnvironmentId, JobId, KeyId, OrganizationId, TenantId};
use tenancy_core::job::Job;
use tenancy_core::organization::{Organization, Usage};
use tenancy_core::tenant::{Dossier, Tenant, TenantVersion};

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

#[allow(unused_variables, clippy::todo, missing_docs)]
impl Store {
    /// A tenant with all that is kept beside its row.
    pub async fn dossier(&self, id: &TenantId) -> Result<Option<Dossier>, Error> {
        todo!()
    }
    /// Where an alias leads.
    pub async fn aliased(&self, alias: &Alias) -> Result<Option<TenantId>, Error> {
        todo!()
    }
    /// The key whose token has this digest.
    pub async fn api_key(&self, token_digest: &str) -> Result<Option<ApiKey>, Error> {
        todo!()
    }
    pub async fn api_key_by_id(&self, id: &KeyId) -> Result<Option<ApiKey>, Error> {
        todo!()
    }
    /// The stored answer of a digest.
    pub async fn answer(&self, digest: &str) -> Result<Option<IdempotencyRecord>, Error> {
        todo!()
    }
    pub async fn organization(&self, id: &OrganizationId) -> Result<Option<OrganizationRecord>, Error> {
        todo!()
    }
    pub async fn job(&self, tenant: &TenantId, id: &JobId) -> Result<Option<Job>, Error> {
        todo!()
    }
    pub async fn tenant_version(&self, id: &TenantId, version: i64) -> Result<Option<TenantVersion>, Error> {
        todo!()
    }
    pub async fn tenants(&self, filter: &TenantFilter, page: &Page) -> Result<Listed<Tenant>, Error> {
        todo!()
    }
    pub async fn organizations(&self, filter: &OrganizationFilter, page: &Page) -> Result<Listed<Organization>, Error> {
        todo!()
    }
    pub async fn jobs(&self, filter: &JobFilter, page: &Page) -> Result<Listed<Job>, Error> {
        todo!()
    }
    pub async fn audit(&self, filter: &AuditFilter, page: &Page) -> Result<Listed<LoggedEvent>, Error> {
        todo!()
    }
    /// Kept versions of a tenant, newest first.
    pub async fn tenant_versions(&self, id: &TenantId, page: &Page) -> Result<Listed<TenantVersion>, Error> {
        todo!()
    }
    /// Kept versions of an environment, newest first.
    pub async fn environment_versions(
        &self,
        tenant: &TenantId,
        id: &EnvironmentId,
        page: &Page,
    ) -> Result<Listed<EnvironmentVersion>, Error> {
        todo!()
    }
    pub async fn api_keys(&self, page: &Page) -> Result<ListedKeys, Error> {
        todo!()
    }
    /// Whether the database answers; what is wrong, if anything is.
    pub async fn ready(&self) -> Result<Vec<String>, Error> {
        todo!()
    }
}
