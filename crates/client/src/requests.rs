//! The requests that the client knows, with the types of their answers. [`Client::request`] sends others.

use crate::client::Client;
use crate::error::Error;
use reqwest::Method;
use serde::Serialize;
use std::time::Duration;
use tenancy_api::access::Access;
use tenancy_api::applied::Applied;
use tenancy_api::document::{Activation, Purge, Suspension};
use tenancy_api::job::Job;
use tenancy_api::list::List;
use tenancy_api::tenant::{Accepted, Tenant, TenantRow};

/// Which tenants a list contains.
#[derive(Debug, Clone, Default)]
pub struct TenantFilter {
    /// Only tenants of this organization.
    pub organization_id: Option<String>,
    /// Only tenants in one of these states.
    pub states: Vec<String>,
    /// Only tenants with this home region.
    pub region: Option<String>,
    /// Only tenants with these labels, as `key=value`.
    pub labels: Vec<String>,
    /// Only tenants whose id, display name or alias starts with this text.
    pub q: Option<String>,
    /// Maximum number of items in a page, 1 to 500.
    pub limit: Option<u16>,
}

/// How a file of manifests is applied.
#[derive(Debug, Clone, Default)]
pub struct ApplyOptions {
    /// Write nothing, and return what would change.
    pub dry_run: bool,
    /// Write the other documents if some are refused.
    pub partial: bool,
    /// Kinds of gated changes that are confirmed, such as `remove-environment`.
    pub allow: Vec<String>,
    /// Idempotency-Key. Random if there is none.
    pub idempotency_key: Option<String>,
}

impl Client {
    /// Returns a page of tenants. `after` is `next` of the previous page.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does.
    pub async fn tenants(&self, filter: &TenantFilter, after: Option<&str>) -> Result<List<TenantRow<'static>>, Error> {
        let mut request = self
            .request(Method::GET, &["tenants"])
            .query_if("organization_id", filter.organization_id.clone())
            .query_if("region", filter.region.clone())
            .query_if("q", filter.q.clone())
            .query_if("limit", filter.limit.map(|limit| limit.to_string()))
            .query_if("after", after);
        for state in &filter.states {
            request = request.query("state", state);
        }
        for label in &filter.labels {
            request = request.query("label", label);
        }
        request.send().await
    }

    /// Returns a tenant by its id or by an alias, such as `host:acme.example.com`.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does.
    pub async fn tenant(&self, name: &str) -> Result<Tenant<'static>, Error> {
        self.request(Method::GET, &["tenants", name]).send().await
    }

    /// Returns whether a tenant may be served, from the server. [`crate::AccessCache`] answers from memory.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does.
    pub async fn access(&self, name: &str, environment: Option<&str>) -> Result<Access, Error> {
        // An id contains no colon, and every alias does.
        let parameter = if name.contains(':') { "alias" } else { "tenant" };
        let request = self.request(Method::GET, &["access"]).query(parameter, name);
        request.query_if("environment", environment).send().await
    }

    /// Applies a file of manifests in YAML or JSON.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does; a problem names all documents that are refused.
    pub async fn apply(&self, manifests: &str, options: &ApplyOptions) -> Result<Applied, Error> {
        let mut request = self.request(Method::POST, &["apply"]).text("application/yaml", manifests);
        if options.dry_run {
            request = request.query("dry_run", "true");
        }
        if options.partial {
            request = request.query("partial", "true");
        }
        if !options.allow.is_empty() {
            request = request.query("allow", options.allow.join(","));
        }
        if let Some(key) = &options.idempotency_key {
            request = request.idempotency_key(key);
        }
        request.send().await
    }

    /// Places a hold on a tenant.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does.
    pub async fn suspend(&self, name: &str, body: &Suspension) -> Result<Accepted<'static>, Error> {
        self.act(name, "suspend", body).await
    }

    /// Releases a hold on a tenant.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does.
    pub async fn activate(&self, name: &str, body: &Activation) -> Result<Accepted<'static>, Error> {
        self.act(name, "activate", body).await
    }

    /// Archives a tenant. `version` is the version that the caller has read.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does.
    pub async fn delete(&self, name: &str, version: i64) -> Result<Accepted<'static>, Error> {
        self.request(Method::DELETE, &["tenants", name]).on_version(version).send().await
    }

    /// Restores an archived tenant.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does.
    pub async fn undelete(&self, name: &str) -> Result<Accepted<'static>, Error> {
        self.request(Method::POST, &["tenants", name, "undelete"]).send().await
    }

    /// Destroys the data of an archived tenant. `version` is the version that the caller has read.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does.
    pub async fn purge(&self, name: &str, version: i64, body: &Purge) -> Result<Accepted<'static>, Error> {
        self.request(Method::POST, &["tenants", name, "purge"]).on_version(version).json(body).send().await
    }

    /// Returns a job of a tenant. With `wait`, the server answers when the job has ended, or after that time; it waits at
    /// most 60 seconds.
    ///
    /// # Errors
    /// Fails as [`crate::client::Request::send`] does.
    pub async fn job(&self, tenant: &str, job_id: &str, wait: Option<Duration>) -> Result<Job<'static>, Error> {
        let request = self.request(Method::GET, &["tenants", tenant, "jobs", job_id]);
        request.query_if("wait_seconds", wait.map(|wait| wait.as_secs().to_string())).send().await
    }

    async fn act(&self, name: &str, action: &str, body: &impl Serialize) -> Result<Accepted<'static>, Error> {
        self.request(Method::POST, &["tenants", name, action]).json(body).send().await
    }
}
