//! The answer to a request, as it is sent and as it is stored for a repeated request with the same Idempotency-Key.

use serde::Deserialize;
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::ids::TenantId;

/// Status, the headers that belong to the answer, and the body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `ETag`, without quotes.
    pub etag: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// JSON, or empty.
    pub body: String,
}

impl Answer {
    /// Returns the answer that a record stores.
    pub fn kept(record: &IdempotencyRecord) -> Self {
        let header = |name: &str| record.headers.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Self {
            status: u16::try_from(record.status).unwrap_or(200),
            etag: header("etag"),
            location: header("location"),
            body: record.body.clone(),
        }
    }

    /// Returns the tenant that the answer is about, if any: the `tenant_id` of its body.
    pub fn tenant(&self) -> Option<TenantId> {
        #[derive(Deserialize)]
        struct OfTenant {
            tenant_id: Option<String>,
        }
        let of: OfTenant = serde_json::from_str(&self.body).ok()?;
        of.tenant_id.map(TenantId::known)
    }

    /// Returns the headers as they are stored.
    pub fn headers(&self) -> tenancy_core::json::Object {
        let header = |name: &str, value: &Option<String>| Some((name.to_owned(), value.clone()?.into()));
        [header("etag", &self.etag), header("location", &self.location)].into_iter().flatten().collect()
    }
}
