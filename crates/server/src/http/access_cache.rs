//! Response cache for access answers. As for tenants, an entry is served only if the database reports the stamp that it
//! was built with, so that no answer is stale.

use super::respond::{bytes, text};
use super::response_cache::keeps;
use crate::authentication::Caller;
use crate::operations::{access, tenants};
use crate::tenancy::Tenancy;
use axum::body::Bytes;
use axum::http::header::{CACHE_CONTROL, ETAG};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;
use tenancy_api::access::Access;
use tenancy_core::Error;
use tenancy_core::ids::TenantId;
use tenancy_core::permission::Audience;
use tenancy_store::read::Stamp;

/// Approximate size of an entry besides its body: key, stamp, the parsed answer and the cache's own data.
const OVERHEAD_BYTES: u64 = 1024;
/// Approximate size of an entry, to size the cache.
const TYPICAL_BYTES: u64 = 2048;

/// An access answer with the stamp that it is valid for.
#[derive(Debug)]
pub struct KeptAccess {
    /// The answer for the whole tenant.
    pub access: Access,
    stamp: Stamp,
    etag: HeaderValue,
    body: Bytes,
}

#[derive(Debug, Clone)]
struct ByBytes;

/// What an answer depends on besides the stamp. A caller outside whose scope the tenant lies does not get this far.
type Key = (TenantId, Audience);

impl Weighter<Key, Arc<KeptAccess>> for ByBytes {
    fn weight(&self, _: &Key, kept: &Arc<KeptAccess>) -> u64 {
        OVERHEAD_BYTES + 2 * kept.body.len() as u64
    }
}

/// The cache.
#[derive(Debug)]
pub struct AccessCache(Cache<Key, Arc<KeptAccess>, ByBytes>);

impl AccessCache {
    /// Creates a cache with a maximum size in bytes.
    pub fn new(max_bytes: u64) -> Self {
        let entries = usize::try_from(max_bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries, max_bytes, ByBytes))
    }

    /// Returns the answer for the tenant with this id or alias.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn of(&self, tenancy: &Tenancy, caller: &Caller, name: &str) -> Result<Arc<KeptAccess>, Error> {
        let stamp = tenants::reach(tenancy, caller, name).await?;
        let key = (stamp.tenant_id.clone(), caller.audience());
        if let Some(kept) = self.0.get(&key)
            && kept.stamp == stamp
        {
            return Ok(kept);
        }
        // Reads by id and not by name again: an alias may refer to another tenant by now.
        let found = access::by_id(tenancy, caller, &stamp.tenant_id).await?;
        let (snapshot, access) = found.ok_or_else(|| Error::not_found("tenant", name))?;
        let is_kept = keeps(&snapshot, &stamp);
        let kept = Arc::new(KeptAccess::new(access, stamp)?);
        if is_kept {
            self.0.insert(key, Arc::clone(&kept));
        }
        Ok(kept)
    }
}

impl KeptAccess {
    fn new(access: Access, stamp: Stamp) -> Result<Self, Error> {
        // Weak: two processes can know different positions of the same tenant.
        let etag = format!("W/\"{}.{}.{}\"", stamp.version, stamp.counter, stamp.organization_counter);
        Ok(Self {
            etag: HeaderValue::from_str(&etag).map_err(|error| Error::Internal(error.to_string()))?,
            body: Bytes::from(text(&access)),
            access,
            stamp,
        })
    }

    /// Returns the answer for the whole tenant, or for one of its environments.
    pub fn response(&self, environment: Option<&str>) -> Response {
        let body = match environment {
            None => self.body.clone(),
            Some(name) => Bytes::from(text(&self.access.in_environment(name))),
        };
        let mut response = bytes(StatusCode::OK, "application/json", body);
        response.headers_mut().insert(ETAG, self.etag.clone());
        // A shared cache does not know that the answer depends on the caller.
        response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        response
    }
}
