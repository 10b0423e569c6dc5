//! Response cache for tenants. Each entry has the stamp of the tenant at the time it was rendered, and is served only
//! if the database reports the same stamp. So no answer is stale, and a cached read costs one query of two rows.

use super::access_cache::{AccessCache, KeptAccess};
use super::access_pages::AccessPages;
use super::problem::Problem;
use super::respond::{bytes, text};
use crate::authentication::Caller;
use crate::operations::tenants;
use crate::tenancy::Tenancy;
use axum::body::Bytes;
use axum::http::header::ETAG;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use tenancy_api::tenant::{Tenant as TenantView, etag};
use tenancy_core::Error;
use tenancy_core::ids::TenantId;
use tenancy_core::scope::Scope;
use tenancy_core::snapshot::TenantSnapshot;
use tenancy_store::read::Stamp;

/// Approximate size of an entry besides its body: key, stamp and the cache's own data.
const OVERHEAD_BYTES: u64 = 512;
/// Approximate size of a body, to size the cache.
const TYPICAL_BYTES: u64 = 2048;

/// A rendered tenant.
#[derive(Debug)]
struct Answer {
    stamp: Stamp,
    etag: HeaderValue,
    body: Bytes,
}

#[derive(Debug, Clone)]
struct ByBytes;

/// What an answer depends on besides the stamp: the tenant, the caller's scope, whether the caller may read keys, and
/// whether it sees whole URLs.
type Key = (TenantId, Scope, bool, bool);

impl Weighter<Key, Arc<Answer>> for ByBytes {
    fn weight(&self, _: &Key, answer: &Arc<Answer>) -> u64 {
        OVERHEAD_BYTES + answer.body.len() as u64
    }
}

/// The response cache.
#[derive(Debug)]
pub struct ResponseCache {
    tenants: Cache<Key, Arc<Answer>, ByBytes>,
    access: AccessCache,
    access_pages: AccessPages,
}

impl ResponseCache {
    /// Creates a cache with a maximum size in bytes.
    pub fn new(max_bytes: u64) -> Self {
        // Access answers are smaller than tenants, and pages of them are needed for a short time.
        let (of_access, of_pages) = (max_bytes / 4, max_bytes / 8);
        let of_tenants = max_bytes - of_access - of_pages;
        let entries = usize::try_from(of_tenants / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Self {
            tenants: Cache::with_weighter(entries, of_tenants, ByBytes),
            access: AccessCache::new(of_access),
            access_pages: AccessPages::new(of_pages),
        }
    }

    /// Returns the pages of access that followers share.
    pub fn access_pages(&self) -> &AccessPages {
        &self.access_pages
    }

    /// Returns whether the tenant with this id or alias may be served.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn access(&self, tenancy: &Tenancy, caller: &Caller, name: &str) -> Result<Arc<KeptAccess>, Error> {
        self.access.of(tenancy, caller, name).await
    }

    /// Returns the answer to a read of the tenant with this id or alias.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn tenant(&self, tenancy: &Tenancy, caller: &Caller, name: &str) -> Result<Response, Problem> {
        let stamp = tenants::reach(tenancy, caller, name).await?;
        let key = (stamp.tenant_id.clone(), caller.scope().clone(), caller.reads_keys(), caller.sees_urls());
        if let Some(kept) = self.tenants.get(&key)
            && kept.stamp == stamp
        {
            return Ok(kept.response());
        }
        // Reads by id and not by name again: an alias may refer to another tenant by now.
        let found = tenants::by_id(tenancy, caller, &stamp.tenant_id).await?;
        let snapshot = found.ok_or_else(|| Error::not_found("tenant", name))?;
        tenancy.load_key_names(snapshot.all_holds().map(|hold| hold.placed_by.as_str())).await?;
        let answer = Arc::new(Answer {
            etag: HeaderValue::from_str(&format!("\"{}\"", etag(&snapshot.tenant)))
                .map_err(|error| Error::Internal(error.to_string()))?,
            body: Bytes::from(text(&TenantView::of(&tenancy.declared, caller.viewpoint(tenancy), &snapshot))),
            stamp,
        });
        if keeps(&snapshot, &answer.stamp) {
            self.tenants.insert(key, Arc::clone(&answer));
        }
        Ok(answer.response())
    }
}

/// Returns whether the rendered snapshot matches the stamp. The snapshot was read after the stamp: if the tenant has
/// changed in between, the next read renders it again.
pub fn keeps(snapshot: &TenantSnapshot, stamp: &Stamp) -> bool {
    let tenant = &snapshot.tenant;
    (tenant.terms.version, tenant.facts.counter) == (stamp.version, stamp.counter)
}

impl Answer {
    fn response(&self) -> Response {
        let mut response = bytes(StatusCode::OK, "application/json", self.body.clone());
        response.headers_mut().insert(ETAG, self.etag.clone());
        response
    }
}
