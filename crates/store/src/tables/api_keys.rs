//! API keys.

use crate::Store;
use crate::current_rows::{Keys, Read, columns};
use crate::keyed::{ByKey, KeyedRead};
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Check, Field, Type, WriteShape, described};
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::ids::KeyId;

described!(
    /// API keys.
    ApiKey as TABLE "api_keys" [key_id] {
        key_id: KeyId,
        name: String,
        role: Role,
        token_digest: String,
        version: i64,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
        revoked_at: Option<Timestamp>,
    }
);

/// New keys.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Keys that are revoked.
pub const UPDATE: WriteShape =
    WriteShape::Update { table: TABLE, set: &["version", "revoked_at"], check: Check::OneLess("version") };

/// A key by the digest of its token.
pub const BY_TOKEN: ByKey = ByKey { table: TABLE, condition: "token_digest = {}" };

/// Versions of keys that are changed.
pub const CURRENT: Read = versions(true, |needs| &needs.api_keys);

/// Versions of the keys in whose name changes are made. They are not locked: a process that revokes a key would wait for every
/// process that works in its name.
pub const CURRENT_CALLERS: Read = versions(false, |needs| &needs.callers);

/// Names of keys that are not revoked.
pub const CURRENT_NAMES: Read = Read {
    columns: "name",
    table: "api_keys",
    key: "name",
    and: " AND revoked_at IS NULL",
    lock: false,
    types: &[Type::Text],
    keys: |needs| &needs.api_key_names,
    put: |found, row| {
        let [name] = columns(row)?;
        found.api_key_names.insert(String::take(name)?);
        Ok(())
    },
};

const fn versions(lock: bool, keys: Keys) -> Read {
    Read {
        columns: "key_id, version",
        table: "api_keys",
        key: "key_id",
        and: "",
        lock,
        types: &[Type::Text, Type::Int],
        keys,
        put: |found, row| {
            let [id, version] = columns(row)?;
            found.api_keys.insert(KeyId::take(id)?, i64::take(version)?);
            Ok(())
        },
    }
}

/// Keys, in order of their ids.
pub type ListedKeys = Listed<ApiKey>;

impl Store {
    /// API keys in order of their ids, revoked ones among them.
    ///
    /// # Errors
    /// As [`Store::tenants`].
    pub async fn api_keys(&self, page: &Page) -> Result<ListedKeys, Error> {
        let mut sql = self.select::<ApiKey>();
        sql.and("key_id > {}", place("keys", page)?).order("key_id", limit(page) + 1);
        self.list("keys", sql, page, |key: &ApiKey| key.key_id.to_string()).await
    }

    /// The key whose token has this digest.
    ///
    /// # Errors
    /// As [`Store::snapshot`].
    pub async fn api_key(&self, token_digest: &str) -> Result<Option<ApiKey>, Error> {
        self.by_key(KeyedRead::ApiKey, token_digest).await
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
}
