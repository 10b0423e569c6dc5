//! API keys, as they are read: without their tokens, which nobody keeps.

use serde::Serialize;
use tenancy_core::Timestamp;
use tenancy_core::apikey::{ApiKey, Role};
use tenancy_core::ids::KeyId;
use utoipa::ToSchema;

/// An API key.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Key)]
pub struct KeyView<'a> {
    /// Its id.
    #[schema(value_type = String)]
    pub key_id: &'a KeyId,
    /// For people.
    pub name: &'a str,
    /// What it may.
    #[schema(schema_with = super::schema::role)]
    pub role: Role,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub created_at: Timestamp,
    /// From when on it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub expires_at: Option<Timestamp>,
    /// Since when it is refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub revoked_at: Option<Timestamp>,
}

/// A key that was made just now.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = NewKey)]
pub struct NewKeyView<'a> {
    /// The key.
    #[serde(flatten)]
    pub key: KeyView<'a>,
    /// Its token: shown this once, and left out when the answer is one that was kept for an Idempotency-Key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<&'a str>,
}

/// Whose credential this is.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = WhoAmI)]
pub struct WhoAmIView<'a> {
    /// The key's id.
    #[schema(value_type = String)]
    pub key_id: &'a KeyId,
    /// The key's name.
    pub name: &'a str,
    /// What it may.
    #[schema(schema_with = super::schema::role)]
    pub role: Role,
}

impl<'a> KeyView<'a> {
    /// Of a row.
    pub fn of(key: &'a ApiKey) -> Self {
        Self {
            key_id: &key.key_id,
            name: &key.name,
            role: key.role,
            created_at: key.created_at,
            expires_at: key.expires_at,
            revoked_at: key.revoked_at,
        }
    }
}
