//! Idempotency records: stored responses of requests with an Idempotency-Key.

use crate::Store;
use crate::current_rows::Read;
use crate::keyed::{ByKey, KeyedRead};
use crate::rows::{Record, Type, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::changes::IdempotencyRecord;
use tenancy_core::ids::TenantId;
use tenancy_core::json::Object;

described!(
    /// Stored responses.
    IdempotencyRecord as TABLE "idempotency_records" [digest] {
        digest: String,
        request_digest: String,
        status: i64,
        headers: Object,
        body: String,
        created_at: Timestamp,
        expires_at: Timestamp,
        tenant_id: Option<TenantId>,
    }
);

/// Inserts responses.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);

/// Erases all responses about a tenant that is purged. The record stays, so that a repeated request has no second
/// effect.
pub const ERASE_OF_TENANT: WriteShape =
    WriteShape::UpdateAll { table: TABLE, by: "tenant_id", set: &["status", "headers", "body"] };

/// Finds a response by its digest.
pub const BY_DIGEST: ByKey = ByKey { table: TABLE, condition: "digest = {}" };

/// Reads which responses are stored.
pub const CURRENT: Read = Read {
    columns: "digest, request_digest, status, headers, body, created_at, expires_at, tenant_id",
    table: "idempotency_records",
    key: "digest",
    and: "",
    lock: false,
    types: &[Type::Text, Type::Text, Type::Int, Type::Json, Type::Text, Type::Time, Type::Time, Type::Text],
    keys: |needs| &needs.answers,
    put: |found, row| {
        let record = IdempotencyRecord::from_values(row)?;
        found.answers.insert(record.digest.clone(), record);
        Ok(())
    },
};

impl Store {
    /// Returns the stored response of a digest, until it expires. After a jump of the clock it may seem expired too
    /// early, so it is returned as long as it is there.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn answer(&self, digest: &str) -> Result<Option<IdempotencyRecord>, Error> {
        let kept: Option<IdempotencyRecord> = self.by_key(KeyedRead::Answer, digest).await?;
        Ok(kept.filter(|record| self.is_valid(record)))
    }

    /// Whether a stored response is valid: it has not expired, or that is not certain because the clock has jumped.
    pub fn is_valid(&self, record: &IdempotencyRecord) -> bool {
        record.answers(self.now()) || self.clock_jump().is_some()
    }
}
