//! An answer as it goes out, and as it is kept for a request that is sent again.

use tenancy_core::changes::IdempotencyRecord;

/// Status, the headers that belong to the answer, and the body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `ETag`, without its quotes.
    pub etag: Option<String>,
    /// `Location`.
    pub location: Option<String>,
    /// JSON, or nothing.
    pub body: String,
}

impl Answer {
    /// What was kept.
    pub fn kept(record: &IdempotencyRecord) -> Self {
        let header = |name: &str| record.headers.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Self {
            status: u16::try_from(record.status).unwrap_or(200),
            etag: header("etag"),
            location: header("location"),
            body: record.body.clone(),
        }
    }

    /// The headers, as they are kept.
    pub fn headers(&self) -> tenancy_core::json::Object {
        let header = |name: &str, value: &Option<String>| Some((name.to_owned(), value.clone()?.into()));
        [header("etag", &self.etag), header("location", &self.location)].into_iter().flatten().collect()
    }
}
