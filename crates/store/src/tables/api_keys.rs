//! API keys.

use crate::Store;
use crate::current_rows::{Keys, Read, columns};
use crate::keyed::{ByKey, KeyedRead};
use crate::list::{limit, place};
use crate::page::{Listed, Page};
use crate::rows::{Check, Corrupt, Field, Type, Value, WriteShape, described};
use crate::sql::Sql;
use jiff::Timestamp;
use tenancy_core::Error;
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::ids::KeyId;
use tenancy_core::scope::Scope;

described!(
    /// API keys.
    ApiKey as TABLE "api_keys" [key_id] {
        key_id: KeyId,
        name: String,
        role: Role,
        scope: Scope,
        token_digest: String,
        previous_digest: Option<String>,
        previous_expires_at: Option<Timestamp>,
        version: i64,
        created_by: Option<KeyId>,
        created_at: Timestamp,
        expires_at: Option<Timestamp>,
        revoked_at: Option<Timestamp>,
        last_used_at: Option<Timestamp>,
    }
);

impl Field for Scope {
    const TYPE: Type = Type::Text;

    fn put(&self) -> Value {
        Value::Text(self.to_string())
    }

    fn take(value: Value) -> Result<Self, Corrupt> {
        let text = String::take(value)?;
        Self::parse(&text).ok_or_else(|| Corrupt(format!("{text:?} is not a scope")))
    }
}

/// Inserts keys.
pub const INSERT: WriteShape = WriteShape::Insert(TABLE);
/// Rotates or revokes keys. The time of last use is written by upkeep.
pub const UPDATE: WriteShape = WriteShape::Update {
    table: TABLE,
    set: &["version", "token_digest", "previous_digest", "previous_expires_at", "revoked_at"],
    check: Check::OneLess("version"),
};

/// Finds a key by the digest of its token.
pub const BY_TOKEN: ByKey = ByKey { table: TABLE, condition: "token_digest = {}" };

/// Finds a key by the digest of its token before the last rotation.
pub const BY_PREVIOUS_TOKEN: ByKey = ByKey { table: TABLE, condition: "previous_digest = {}" };

/// Reads the versions of keys that are changed.
pub const CURRENT: Read = versions(true, |needs| &needs.api_keys);

/// Reads the versions of the keys that changes are made with. They are not locked; otherwise revoking a key would wait
/// for every process that uses it.
pub const CURRENT_CALLERS: Read = versions(false, |needs| &needs.callers);

/// Reads the names of keys that are not revoked.
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
    /// Lists the API keys whose scope lies within a scope, in order of their ids, including revoked keys.
    ///
    /// # Errors
    /// Same as [`Store::tenants`].
    pub async fn api_keys(&self, scope: &Scope, page: &Page) -> Result<ListedKeys, Error> {
        let mut sql = self.select::<ApiKey>();
        match scope {
            Scope::All => {}
            Scope::Organization(id) => {
                let own = sql.bind(Type::Text, scope.put());
                let tenants = "SELECT 'tenant:' || tenant_id FROM tenants WHERE organization_id = {}";
                sql.and(&format!("(scope = {own} OR scope IN ({tenants}))"), Some(id.clone()));
            }
            Scope::Tenant(_) => drop(sql.and("scope = {}", Some(scope.clone()))),
        }
        sql.and("key_id > {}", place("keys", page)?).order("key_id", limit(page) + 1);
        self.list("keys", sql, page, "key_id").await
    }

    /// Returns the key whose token has this digest.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn api_key(&self, token_digest: &str) -> Result<Option<ApiKey>, Error> {
        self.by_key(KeyedRead::ApiKey, token_digest).await
    }

    /// Returns the key whose token before the last rotation has this digest.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn api_key_by_previous_digest(&self, digest: &str) -> Result<Option<ApiKey>, Error> {
        self.by_key(KeyedRead::PreviousApiKey, digest).await
    }

    /// Returns the keys that a key created, directly or through other keys, up to a limit.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn api_key_descendants(&self, id: &KeyId, limit: usize) -> Result<Vec<ApiKey>, Error> {
        let columns: Vec<_> = TABLE.columns.iter().map(|column| format!("k.{}", column.name)).collect();
        let mut sql = Sql::new(self.dialect(), "");
        let id = sql.bind(Type::Text, id.put());
        let limit = sql.bind(Type::Int, Value::Int(i64::try_from(limit).unwrap_or(i64::MAX)));
        // UNION instead of UNION ALL ends the recursion on a cycle.
        sql.text = format!(
            "WITH RECURSIVE made AS (SELECT key_id FROM api_keys WHERE created_by = {id} \
             UNION SELECT c.key_id FROM api_keys c JOIN made m ON c.created_by = m.key_id) \
             SELECT {} FROM made JOIN api_keys k ON k.key_id = made.key_id ORDER BY k.key_id LIMIT {limit}",
            columns.join(", ")
        );
        self.all(sql).await
    }

    /// Returns admin keys without a scope that are valid now, up to a limit. Those that are valid longest come first.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn admin_keys(&self, limit: usize) -> Result<Vec<ApiKey>, Error> {
        let mut sql = self.select::<ApiKey>();
        sql.and("role = {}", Some(Role::Admin))
            .and("scope = {}", Some(Scope::All))
            .also("revoked_at IS NULL")
            .and("(expires_at IS NULL OR expires_at > {})", Some(self.now()))
            .order("expires_at IS NULL DESC, expires_at DESC, key_id", limit);
        self.all(sql).await
    }

    /// Returns the keys with these ids; ids without a key are skipped.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn api_keys_by_ids(&self, ids: &[KeyId]) -> Result<Vec<ApiKey>, Error> {
        let mut sql = self.select::<ApiKey>();
        let list: Vec<_> = ids.iter().map(|id| sql.bind(Type::Text, id.put())).collect();
        sql.also(&format!("key_id IN ({})", list.join(", ")));
        self.all_readable(sql).await
    }

    /// Returns a key by its id.
    ///
    /// # Errors
    /// Same as [`Store::snapshot`].
    pub async fn api_key_by_id(&self, id: &KeyId) -> Result<Option<ApiKey>, Error> {
        let mut sql = self.select::<ApiKey>();
        sql.and("key_id = {}", Some(id.clone()));
        self.one(sql).await
    }
}
