//! Tenants as they were rendered last. Each is kept with its stamp and served only while the database says that the
//! stamp is still that: so nothing stale is ever served, and a read costs one look at two rows.

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

/// About what an entry takes beside its body: its key, its stamp, the cache's own.
const OVERHEAD_BYTES: u64 = 512;
/// About what a body takes, for sizing the cache.
const TYPICAL_BYTES: u64 = 2048;

/// A tenant's answer.
#[derive(Debug)]
struct Answer {
    stamp: Stamp,
    etag: HeaderValue,
    body: Bytes,
}

#[derive(Debug, Clone)]
struct ByBytes;

/// What an answer depends on besides the tenant's stamp: which tenant, and what the caller reaches.
type Key = (TenantId, Scope);

impl Weighter<Key, Arc<Answer>> for ByBytes {
    fn weight(&self, _: &Key, answer: &Arc<Answer>) -> u64 {
        OVERHEAD_BYTES + answer.body.len() as u64
    }
}

/// The answers that are kept.
#[derive(Debug)]
pub struct ResponseCache(Cache<Key, Arc<Answer>, ByBytes>);

impl ResponseCache {
    /// Keeps answers of so many bytes in all.
    pub fn new(max_bytes: u64) -> Self {
        let entries = usize::try_from(max_bytes / TYPICAL_BYTES).unwrap_or(usize::MAX);
        Self(Cache::with_weighter(entries, max_bytes, ByBytes))
    }

    /// The answer to a read of the tenant that `name` leads to.
    ///
    /// # Errors
    /// [`Error::NotFound`], [`Error::Unavailable`].
    pub async fn tenant(&self, tenancy: &Tenancy, caller: &Caller, name: &str) -> Result<Response, Problem> {
        let stamp = tenants::reach(tenancy, caller, name).await?;
        let key = (stamp.tenant_id.clone(), caller.scope().clone());
        if let Some(kept) = self.0.get(&key)
            && kept.stamp == stamp
        {
            return Ok(kept.response());
        }
        // By its id, and not by its name once more: an alias may lead elsewhere by now.
        let found = tenants::by_id(tenancy, caller, &stamp.tenant_id).await?;
        let snapshot = found.ok_or_else(|| Error::not_found("tenant", name))?;
        tenancy.key_names.load(tenancy, snapshot.all_holds().map(|hold| hold.placed_by.as_str())).await?;
        let answer = Arc::new(Answer {
            etag: HeaderValue::from_str(&format!("\"{}\"", etag(&snapshot.tenant)))
                .map_err(|error| Error::Internal(error.to_string()))?,
            body: Bytes::from(text(&TenantView::of(&tenancy.declared, caller.viewpoint(tenancy), &snapshot))),
            stamp,
        });
        if keeps(&snapshot, &answer.stamp) {
            self.0.insert(key, Arc::clone(&answer));
        }
        Ok(answer.response())
    }
}

/// Whether what was rendered is what the stamp stands for. The snapshot was read after the stamp: if it has moved, the
/// next read renders it. An open job moves on without moving the stamp.
fn keeps(snapshot: &TenantSnapshot, stamp: &Stamp) -> bool {
    let tenant = &snapshot.tenant;
    snapshot.open_job.is_none() && (tenant.terms.version, tenant.facts.counter) == (stamp.version, stamp.counter)
}

impl Answer {
    fn response(&self) -> Response {
        let mut response = bytes(StatusCode::OK, "application/json", self.body.clone());
        response.headers_mut().insert(ETAG, self.etag.clone());
        response
    }
}
