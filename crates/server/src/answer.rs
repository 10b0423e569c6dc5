//! The answer to a request, as it is sent and as it is stored for a repeated request with the same Idempotency-Key.

use tenancy_core::changes::IdempotencyRecord;

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

    /// Returns the headers as they are stored.
    pub fn headers(&self) -> tenancy_core::json::Object {
        let header = |name: &str, value: &Option<String>| Some((name.to_owned(), value.clone()?.into()));
        [header("etag", &self.etag), header("location", &self.location)].into_iter().flatten().collect()
    }
}
